"""Rewrites a checkpoint in the format before this one, so that an operator can roll back to the build before.

What that build does not know is left out; the rest, and every figure that both builds have, stays unchanged.
"""

import struct
from collections.abc import Mapping

import msgspec

from detectors.reverse import PACKED_BYTES, ReverseTest
from streams.engine.drift.strata import without_strata
from streams.engine.panes import Slot
from streams.engine.partition import FORMAT, FORMATS

#: The only format, beside its own, that this build can write.
OLDER = FORMAT - 1
#: How keys of slots begin that are new in this format: tables, the state of river's detectors, names of sites' strata;
#: and the windows of errors, a table that was there without windows.
_NEW = (b"implausible|", b"remarks|", b"queues|", b"drift|river|", b"drift|strata-names|")
_NEW_WINDOWS = b"errors|"
#: A table that was there before, and its new columns.
_NEW_COLUMNS = (b"reviewers|", ("audits", "audit_errors"))
_SITE = b"site|"
_DRIFT = b"drift"
_DRIFT_HEADER = _DRIFT + b"|header"
#: Kinds of a table's slots that hold no window: `k`, its keys; `s`, its totals and attributes.
_NOT_WINDOWS = (b"k", b"s")


def downgraded(slots: Mapping[bytes, bytes], manifest: bytes) -> tuple[list[Slot], bytes] | None:
    """The slots to change (None: to delete) and the new manifest; None where the checkpoint is of that format or older.

    Tests of whether an open drift is over start afresh, as they do at the upgrade. Streams that had one baseline for
    each stratum have a single one again, that of their present work.
    """
    fields = msgspec.msgpack.decode(manifest)
    if fields["format"] <= OLDER:
        return None
    changes: list[Slot] = list(without_strata(_DRIFT, slots))
    table, columns = _NEW_COLUMNS
    for key, value in slots.items():
        is_window = not key.rsplit(b"|", 1)[-1].startswith(_NOT_WINDOWS)
        if key.startswith(_NEW) or (key.startswith(_NEW_WINDOWS) and is_window):
            changes.append((key, None))
        elif key.startswith(table) and is_window:
            pane, packed = msgspec.msgpack.decode(value)
            kept = {name: cells for name, cells in packed.items() if name not in columns}
            changes.append((key, msgspec.msgpack.encode((pane, kept))))
        elif key.startswith(_SITE):
            changes.append((key, msgspec.msgpack.encode(_without_first(msgspec.msgpack.decode(value)))))
        elif key == _DRIFT_HEADER:
            changes.append((key, _older_header(value)))
    return changes, msgspec.msgpack.encode(fields | {"format": OLDER, "build": FORMATS[OLDER]})


def _without_first(site: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in site.items() if name != "first_ms"}


def _older_header(value: bytes) -> bytes:
    header = msgspec.msgpack.decode(value)
    header.pop("projects", None)
    for _, episode in header["episodes"]:
        episode["before"].pop("at_least", None)
        if len(episode["test"]) == PACKED_BYTES:
            test = ReverseTest.from_bytes(episode["test"])
            # Baseline, alternative, 1 / design effect, evidence: the alternative lay half-way to the changed rate.
            alternative = min(max(test.p0 + 0.02, test.edge), 0.999)
            episode["test"] = struct.pack("<4d", test.p0, alternative, test.temper, 0.0)
    return msgspec.msgpack.encode(header)

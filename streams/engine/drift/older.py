"""Reads rings of checkpoints of format 3 and before: a row is a struct of its fields, a slot holds 256 rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

REVIEW = np.dtype(
    [
        ("at", "<i8"),
        ("agent", "<i4"),
        ("reviewer", "<i4"),
        ("project", "<i2"),
        ("market", "<i2"),
        ("sop_version", "<i2"),
        ("label", "<i2"),
        ("error_type", "<i2"),
        ("stratum", "<i2"),
        ("wrong", "u1"),
        ("unused", "u1", 3),
    ]
)
LABEL = np.dtype(
    [
        ("agent", "<i4"),
        ("handled", "<i4"),
        ("market", "<i2"),
        ("sop_version", "<i2"),
        ("label", "<i2"),
        ("unused", "u1", 2),
    ]
)


def rows(
    slots: Mapping[bytes, bytes], prefix: bytes, count: int, kind: np.dtype[Any]
) -> tuple[NDArray[np.void], list[bytes]]:
    """The rows of a ring, oldest first, and the keys of its slots; none where there is no such ring.

    Args:
        slots: The checkpoint's slots, by key.
        prefix: How the ring's keys begin.
        count: How many rows were ever added to it.
        kind: `REVIEW` or `LABEL`.
    """
    keys: list[bytes] = []
    while (key := b"%s|%d" % (prefix, len(keys))) in slots:
        keys.append(key)
    ring = np.frombuffer(b"".join(slots[key] for key in keys), kind)
    held = min(count, len(ring))
    return (ring[np.arange(count - held, count) % len(ring)] if held else ring[:0]), keys

"""What a producer can smuggle in: no identifier hides anything, and free text is written out wherever it is shown."""

import re
import sys
import unicodedata
from typing import Any

import msgspec
import pytest

from schemas.policy import Policy
from schemas.text import HIDDEN, SUSPECT, visible
from streams.engine.decode import Rejection, decode
from streams.engine.partition import PartitionEngine
from tests.oracle.compare import Record
from tests.oracle.decoder import decide

AT = 1_763_985_600_000
#: One or more of each class, of what bidirectional text is turned with, and of what is drawn as nothing.
SMUGGLED = (
    "\x1b", "\x85", "\xad", "\u061c", "\u200b", "\u200e", "\u2028", "\u202e", "\u2066", "\ufeff", "\U000e0041",
    "\u034f", "\u115f", "\u1160", "\u17b4", "\u180b", "\u2065", "\u2800", "\u3164", "\ufe00", "\ufe0e", "\ufe0f",
    "\uffa0", "\U000e0100",
)  # fmt: skip
#: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt, 16.0), and the empty cell of Braille.
EMPTY = {
    code
    for first, last in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
        (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
        (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
}  # fmt: skip
#: Persian, Hindi, Sinhala, Mongolian, a physician, a family, a heart, a tag, a keycap, a burning heart: by code point,
#: since some look like Latin letters.
JOINED = (
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u0915\u094d\u200d\u0937",
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "\u182d\u180b\u1820",
    "\U0001f469\u200d\u2695\ufe0f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u2764\ufe0f Manila",
    "\U0001f3f7\ufe0f",
    "1\ufe0f\u20e3",
    "\u2764\ufe0f\u200d\U0001f525",
)
#: With the emoji selector after a letter, a digit, an arrow, and pictures that are pictures without it.
TWINS = (
    "manila\u200d-1", "\u4e0a\u200d\u6d77", "\u200c\u0645\u06cc", "\u0645\u06cc\u200c", "\u043c\u200c\u0430",
    "a\u200d\U0001f469", "manila\ufe0f", "manila-1\ufe0f", "\ufe0fmanila", "\u2192\ufe0f", "\U0001f3ed\ufe0f",
    "\u2764\ufe0f\ufe0f", "\u2764\ufe0e", "\u845b\U000e0100", "\u182d\u180b\u180b", "manila\u3164", "\u115fmanila",
)  # fmt: skip


def review(**fields: Any) -> dict[str, Any]:
    event = {"type": "label_reviewed", "event_id": "e", "at": AT, "site_id": "s", "agent_id": "a", "project_id": "p"}
    return event | {"task_id": "t", "correct": False} | fields


def test_every_character_that_hides_or_is_empty_is_hidden_and_nothing_else() -> None:
    hidden = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    # Newer than some supported Python's tables, so refused by all.
    newer = set(range(0x13439, 0x13440))
    for code in set(range(sys.maxunicode + 1)) - newer:
        char = chr(code)
        expected = unicodedata.category(char) in hidden or code in EMPTY
        assert (HIDDEN.fullmatch(char) is not None) == expected, hex(code)
        if HIDDEN.fullmatch(char):
            assert visible(f"x{char}y") != f"x{char}y", hex(code)
            assert SUSPECT.search(char) or code < 0x20, hex(code)


@pytest.mark.parametrize("char", SMUGGLED, ids=ascii)
@pytest.mark.parametrize("field", ["site_id", "agent_id", "project_id", "error_type", "market", "stratum", "event_id"])
def test_an_identifier_with_one_is_refused_plain_or_escaped(char: str, field: str) -> None:
    event = review(**{field: f"x{char}y"})
    plain = msgspec.json.encode(event)
    escaped = re.sub(rb"[^\x00-\x7f]+", lambda found: ascii_escaped(found[0].decode()), plain)
    clean = msgspec.json.encode(review())
    for value in (plain, escaped):
        # Beside clean records too: a batch is scanned as one.
        first, found, last = decode([clean, value, clean])
        assert isinstance(found, Rejection)
        assert found.reason == "schema"
        assert not isinstance(first, Rejection)
        assert not isinstance(last, Rejection)
        assert decide(value)[:2] == ("rejected", "schema")


def ascii_escaped(text: str) -> bytes:
    units = text.encode("utf-16-be")
    return b"".join(b"\\u%02x%02x" % (units[at], units[at + 1]) for at in range(0, len(units), 2))


@pytest.mark.parametrize("name", JOINED, ids=ascii)
def test_joiners_and_selectors_that_a_script_or_an_emoji_needs_are_taken(name: str) -> None:
    value = msgspec.json.encode(review(site_id=name))
    (event,) = decode([value])
    assert event.site_id == name == visible(name)
    assert decide(value).kind == "accepted"


@pytest.mark.parametrize("name", TWINS, ids=ascii)
def test_joiners_selectors_and_fillers_that_make_twins_are_refused(name: str) -> None:
    value = msgspec.json.encode(review(site_id=name))
    (found,) = decode([value])
    assert isinstance(found, Rejection)
    assert decide(value).kind == "rejected"
    assert visible(name) != name


@pytest.mark.parametrize("char", [*SMUGGLED, "\n", "x" * 300], ids=ascii)
def test_free_text_reaches_drift_records_and_metrics_written_out_and_bounded(char: str) -> None:
    label = f"bad{char}label"
    events = [
        review(event_id=f"e{n}", at=AT + 60_000 * n, agent_id=f"a-{n % 20}", task_id=f"t{n}")
        | {"label": label if n % 2 else "ok", "correct": n % 25 > 0 and not (n > 3_000 and n % 2)}
        for n in range(3_400)
    ]
    engine = PartitionEngine(0, Policy())
    for start in range(0, len(events), 700):
        engine.apply(
            [
                Record(start + n, each["at"], None, msgspec.json.encode(each))
                for n, each in enumerate(events[start : start + 700])
            ]
        )
    checkpoint = engine.checkpoint()
    assert checkpoint.drift_records
    records = [msgspec.json.decode(value) for _, value in checkpoint.drift_records]
    members = {cause["member"] for record in records for cause in record.get("causes", ()) if cause["by"] == "label"}
    assert visible(label[:128])[:128] in members
    series = engine.figures(AT + 60_000 * 3_400).samples["labelwatch_drift_contribution"]
    shown = [*members, *(value for labels, _ in series for value in labels), *texts(records)]
    for text in shown:
        assert visible(text.replace("\n", "")) == text.replace("\n", "")
        assert char not in text or char == "\n"
    assert all(len(member) <= 128 for member in members)


def texts(found: Any) -> list[str]:
    if isinstance(found, str):
        return [found]
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return [text for part in parts for text in texts(part)]

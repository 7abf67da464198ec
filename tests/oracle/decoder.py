"""The contract's events, read by the standard library and hand-written checks: shares no code with the engine.

`decide` says of a record what the contract says: accepted, unknown, or rejected with a reason.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

MAX_MS = 253_402_300_799_999
AHEAD_MS = 300_000


class Decision(NamedTuple):
    """What a record is, before the future and duplicate checks.

    Attributes:
        kind: `accepted`, `unknown` or `rejected`.
        reason: Why rejected, else empty.
        event: The object, nulls taken out; None when rejected.
        loose: Why two honest JSON readers may differ about this record, else empty.
    """

    kind: str
    reason: str = ""
    event: dict[str, Any] | None = None
    loose: str = ""


Check = Callable[[Any], bool]


def identifier(value: Any) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= 128:
        return False
    # By character, each looked up once: of most identifiers none may hide.
    return not any(map(may_hide, value)) or not any(hides(value, place) for place in range(len(value)))


#: Blocks of scripts whose words joiners shape, and of emoji.
SHAPED = (
    (0x600, 0x7FF), (0x840, 0xDFF), (0x1000, 0x109F), (0x1780, 0x18AF), (0x1B00, 0x1BFF), (0xA840, 0xA8FF),
    (0xFB50, 0xFDFF), (0xFE70, 0xFEFE),
)  # fmt: skip
EMOJI = ((0x2190, 0x2BFF), (0xFE0F, 0xFE0F), (0x1F000, 0x1FAFF))
#: Unicode's Default_Ignorable_Code_Point, and the empty cell of Braille: nothing is drawn for them.
EMPTY = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
#: Unicode's Emoji without Emoji_Presentation, beyond ASCII: U+FE0F makes a picture of the sign.
SIGNS = """
    a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 2328 23cf 23ed-23ef 23f1-23f2 23f8-23fa 24c2 25aa-25ab 25b6 25c0
    25fb-25fc 2600-2604 260e 2611 2618 261d 2620 2622-2623 2626 262a 262e-262f 2638-263a 2640 2642 265f-2660 2663
    2665-2666 2668 267b 267e 2692 2694-2697 2699 269b-269c 26a0 26a7 26b0-26b1 26c8 26cf 26d1 26d3 26e9 26f0-26f1
    26f4 26f7-26f9 2702 2708-2709 270c-270d 270f 2712 2714 2716 271d 2721 2733-2734 2744 2747 2763-2764 27a1
    2934-2935 2b05-2b07 3030 303d 3297 3299 1f170-1f171 1f17e-1f17f 1f202 1f237 1f321 1f324-1f32c 1f336 1f37d
    1f396-1f397 1f399-1f39b 1f39e-1f39f 1f3cb-1f3ce 1f3d4-1f3df 1f3f3 1f3f5 1f3f7 1f43f 1f441 1f4fd 1f549-1f54a
    1f56f-1f570 1f573-1f579 1f587 1f58a-1f58d 1f590 1f5a5 1f5a8 1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 1f5d1-1f5d3
    1f5dc-1f5de 1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa 1f6cb 1f6cd-1f6cf 1f6e0-1f6e5 1f6e9 1f6f0 1f6f3
"""


def among(char: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= ord(char) <= high for low, high in ranges)


def takes_picture(char: str) -> bool:
    return any(
        int(low, 16) <= ord(char) <= int(high or low, 16) for low, _, high in (w.partition("-") for w in SIGNS.split())
    )


@cache
def may_hide(char: str) -> bool:
    """Whether a character hides, turns or shows nothing wherever its neighbours do not say otherwise."""
    # The version of Unicode that every supported Python knows, and what came after it.
    return (
        unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")
        or 0x13430 <= ord(char) <= 0x1343F
        or among(char, EMPTY)
    )


def hides(value: str, place: int) -> bool:
    """Whether a character hides, turns or shows nothing, as joiners and selectors do where they change nothing."""
    char, before, after = value[place], value[max(place - 1, 0) : place], value[place + 1 : place + 2]
    if not may_hide(char):
        return False
    if char in "\u200c\u200d" and before and after:
        blocks = [SHAPED] if char == "\u200c" else [SHAPED, EMOJI]
        return not any(among(before, block) and among(after, block) for block in blocks)
    if char == "\ufe0f" and before:
        return not takes_picture(before) and not (before in "#*0123456789" and after == "\u20e3")
    if char in "\u180b\u180c\u180d\u180f" and before:
        return not 0x1820 <= ord(before) <= 0x18AA
    return True


def text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1000


def boolean(value: Any) -> bool:
    return isinstance(value, bool)


def whole(low: int, high: float = math.inf) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def number(low: float, high: float, open_below: bool = False) -> Check:
    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return low <= value <= high and not (open_below and value == low)

    return check


def one_of(*names: str) -> Check:
    return lambda value: isinstance(value, str) and value in names


def many(check: Check, most: int) -> Check:
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(check, value))


def date(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", value))


def table(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    def check(value: Any) -> bool:
        return isinstance(value, dict) and fields_fit(value, required, optional)

    return check


def fields_fit(value: dict[str, Any], required: dict[str, Check], optional: dict[str, Check]) -> bool:
    """Whether every field is there and fits; null is allowed where absence is."""
    return all(name in value and check(value[name]) for name, check in required.items()) and all(
        value.get(name) is None or check(value[name]) for name, check in optional.items()
    )


at = whole(0, MAX_MS)
duration = whole(0)
positive = whole(1, 1_000_000)
source = one_of("qa", "audit", "consensus", "gold")
sampling = one_of("random", "stratified", "targeted", "full", "unknown")
severity = one_of("minor", "major", "critical")
role = one_of("agent", "qa")
purpose = one_of("production", "gold", "calibration", "training", "test")
errors = many(table({"type": identifier}, {"severity": severity, "policy_code": identifier}), 64)
review = table(
    {"correct": boolean},
    {"source": source, "sampling": sampling, "market": identifier, "sop_version": identifier, "errors": errors},
)
label = table({}, {"label": text, "handle_ms": duration, "skipped": boolean})
names = many(identifier, 256)


def identifiers(*fields: str) -> dict[str, Check]:
    return dict.fromkeys(fields, identifier)


COMMON: dict[str, Check] = {"type": identifier, "event_id": identifier, "at": at, "site_id": identifier}
WORK = identifiers("agent_id", "project_id", "task_id")

#: For each type: the required fields besides the common ones, and the optional ones.
EVENTS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "label_submitted": (
        WORK,
        {
            "label": text,
            "handle_ms": duration,
            "skipped": boolean,
            "skip_reason": text,
            "attempt": positive,
            "purpose": purpose,
            "prelabel": text,
            **identifiers("label_id", "request_id", "queue", "market", "sop_version", "content_type", "language"),
            **identifiers("skill", "stratum", "policy_code", "shift_id"),
        },
    ),
    "label_reviewed": (
        {**WORK, "correct": boolean},
        {
            "role": role,
            "verdict": boolean,
            "review_round": positive,
            "reviewer_org": one_of("vendor", "client"),
            "source": source,
            "sampling": sampling,
            "sampling_rate": number(0, 1, open_below=True),
            "blind": boolean,
            "purpose": purpose,
            "label": text,
            "expected": text,
            "score": number(0, 1),
            "severity": severity,
            "errors": errors,
            "labeled_at": at,
            "review_ms": duration,
            **identifiers("review_id", "label_id", "reviewer_id", "reviewer_site_id", "error_type", "request_id"),
            **identifiers("queue", "market", "sop_version", "review_sop_version", "content_type", "language"),
            **identifiers("skill", "stratum"),
        },
    ),
    "state_changed": (
        {
            "agent_id": identifier,
            "state": one_of("productive", "available", "break", "training", "meeting", "offline"),
        },
        {"reason": text, "paid": boolean, "estimated": boolean, **identifiers("queue", "project_id", "shift_id")},
    ),
    "agent_profiled": (
        {"agent_id": identifier},
        {
            "role": role,
            "status": one_of("active", "leave", "left"),
            "started_on": date,
            "ended_on": date,
            "contract_hours_week": number(0, 168),
            "markets": names,
            "languages": names,
            "skills": names,
            **identifiers("team", "moved_to_site_id", "person_id"),
        },
    ),
    "review_revised": (
        {
            **WORK,
            "review_id": identifier,
            "reviewed_at": at,
            "old": review,
            "cause": one_of("appeal", "audit", "reviewer", "void"),
        },
        {"new": review, "by": identifier, "role": role},
    ),
    "label_revised": (
        {
            **WORK,
            "label_id": identifier,
            "submitted_at": at,
            "old": label,
            "cause": one_of("updated", "deleted", "unskipped"),
        },
        {"new": label, "by": identifier, "market": identifier},
    ),
    "appeal_opened": ({**WORK, "review_id": identifier, "reviewed_at": at}, {"reason": text}),
    "appeal_closed": (
        {**WORK, "review_id": identifier, "reviewed_at": at},
        {"reason": text, "outcome": one_of("upheld", "overturned")},
    ),
    "request_opened": (
        {"request_id": identifier, "project_id": identifier, "items": whole(0, 1_000_000_000)},
        {"due_at": at, **identifiers("market", "sop_version", "requester")},
    ),
    "request_closed": ({"request_id": identifier}, {"outcome": one_of("done", "cancelled")}),
    "queue_measured": (
        {"queue": identifier, "project_id": identifier, "waiting": whole(0)},
        {"market": identifier, "oldest_at": at, "arrived_total": whole(0)},
    ),
    "shift_planned": (
        {"agent_id": identifier, "shift_id": identifier, "starts_at": at, "ends_at": at},
        {
            "plan_version": lambda value: whole(0)(value) or identifier(value),
            "activity": identifier,
            "queue": identifier,
            "cancelled": boolean,
        },
    ),
    "sop_published": ({"project_id": identifier, "sop_version": identifier}, {"summary": text}),
    "calibration_answered": (
        {"session_id": identifier, "round": positive, "item_id": identifier, "agent_id": identifier, "answer": text},
        {"expected": text, **identifiers("project_id", "sop_version")},
    ),
    "drift_noted": (
        {
            "drift_id": identifier,
            "status": one_of("acknowledged", "explained", "false_alarm", "action", "closed"),
        },
        {"owner": identifier, "note": text, "due_on": date},
    ),
    "clock_advanced": ({}, {}),
}

#: The field that says when the work was done, which may be at most five minutes after `at`.
WORK_TIME = {"label_reviewed": "labeled_at", "review_revised": "reviewed_at", "label_revised": "submitted_at"}


def decide(value: bytes | None) -> Decision:
    """Reads one record's value."""
    if value is None:
        return Decision("rejected", "null")
    try:
        decoded = value.decode("utf-8")
    except UnicodeDecodeError:
        return Decision("rejected", "encoding")
    notes: list[str] = []
    try:
        parsed = _parse(decoded, notes)
    except ValueError:
        return Decision("rejected", "json")
    except RecursionError:
        return Decision("rejected", "json", loose="nested deeper than readers go")
    return _fit(parsed)._replace(loose="; ".join(notes))


def _parse(decoded: str, notes: list[str]) -> Any:
    """JSON as the standard has it: no NaN; what readers differ about is noted."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            notes.append("a key given twice")
        return dict(pairs)

    def integer(digits: str) -> int:
        if len(digits) > 4000:
            notes.append("an integer of thousands of digits")
            return 10**4000
        return int(digits)

    def real(digits: str) -> float:
        read = float(digits)
        if math.isinf(read):
            notes.append("a number beyond 64-bit floats")
        return read

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    parsed = json.loads(decoded, object_pairs_hook=unique, parse_int=integer, parse_float=real, parse_constant=constant)
    if "\\u" in decoded and re.search(r"\\u[dD][89a-fA-F]", decoded) and _lone_surrogate(parsed):
        notes.append("a lone surrogate, which UTF-8 cannot carry")
    return parsed


def _lone_surrogate(parsed: Any) -> bool:
    if isinstance(parsed, str):
        return any("\ud800" <= character <= "\udfff" for character in parsed)
    if isinstance(parsed, dict):
        return any(_lone_surrogate(part) for pair in parsed.items() for part in pair)
    return isinstance(parsed, list) and any(map(_lone_surrogate, parsed))


def _fit(parsed: Any) -> Decision:
    refused = Decision("rejected", "schema")
    if not isinstance(parsed, dict) or not fields_fit(parsed, COMMON, {}):
        return refused
    event = {name: value for name, value in parsed.items() if value is not None}
    if event["type"] not in EVENTS:
        return Decision("unknown", "", event)
    if not fields_fit(event, *EVENTS[event["type"]]):
        return refused
    worked = event.get(WORK_TIME.get(event["type"]))
    if worked is not None and worked > event["at"] + AHEAD_MS:
        return refused
    removed = event.get("cause") in ("void", "deleted")
    if event["type"] in ("review_revised", "label_revised") and removed == ("new" in event):
        return refused
    return Decision("accepted", "", event)

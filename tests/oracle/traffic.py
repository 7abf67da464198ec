"""Adversarial traffic, seeded: everything the contract allows, and much that it does not, in a believable order."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .compare import Record
from .decoder import MAX_MS

START_MS = 1_763_942_400_000
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000

PROJECTS = ("counterfeit", "spam", "仇恨言论", 'quo"te\\back', "new rules / v2")
MARKETS = (None, "US", "中国", "ID", "a,b{c}=d")
SOP_VERSIONS = ("v1", "v2", "older", "v3", "v3.1", "v4", "版本5", "v6")
ERROR_TYPES = ("brand_confusion", *(f"type-{number}" for number in range(130)), "other")
STATES = ("productive", "productive", "productive", "available", "break", "training", "meeting", "offline")
PURPOSES = (None, None, None, "production", "gold", "calibration", "training", "test")
SOURCES = (None, "qa", "audit", "consensus", "gold")
SAMPLINGS = (None, "random", "stratified", "targeted", "full", "unknown")


@dataclass
class Place:
    """A site of the generator: its people and how far its clock is from the broker's."""

    name: str
    people: list[str]
    ahead_ms: int
    share: float
    recent: list[bytes] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)


def places() -> list[Place]:
    """Five sites: a large one (23 blocks of people), small ones, clocks ahead, behind, and far behind."""
    return [
        Place("manila-1", [f"a-{number}" for number in range(1_500)], 0, 0.55),
        Place("上海-2", [f"标注员{number}" for number in range(90)], 250_000, 0.2),
        Place("bogotá", ["José", "Zoë", "a-1", "a-2", "😀", "x" * 128], -40_000, 0.15),
        Place("far/behind", [f"a-{number}" for number in range(5)], -3 * HOUR_MS, 0.07),
        Place("*", ["a-1", "*"], 0, 0.03),
    ]


def adversarial(seed: int, count: int, span_ms: int = 3 * DAY_MS, stamped: bool = True) -> list[Record]:
    """About `count` records over about `span_ms`, in the order of the log.

    Args:
        seed: The same seed gives the same bytes.
        count: How many.
        span_ms: From first to last append time; nights and a long gap included.
        stamped: Whether the records have append times.
    """
    rng = random.Random(seed)
    sites = places()
    shares = [site.share for site in sites]
    now = START_MS
    records: list[Any] = []
    waiting: list[Any] = []
    while len(records) < count:
        now += int(rng.expovariate(1) * span_ms / count / 2)
        if rng.random() < 12 / count:
            now += int(rng.choice((0.3, 1, 5, 13)) * span_ms / 72)
        site = rng.choices(sites, shares)[0]
        for value in _some(rng, site, now, waiting):
            if value is not None and rng.random() < 0.9:
                site.recent.append(value)
            if len(site.recent) > 3_000:
                del site.recent[:1_000]
            records.append(Record(len(records), now if stamped else None, site.name.encode(), value))
        if waiting and rng.random() < 0.03:
            records.append(Record(len(records), now if stamped else None, None, waiting.pop(0)))
    # Offsets of a real log have gaps: transaction markers, compaction.
    offset, spaced = rng.randrange(1_000), []
    for record in records:
        spaced.append(record._replace(offset=offset))
        offset += 1 if rng.random() < 0.99 else rng.randint(2, 50)
    return spaced


def shuffled_states(seed: int, count: int, start_ms: int, pause_ms: int) -> list[Record]:
    """A few people who change state far out of order; half of the records have append times."""
    rng = random.Random(seed)
    now, records = start_ms, []
    for offset in range(count):
        now += int(rng.expovariate(1) * pause_ms)
        at = now - int(rng.choice((0, 0, 0, MINUTE_MS, HOUR_MS, 13 * HOUR_MS, 40 * HOUR_MS)) * rng.random())
        unit = rng.choice((1, 1, 1, MINUTE_MS, HOUR_MS))
        event = {
            "type": rng.choice((*["state_changed"] * 5, "agent_profiled", "label_submitted")), "event_id": str(offset),
            "at": max(0, at // unit * unit), "site_id": rng.choice("xy"), "agent_id": rng.choice("abcd"),
            "project_id": rng.choice(("p", "q")), "task_id": "t", "state": rng.choice(STATES),
            "role": rng.choice(("agent", "qa", None)),
        }  # fmt: skip
        records.append(Record(offset, rng.choice((now, None)), None, json.dumps(event).encode()))
    return records


def _some(rng: random.Random, site: Place, now: int, waiting: list[bytes]) -> Iterator[bytes | None]:
    """One record of a site, seldom two; may put one into `waiting` for later."""
    dice = rng.random()
    if dice < 0.03 and site.recent:
        near = rng.random() < 0.7
        yield rng.choice(site.recent[-40:] if near else site.recent)
    elif dice < 0.05:
        yield broken(rng, _event(rng, site, now))
    elif dice < 0.06 and site.reviews:
        # The revision comes before its review.
        review = _review(rng, site, now)
        yield encode(rng, _revise_review(rng, review, now))
        waiting.append(encode(rng, review))
    else:
        yield encode(rng, _event(rng, site, now))


def _event(rng: random.Random, site: Place, now: int) -> dict[str, Any]:
    dice = rng.random()
    if dice < 0.5:
        event = _label(rng, site, now)
        site.labels.append(event)
    elif dice < 0.74:
        event = _review(rng, site, now)
        site.reviews.append(event)
    elif dice < 0.87:
        event = _base(rng, site, now, "state_changed")
        event |= {"agent_id": _person(rng, site), "state": rng.choice(STATES)}
        event |= _optional(
            rng, project_id=rng.choice(PROJECTS), queue="q", reason="lunch", paid=True, shift_id="s1",
            estimated=rng.choice((True, False, None)),
        )  # fmt: skip
    elif dice < 0.89:
        event = _base(rng, site, now, "agent_profiled") | {"agent_id": _person(rng, site)}
        event |= _optional(
            rng, role=rng.choice(("agent", "qa")), status=rng.choice(("active", "leave", "left")), team="t",
            started_on="2024-02-29", ended_on="2025-12-31", moved_to_site_id="manila-1", contract_hours_week=37.5,
            markets=["US", "中国"], languages=[], skills=["s"] * 20, person_id="p",
        )  # fmt: skip
    elif dice < 0.93 and site.reviews:
        event = _revise_review(rng, _known(rng, site.reviews), now)
    elif dice < 0.96 and site.labels:
        event = _revise_label(rng, _known(rng, site.labels), now)
    else:
        event = _later(rng, site, now)
    for kept in (site.labels, site.reviews):
        if len(kept) > 4_000:
            del kept[:2_000]
    return event


def _known(rng: random.Random, kept: list[dict[str, Any]]) -> dict[str, Any]:
    return rng.choice(kept[-100:] if rng.random() < 0.6 else kept)


def _person(rng: random.Random, site: Place) -> str:
    """A few people do most of the work, so that some have enough reviews."""
    return site.people[int(len(site.people) * rng.random() ** rng.choice((1, 5, 5)))]


def _base(rng: random.Random, site: Place, now: int, kind: str) -> dict[str, Any]:
    return {"type": kind, "event_id": f"{rng.getrandbits(60):x}", "at": _time(rng, now + site.ahead_ms),
            "site_id": site.name}  # fmt: skip


def _time(rng: random.Random, now: int) -> int:
    """An event time near now: a little late as a rule, seldom very late, or ahead."""
    dice = rng.random()
    if dice < 0.6:
        at = now - int(rng.expovariate(1) * 5 * SECOND_MS)
    elif dice < 0.9:
        at = now - rng.randrange(20 * MINUTE_MS)
    elif dice < 0.96:
        at = now - rng.randrange(26 * HOUR_MS)
    elif dice < 0.975:
        at = now - rng.randrange(175 * HOUR_MS)
    elif dice < 0.98:
        at = now - rng.randrange(60 * DAY_MS)
    elif dice < 0.99:
        at = now + rng.choice((1, 49_999, 50_000, 50_001, 299_999, 300_000, 300_001, 301_000, DAY_MS))
    else:
        at = now - rng.choice((14, 15, 16, 59, 60, 61)) * MINUTE_MS - rng.choice((0, 1, -1, 30_000))
    if rng.random() < 0.08:
        unit = rng.choice((MINUTE_MS, HOUR_MS))
        at = at // unit * unit - rng.choice((0, 0, 1))
    return at


def _optional(rng: random.Random, **fields: Any) -> dict[str, Any]:
    """Each field there, absent or null."""
    found = {}
    for name, value in fields.items():
        dice = rng.random()
        if dice < 0.5:
            found[name] = value
        elif dice < 0.56:
            found[name] = None
    return found


def _work(rng: random.Random, site: Place) -> dict[str, Any]:
    return {
        "agent_id": _person(rng, site),
        "project_id": PROJECTS[int(len(PROJECTS) * rng.random() ** 2)],
        "task_id": f"t-{rng.getrandbits(40)}",
    }


def _sop(rng: random.Random, now: int) -> str:
    """Versions come one after another, old ones linger."""
    newest = min(len(SOP_VERSIONS) - 1, (now - START_MS) // (6 * HOUR_MS))
    return SOP_VERSIONS[rng.randint(max(0, newest - 4), newest)]


def _milliseconds(rng: random.Random) -> int:
    """Handling time: believable, at the cap, beyond it, and beyond every machine word."""
    if rng.random() < 0.95:
        return int(rng.lognormvariate(10.2, 0.8))
    bound = rng.choice((0, 100, 1_000, 30_000, 1_800_000, 7 * DAY_MS))
    return rng.choice((bound, bound + 1, abs(bound - 1), 31, 2**31, 2**32 + 5, 2**53 + 1, 2**63, 2**64, 10**30))


def _label(rng: random.Random, site: Place, now: int) -> dict[str, Any]:
    event = _base(rng, site, now, "label_submitted") | _work(rng, site)
    if rng.random() < 0.9:
        event["handle_ms"] = _milliseconds(rng)
    return event | _optional(
        rng, label=rng.choice(("ok", "violating", "违规\n", "x" * 1000)), market=rng.choice(MARKETS),
        sop_version=_sop(rng, now), skipped=rng.random() < 0.15, skip_reason="cannot\ttell",
        purpose=rng.choice(PURPOSES),
        label_id="l", attempt=rng.choice((1, 1, 2, 1_000_000)), request_id="r", queue="q", content_type="image",
        language="tl", skill="s", stratum="high", policy_code="P1", shift_id="s1", prelabel="",
    )  # fmt: skip


def _review(rng: random.Random, site: Place, now: int) -> dict[str, Any]:
    event = _base(rng, site, now, "label_reviewed") | _work(rng, site)
    event["correct"] = correct = rng.random() < 0.9
    delay = int(rng.expovariate(1) * HOUR_MS) if rng.random() < 0.8 else rng.choice((0, 60_000, 60_001, DAY_MS * 9))
    event |= _optional(
        rng, market=rng.choice(MARKETS), sop_version=_sop(rng, now), role=rng.choice(("agent", "agent", "agent", "qa")),
        verdict=True, review_id="r", label_id="l", review_round=rng.choice((1, 1, 1, 2, 3)),
        reviewer_id=_person(rng, site), reviewer_org=rng.choice(("vendor", "client")), reviewer_site_id="*",
        source=rng.choice(SOURCES), sampling=rng.choice(SAMPLINGS), sampling_rate=rng.choice((1, 0.1, 1e-9, 1.0)),
        blind=False, purpose=rng.choice(PURPOSES), label="ok", expected="违规", score=rng.choice((0, 1, 0.5)),
        review_ms=_milliseconds(rng), labeled_at=_labeled_at(rng, event["at"], delay),
        request_id="r", queue="q", review_sop_version="v9", content_type="text", language="es", skill="s", stratum="x",
    )  # fmt: skip
    if not correct or rng.random() < 0.02:
        found = [_error(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 5)))]
        event |= _optional(
            rng, error_type=rng.choice(ERROR_TYPES), severity=rng.choice(("minor", "major", "critical")), errors=found
        )
    return event


def _labeled_at(rng: random.Random, at: int, delay: int) -> int:
    """When the label was made: before the review as a rule; seldom in seconds, 0, or a quarter before and longer."""
    if rng.random() < 0.97:
        return max(0, at - rng.choice((delay, delay, -300_000, -1)))
    quarter = 90 * DAY_MS
    return max(0, rng.choice((0, 1, at // 1000, at - quarter, at - quarter - 1, at - 3 * 365 * DAY_MS, 10**11)))


def _error(rng: random.Random) -> dict[str, Any]:
    newest = rng.randrange(1, len(ERROR_TYPES))
    return {"type": ERROR_TYPES[rng.randrange(newest)]} | _optional(rng, severity="major", policy_code="P")


def _version(review: dict[str, Any]) -> dict[str, Any]:
    names = ("correct", "source", "sampling", "market", "sop_version", "errors")
    return {name: review[name] for name in names if name in review}


def _revise_review(rng: random.Random, review: dict[str, Any], now: int) -> dict[str, Any]:
    cause = rng.choice(("appeal", "audit", "reviewer", "void"))
    delay = now - START_MS if rng.random() < 0.1 else rng.randrange(2 * HOUR_MS)
    event = {
        "type": "review_revised", "event_id": f"{rng.getrandbits(60):x}", "site_id": review["site_id"],
        "at": max(review["at"] - 300_000, min(now, review["at"] + delay)),
        "review_id": review.get("review_id") or review["event_id"], "reviewed_at": review["at"], "cause": cause,
        "agent_id": review["agent_id"], "project_id": review["project_id"], "task_id": review["task_id"],
        "old": _version(review),
    }  # fmt: skip
    if review.get("role"):
        event["role"] = review["role"]
    if cause != "void":
        event["new"] = _version(review) | {"correct": rng.random() < 0.5} | _optional(rng, source="audit", market="ID")
    return event | _optional(rng, by="boss")


def _revise_label(rng: random.Random, label: dict[str, Any], now: int) -> dict[str, Any]:
    cause = rng.choice(("updated", "deleted", "unskipped"))
    names = ("label", "handle_ms", "skipped")
    old = {name: label[name] for name in names if name in label}
    event = {
        "type": "label_revised", "event_id": f"{rng.getrandbits(60):x}", "site_id": label["site_id"],
        "at": max(label["at"] - 300_000, min(now, label["at"] + rng.randrange(2 * HOUR_MS))),
        "label_id": label.get("label_id") or "l", "submitted_at": label["at"], "cause": cause, "old": old,
        "agent_id": label["agent_id"], "project_id": label["project_id"], "task_id": label["task_id"],
    }  # fmt: skip
    if label.get("market"):
        event["market"] = label["market"]
    if cause != "deleted":
        event["new"] = old | {"handle_ms": _milliseconds(rng), "skipped": rng.random() < 0.1}
    return event | _optional(rng, by="boss")


def _later(rng: random.Random, site: Place, now: int) -> dict[str, Any]:
    """Types that are counted only, and one that nobody knows."""
    kind = rng.choice(tuple(LATER))
    made: dict[str, Any] = _base(rng, site, now, kind) | LATER[kind](rng, now)
    return made


def _reviewed_work(rng: random.Random, now: int) -> dict[str, Any]:
    work = {"review_id": "r", "agent_id": "a-1", "project_id": "spam", "task_id": "t", "reviewed_at": now}
    return work | _optional(rng, reason="no")


def _of(now: int, values: tuple[int, ...]) -> int:
    """One of some values, by the time alone: the other events stay as they are."""
    return max(0, random.Random(now).choice(values))


LATER: dict[str, Any] = {
    "appeal_opened": _reviewed_work,
    "appeal_closed": lambda rng, now: _reviewed_work(rng, now) | {"outcome": "upheld"},
    "request_opened": lambda rng, now: (
        {"request_id": "r", "project_id": "spam", "items": 10**9}
        | _optional(rng, due_at=MAX_MS, market="US", sop_version="v1", requester="me")
    ),
    "request_closed": lambda rng, now: {"request_id": "r"} | _optional(rng, outcome="done"),
    "queue_measured": lambda rng, now: (
        {"queue": "q", "project_id": "spam", "waiting": _of(now, (0, 7, 7, 1_000, 2**70))}
        | _optional(
            rng,
            market="US",
            oldest_at=_of(now, (0, now // 1000, now, now - HOUR_MS, now - 200 * DAY_MS, now + 300_001, now + 300_000)),
            arrived_total=_of(now, (0, now // 1000, now // 1000, now // 1000, 2**70)),
        )
    ),
    "shift_planned": lambda rng, now: (
        {"agent_id": "a-1", "shift_id": "s", "starts_at": now, "ends_at": now + 8 * HOUR_MS}
        | _optional(rng, plan_version=rng.choice((3, "v3")), activity="label", queue="q", cancelled=False)
    ),
    "sop_published": lambda rng, now: (
        {"project_id": "spam", "sop_version": "v9"} | _optional(rng, summary="a\nb")
    ),
    "calibration_answered": lambda rng, now: (
        {"session_id": "s", "round": 1, "item_id": "i", "agent_id": "a-1", "answer": ""}
        | _optional(rng, expected="ok", project_id="spam", sop_version="v1")
    ),
    "drift_noted": lambda rng, now: (
        {"drift_id": "d", "status": "explained"} | _optional(rng, owner="o", note="n" * 1000, due_on="2026-01-31")
    ),
    "clock_advanced": lambda rng, now: {"site_id": rng.choice(("*", "manila-1"))},
    "robot_labeled": lambda rng, now: _optional(rng, at=now + 9 * DAY_MS, agent_id=7, anything={"deep": [1, None]}),
}  # fmt: skip


def encode(rng: random.Random, event: dict[str, Any]) -> bytes:
    """One of the many ways to write the same object."""
    if rng.random() < 0.2:
        pairs = list(event.items())
        rng.shuffle(pairs)
        event = dict(pairs)
    if rng.random() < 0.05:
        event = event | {
            "x_extra": rng.choice((None, [1, {"a": "\u0000 \x7f"}], {"type": 5}, "e" * 3_000, -1e300, True))
        }
    ascii_only = rng.random() < 0.3
    separators = (",", ":") if rng.random() < 0.7 else (" ,\n", " : ")
    return json.dumps(event, ensure_ascii=ascii_only, separators=separators).encode()


def broken(rng: random.Random, event: dict[str, Any]) -> bytes | None:
    """A record that cannot be used, or only just can."""
    plain = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    name = rng.choice(tuple(event))
    wrong: Any = rng.choice(
        (None, True, 1, -1, 0.5, 1e300, "", "x" * 129, "y" * 1001, "\u0000", "a\u007f", "\u0085", [], {})
    )
    choices = (
        lambda: None,
        lambda: b"",
        lambda: b"null",
        lambda: b"[" + plain + b"]",
        lambda: plain[: rng.randrange(len(plain))],
        lambda: plain + b"}",
        lambda: plain.replace(b'"site_id":"', b'"site_id":"\xff'),
        lambda: plain.replace(b'"event_id":"', b'"event_id":"\xed\xa0\x80'),
        lambda: plain.replace(b'"at":', b'"at":NaN,"x":'),
        lambda: plain.replace(b'"at":', b'"at":0'),
        lambda: plain.replace(b",", b",,", 1),
        lambda: plain.replace(b'"', b"'"),
        lambda: b"\xef\xbb\xbf" + plain,
        lambda: plain.decode().encode("utf-16"),
        lambda: b" \n\t" + plain + b"\r\n ",
        lambda: json.dumps({key: value for key, value in event.items() if key != name}).encode(),
        lambda: json.dumps(event | {name: wrong}).encode(),
        lambda: json.dumps(event | {name: wrong}, ensure_ascii=False).encode(),
        lambda: json.dumps(event | {"at": rng.choice((MAX_MS + 1, -1, 2**63, 2**64, 10**40, "1", 1.5))}).encode(),
        lambda: json.dumps(event | {"labeled_at": (event["at"] or 0) + 300_001}).encode(),
        lambda: json.dumps(event | {"errors": [{"type": "t"}] * 65}).encode(),
    )
    return rng.choice(choices)()

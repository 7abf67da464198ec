"""What is kept of a drift from its opening to its clearing, and the records that report both."""

import math

import msgspec
import numpy as np
from xxhash import xxh3_64_hexdigest

from detectors.budget import DAYS_A_MONTH
from detectors.reverse import ReverseTest
from schemas.drift import BUDGET_OF, OURS, Cause, DriftLevel, DriftRecord, Member
from schemas.policy import Policy
from schemas.sentences import chinese, english
from streams.engine.drift.stream import Stream, watches_fall
from streams.engine.ratios import wilson

#: A drift that opens again within this time after it was cleared is the same one.
SAME_WITHIN_MS = 7 * 86_400_000
#: Tasks that a drift names as examples, at most.
TASKS = 10
#: Rates of 0 and 1 are moved by this much towards the middle.
_NEAREST = 1e-4


class Episode(msgspec.Struct):
    """An open drift.

    Attributes:
        drift_id: Made of the stream and the event at which it first opened; never changes.
        opening: How often it has opened by now.
        opened_at, began_at, began_at_low, began_at_high: Epoch ms, by the data's clock.
        before: The figure before.
        n, wrong: Outcomes and errors since it began (of labels their number, and the sum that their figure is the mean
            of); both grow while it is open.
        estimate: The new level, shrunk towards the old one.
        evidence: Statistic over threshold when it opened.
        run_length: The promised mean number of outcomes between false alarms.
        test: The test of whether it is over, packed; for label mix the number of the class.
        verdict, causes, task_ids: What kind of change it is, its causes, and examples.
        label: The class whose share has moved; of label mix only.
        volume: Outcomes of the stream a month when it opened; 0 where unknown.
        began_earlier: Whether it may have begun before `began_at_low`.
        incident_id, parent, children: As in its record; empty for drifts of labels, which belong to no incident.
    """

    drift_id: str
    opening: int
    opened_at: int
    began_at: int
    began_at_low: int
    began_at_high: int
    before: DriftLevel
    n: int
    wrong: float
    estimate: float
    evidence: float
    run_length: float
    test: bytes
    verdict: str = "spread"
    causes: tuple[Cause, ...] = ()
    task_ids: tuple[str, ...] = ()
    label: str = ""
    volume: float = 0.0
    began_earlier: bool = False
    incident_id: str = ""
    parent: str = ""
    children: tuple[str, ...] = ()


class Closed(msgspec.Struct):
    """A drift that was cleared; kept because it may come back.

    Attributes:
        drift_id, opening: As of `Episode`.
        cleared_at, began_at: Epoch ms. Outcomes between them are no measure of what is usual.
    """

    drift_id: str
    opening: int
    cleared_at: int
    began_at: int = 0


def again(closed: Closed | None, at_ms: int) -> Closed | None:
    """The closed drift, if it was cleared so lately that a new one is the same drift come back; else None."""
    return closed if closed is not None and at_ms - closed.cleared_at <= SAME_WITHIN_MS else None


def drift_id(stream: Stream, event_id: str) -> str:
    """A drift's id: the same whenever the same events are read."""
    return "d-" + xxh3_64_hexdigest("\x1f".join((*stream, event_id)).encode())


def named(stream: Stream, event_id: str, closed: Closed | None, at_ms: int) -> tuple[str, int]:
    """The id of a drift that opens, and how often it has opened by now; a drift that comes back keeps its id."""
    same = again(closed, at_ms)
    return (same.drift_id, same.opening + 1) if same else (drift_id(stream, event_id), 1)


def over(episode: Episode, at_ms: int) -> Closed:
    """What is kept of a drift that is over."""
    return Closed(episode.drift_id, episode.opening, at_ms, episode.began_at)


def level(stream: Stream, total: float, n: int, *, at_least: bool = False) -> DriftLevel:
    """The figure of n outcomes: accuracy, a share, or typical seconds.

    Args:
        stream: The stream of the outcomes.
        total: Errors among them; for label mix, labels of the class; for handling time, the sum of the logarithms of
            seconds.
        n: How many outcomes.
        at_least: Whether there were more than n, which are no longer kept.
    """
    if n <= 0:
        return DriftLevel(0.0, 0)
    if stream.signal == "handle_time":
        return DriftLevel(math.exp(total / n), n, at_least=at_least)
    if stream.signal == "label_mix":
        return DriftLevel(total / n, n, at_least=at_least)
    hits = n - total if shows_accuracy(stream) else total
    low, high = wilson(np.array([hits], np.int64), np.array([n], np.int64))
    return DriftLevel(hits / n, n, float(low[0]), float(high[0]), at_least)


def shows_accuracy(stream: Stream) -> bool:
    """Whether a stream's figure is the share of correct reviews, not that of errors."""
    return stream.signal.endswith("accuracy") or stream.signal == "accuracy_target"


def shown(stream: Stream, error_rate: float) -> float:
    """An error rate as the stream's figure: accuracy, or the rate itself."""
    return 1.0 - error_rate if shows_accuracy(stream) else error_rate


def reverse_test(stream: Stream, p0: float, n: int, wrong: float, temper: float) -> ReverseTest:
    """The test of whether a drift is over.

    Args:
        stream: The stream that has drifted.
        p0: Error rate that the stream is compared with: its baseline, or its target.
        n: Outcomes since the change, when the drift opens.
        wrong: Errors among them.
        temper: 1 / design effect.
    """
    p0 = min(max(p0, _NEAREST), 1.0 - _NEAREST)
    if watches_fall(stream):
        return ReverseTest(1.0 - p0, n, n - wrong, temper)
    return ReverseTest(p0, n, wrong, temper, target=stream.signal == "accuracy_target")


def record_of(
    stream: Stream,
    episode: Episode,
    status: str,
    at_ms: int,
    policy: Policy,
    detector: str = OURS,
    with_parent: bool = False,
) -> DriftRecord:
    """The record of an opening or a clearing, with its sentences.

    Args:
        stream: The stream that has drifted.
        episode: The drift.
        status: `opened` or `cleared`.
        at_ms: When it opened or cleared, epoch ms.
        policy: Its targets and time zones go into the record.
        detector: `OURS`, or the name of river's detector that found it.
        with_parent: Whether it ends because its parent has ended.
    """
    ours = detector == OURS
    since = level(stream, episode.wrong, episode.n)
    record = DriftRecord(
        status="opened" if status == "opened" else "cleared",
        drift_id=episode.drift_id,
        opening=episode.opening,
        incident_id=episode.incident_id or episode.drift_id,
        parent=episode.parent,
        children=episode.children,
        at=at_ms,
        site_id=stream.site,
        project_id=stream.project,
        agent_id=stream.agent,
        signal=stream.signal,  # type: ignore[arg-type]  # a stream's signal is one of SIGNALS, checked where it is made
        direction=stream.direction,  # type: ignore[arg-type]  # down or up, as above
        budget=BUDGET_OF[stream.signal] if ours else "ticket",
        label=episode.label,
        opened_at=episode.opened_at,
        cleared_at=at_ms if status == "cleared" else None,
        ended=None if status == "opened" else "with_parent" if with_parent else "recovered",
        began_at=episode.began_at,
        began_at_low=episode.began_at_low,
        began_at_high=episode.began_at_high,
        began_earlier=episode.began_earlier,
        target=policy.resolve(site=stream.site).accuracy if stream.signal == "accuracy_target" else None,
        before=episode.before,
        since=since,
        estimate=episode.estimate,
        evidence=episode.evidence,
        run_length=episode.run_length if ours else None,
        run_length_days=DAYS_A_MONTH * episode.run_length / episode.volume if episode.volume else None,
        verdict=episode.verdict,  # type: ignore[arg-type]  # from cause.verdict
        causes=episode.causes,
        task_ids=episode.task_ids,
        detector=detector,
    )
    return _worded(record, policy)


def related(record: DriftRecord, episode: Episode, within: tuple[Member, ...], policy: Policy) -> DriftRecord:
    """The record with its drift's incident, parent, children and `within` added, in its sentences too."""
    record = msgspec.structs.replace(
        record, incident_id=episode.incident_id, parent=episode.parent, children=episode.children, within=within
    )
    return _worded(record, policy)


def _worded(record: DriftRecord, policy: Policy) -> DriftRecord:
    zone = policy.timezone(record.site_id)
    return msgspec.structs.replace(record, text=english(record, zone), text_zh=chinese(record, zone))

"""The open drifts, from the signal that opens one to the proof that it is over; for reviews, labels and river alike."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from detectors.reverse import ReverseTest
from schemas.drift import OURS, DriftLevel, DriftRecord
from schemas.events import ReviewRevised
from schemas.policy import Policy
from streams.engine.drift.episodes import Closed, Episode, named, over, record_of, shown
from streams.engine.drift.segment import Revision
from streams.engine.drift.stream import Stream, watches_fall


class FoundChange(NamedTuple):
    """What is known of a change when it is found.

    Attributes:
        began_at, began_at_low, began_at_high: Estimate of when it began, and its 90% interval, epoch ms.
        before: The figure before the change.
        n, wrong: Outcomes since the change, and errors among them; as in `Episode`.
        rate: The error rate since, shrunk towards the one before; of labels the figure since.
        usual: The same from before the change, to which the stream is expected to come back.
        began_earlier: Whether it may have begun before `began_at_low`.
    """

    began_at: int
    began_at_low: int
    began_at_high: int
    before: DriftLevel
    n: int
    wrong: float
    rate: float
    usual: float
    began_earlier: bool = False


class Opening(NamedTuple):
    """The signal that opens a drift.

    Attributes:
        position: Position in the batch of the outcome that gave the signal.
        at: When that outcome counts, epoch ms.
        event: What the drift's id is made of; the same whenever the same log is read.
        evidence: Statistic over threshold.
        run_length: The promised mean number of outcomes between false alarms; 0 where none is promised.
        volume: Outcomes of the stream a month; 0 where unknown.
    """

    position: int
    at: int
    event: str
    evidence: float = 1.0
    run_length: float = 0.0
    volume: float = 0.0


class Reported(NamedTuple):
    """A drift that opened or cleared at a position in the batch."""

    position: int
    stream: Stream
    record: DriftRecord


@dataclass(slots=True)
class DriftCase:
    """A drift that is open.

    Attributes:
        stream: The stream that has drifted, and in which direction.
        episode: The figures, times and causes that are reported.
        test: The test of whether it is over; None for labels, whose series have their own.
        detector: The detector that found it.
        revised: How many of the present segment's revisions its figures have taken in.
    """

    stream: Stream
    episode: Episode
    test: ReverseTest | None
    detector: str = OURS
    revised: int = 0


class Casebook:
    """Drifts by the numbers of their streams: the open ones, and the last one of each stream, which may come back.

    Args:
        policy: Its targets and time zones go into the records.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.drifts: dict[int, DriftCase] = {}
        self.closed: dict[int, Closed] = {}
        #: Records since the last call of `take_reported`.
        self.reported: list[Reported] = []
        #: The present segment's, in the order of the log.
        self._revisions: Sequence[Revision] = ()
        #: Whether a drift has opened, gone on or ended since the last checkpoint.
        self.changed = False

    def open(
        self,
        number: int,
        stream: Stream,
        opening: Opening,
        change: FoundChange,
        closed: Closed | None,
        test: ReverseTest | None,
        explain: Callable[[Episode], None],
        detector: str = OURS,
    ) -> Episode:
        """Opens a drift, and reports it.

        Args:
            number: The stream's number.
            stream: The stream, with the direction of the change.
            opening: The signal.
            change: What is known of the change.
            closed: The stream's last drift; where it was cleared only lately, it is the same drift that opens again.
            test: The test of whether the drift is over.
            explain: Puts causes and examples into the episode before it is reported.
            detector: The detector that gave the signal.
        """
        known_as, times = named(stream, opening.event, closed, opening.at)
        # Events may be out of order; a drift begins before it is found.
        began = min(change.began_at, opening.at)
        episode = Episode(
            drift_id=known_as,
            opening=times,
            opened_at=opening.at,
            began_at=began,
            began_at_low=min(change.began_at_low, began),
            began_at_high=max(change.began_at_high, began),
            began_earlier=change.began_earlier,
            before=change.before,
            n=change.n,
            wrong=change.wrong,
            estimate=shown(stream, change.rate),
            evidence=opening.evidence,
            run_length=opening.run_length,
            test=b"",
            verdict="unknown",
            volume=opening.volume,
        )
        explain(episode)
        drift = self.drifts[number] = DriftCase(
            stream, episode, test, detector, self._revisions_before(opening.position)
        )
        self._report(drift, "opened", opening.position, opening.at)
        return episode

    def follow(self, number: int, wrong: Sequence[int], usual: Sequence[float] | None = None) -> int:
        """Feeds outcomes to an open drift, up to the one at which it is over.

        Args:
            number: The stream's number.
            wrong: For each outcome whether it is an error.
            usual: For each outcome the rate with which its test compares it, where each stratum has its own.

        Returns:
            How many outcomes were taken.
        """
        drift = self.drifts[number]
        assert drift.test is not None  # labels are followed by their series
        outcomes = [not each for each in wrong] if watches_fall(drift.stream) else wrong
        taken = drift.test.update_many(outcomes) if usual is None else drift.test.update_strata(outcomes, usual)
        drift.episode.n += taken
        drift.episode.wrong += sum(wrong[:taken])
        self.changed = True
        return taken

    def is_over(self, number: int) -> bool:
        """Whether the drift of a stream is proven to be over."""
        test = self.drifts[number].test
        return test is not None and test.cleared

    def end(self, number: int, position: int, at: int, *, with_parent: bool = False) -> None:
        """Ends a drift and reports it; its id is kept, in case it comes back.

        Args:
            number: The stream's number.
            position: Position in the batch of the outcome at which it is over.
            at: When that outcome counts, epoch ms. If it is an old one that came late, the drift still ends no earlier
                than it was opened.
            with_parent: Whether it ends because its parent has ended.
        """
        drift = self.drifts.pop(number)
        self._revise(drift, self._revisions_before(position))
        at = max(at, drift.episode.opened_at)
        self._report(drift, "cleared", position, at, with_parent=with_parent)
        self.closed[number] = over(drift.episode, at)

    def _report(self, drift: DriftCase, status: str, position: int, at: int, *, with_parent: bool = False) -> None:
        record = record_of(drift.stream, drift.episode, status, at, self._policy, drift.detector, with_parent)
        self.reported.append(Reported(position, drift.stream, record))
        self.changed = True

    def take_reported(self) -> list[Reported]:
        """The records since the last call."""
        reported, self.reported = self.reported, []
        return reported

    # --- revisions

    def begin(self, revisions: Sequence[Revision]) -> None:
        """Begins a segment: an open drift takes in its revisions where it ends, or with `revise`."""
        self._revisions = revisions

    def revise(self) -> bool:
        """Corrects the figures of open drifts by the rest of the segment's revisions; returns whether any has changed.

        Statistics keep the first verdict: it cannot be taken out of them, and the promised run length is one of first
        verdicts.
        """
        moved = False
        for drift in self.drifts.values():
            moved |= self._revise(drift, len(self._revisions))
            drift.revised = 0
        self._revisions = ()
        self.changed |= moved
        return moved

    def _revisions_before(self, position: int) -> int:
        """How many of the segment's revisions come before the review at a position, or right at it."""
        return bisect_right(self._revisions, position, key=attrgetter("position"))

    def _revise(self, drift: DriftCase, until: int) -> bool:
        """Corrects a drift's figures by the revisions of reviews among its own; returns whether there were any."""
        moved = False
        for _, _, event, old, new in self._revisions[drift.revised : until]:
            if _holds(drift.stream, drift.episode, event):
                drift.episode.n -= new is None
                drift.episode.wrong += (new or 0) - old
                moved = True
        drift.revised = until
        return moved

    # --- the durable form

    def pack(self) -> None:
        """Puts the tests of open drifts into their episodes."""
        for drift in self.drifts.values():
            if drift.test is not None:
                drift.episode.test = drift.test.to_bytes()

    def open_drifts(self) -> list[tuple[Stream, Episode]]:
        """The drifts that are open, in the order of their streams' numbers."""
        # Numbers are given in the order of the log, whereas a batch opens and clears stream by stream.
        return [(drift.stream, drift.episode) for _, drift in sorted(self.drifts.items(), key=lambda each: each[0])]


def _holds(stream: Stream, episode: Episode, event: ReviewRevised) -> bool:
    """Whether a revised review is among those of an open drift."""
    of_role = (stream.signal == "qa_accuracy") == (event.role == "qa")
    in_scope = stream.project in ("", event.project_id) and stream.agent in ("", event.agent_id)
    # A revision does not say which reviewer made the review.
    is_known = not (stream.signal == "error_finding" and stream.agent)
    is_of_it = stream.site == event.site_id and event.reviewed_at >= episode.began_at
    return of_role and in_scope and is_known and is_of_it

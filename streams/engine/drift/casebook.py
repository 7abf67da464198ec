"""Drifts from the signal that opens one to the proof that it is over; the same for reviews, labels and river."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detectors.reverse import ReverseTest
from schemas.drift import OURS, DriftLevel, DriftRecord
from schemas.events import ReviewRevised
from schemas.policy import Policy
from streams.engine.drift.episodes import Closed, Episode, named, over, record_of, shown
from streams.engine.drift.stream import Stream, watches_fall


class FoundChange(NamedTuple):
    """What is known of a change as it is found.

    Attributes:
        began_at, began_at_low, began_at_high: When it began, and the interval that this is known to, epoch ms.
        before: The figure before.
        n, wrong: Outcomes since, and errors among them; as in `Episode`.
        rate: The error rate since, shrunk; of labels the figure.
        usual: The same before: where the stream comes back to.
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
        position: Of the outcome in the batch.
        at: When that outcome counts, epoch ms.
        event: What it is named by: the same whenever the same log is read.
        evidence: Statistic / threshold.
        run_length: The promise; 0 where there is none.
        volume: Outcomes of the stream a month; 0 where that is not known.
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
        stream: Whose, with its direction.
        episode: What is said of it.
        test: Of whether it is over; None of labels, whose series have their own.
        detector: The one that found it.
    """

    stream: Stream
    episode: Episode
    test: ReverseTest | None
    detector: str = OURS


class Casebook:
    """Drifts by the numbers of their streams: the open ones, and the last one of each stream, which may come back.

    Args:
        policy: Targets and time zones, for records.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.drifts: dict[int, DriftCase] = {}
        self.closed: dict[int, Closed] = {}
        #: Records since they were last taken.
        self.reported: list[Reported] = []
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
        """Opens a drift.

        Args:
            number: Of the stream.
            stream: With the direction of the change.
            opening: The signal.
            change: What it has found.
            closed: The drift that this one is, if it was over only for a while.
            test: Of whether it is over.
            explain: Puts causes and examples into the episode before it is reported.
            detector: Whose signal it is.
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
        drift = self.drifts[number] = DriftCase(stream, episode, test, detector)
        self._report(drift, "opened", opening.position, opening.at)
        return episode

    def follow(self, number: int, wrong: Sequence[int], usual: Sequence[float] | None = None) -> int:
        """Takes outcomes of a stream with a drift open, up to the one at which it is over; returns how many.

        Args:
            number: Of the stream.
            wrong: Of each outcome whether it is an error.
            usual: Of each the rate that its test holds it to, where strata have their own.
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
        """Ends a drift, of which its name is kept for a while.

        Args:
            number: Of the stream.
            position: In the batch, of the outcome at which it is over.
            at: When that counts, epoch ms. It may be an old one that comes late: a drift ends after it was found.
            with_parent: Whether it ends since its parent has.
        """
        drift = self.drifts.pop(number)
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

    def revise(self, event: ReviewRevised, old: bool, new: bool | None) -> bool:
        """Moves the figures of the open drifts that hold a review; whether there is one.

        What a statistic has made of the first verdict stays: it cannot be taken back, and the promise is about first
        verdicts.

        Args:
            event: The revision.
            old: Whether the review was an error.
            new: Whether it is one now; None: it counts no more.
        """
        moved = False
        for drift in self.drifts.values():
            if _holds(drift.stream, drift.episode, event):
                drift.episode.n -= new is None
                drift.episode.wrong += (new or 0) - old
                moved = True
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
    # Of a reviewer's work a revision does not say whose it was.
    is_known = not (stream.signal == "error_finding" and stream.agent)
    is_of_it = stream.site == event.site_id and event.reviewed_at >= episode.began_at
    return of_role and in_scope and is_known and is_of_it

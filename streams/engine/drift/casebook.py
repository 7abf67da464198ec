"""The drifts of reviews from the review that opens one to the one that ends it: when, why, whose, and what it says."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats, Ints
from detectors.falling import locate_fall
from detectors.mixture import SHIFTS
from detectors.outcomes import from_gaps, locate_change
from detectors.protocol import Estimate
from detectors.reverse import PACKED_BYTES, ReverseTest
from detectors.rounds import STRATA
from schemas.drift import BUDGET_OF, Cause, DriftLevel, DriftRecord
from schemas.events import ReviewRevised, ReviewVersion
from schemas.policy import Policy
from streams.engine.drift.cause import CAUSES, MAIN_SHARE, Contribution, contributions, largest, verdict
from streams.engine.drift.episodes import (
    Closed,
    Episode,
    level,
    named,
    over,
    record_of,
    related,
    reverse_test,
    shows_accuracy,
)
from streams.engine.drift.incidents import Incidents, parent_of
from streams.engine.drift.memory import DIMENSIONS, ReviewMemory
from streams.engine.drift.names import NONE
from streams.engine.drift.outcomes import OutcomeStreams
from streams.engine.drift.recent import REVIEW, PackedRows
from streams.engine.drift.segment import Segment
from streams.engine.drift.site_strata import SiteStrata
from streams.engine.drift.stream import DAY_SECONDS, Crossing, Stream, watches_fall

#: A figure from before a change needs so many reviews; with fewer, the learned baseline speaks.
_LEAST_BEFORE = 30
#: Outcomes that a change is located in, where a ring has more.
_LOCATED_IN = 6_000
#: A stratum below this share of the work since a change needs no counterpart before it.
_LEAST_SHARE = 0.05


class _Change(NamedTuple):
    """What is known of a change as it is found."""

    began_at: int
    began_at_low: int
    began_at_high: int
    began_earlier: bool
    before: DriftLevel
    n: int
    wrong: int
    estimate: Estimate


class Casebook:
    """Open drifts of reviews by their streams' numbers, and those that are over but may come back.

    Args:
        policy: Targets and time zones.
        streams: What the tests know.
        memory: The newest reviews.
        strata: Of sites.
    """

    def __init__(self, policy: Policy, streams: OutcomeStreams, memory: ReviewMemory, strata: SiteStrata) -> None:
        self._policy = policy
        self._streams = streams
        self._memory = memory
        self._strata = strata
        self.episodes: dict[int, Episode] = {}
        self._tests: dict[int, ReverseTest] = {}
        self.closed: dict[int, Closed] = {}
        #: What belongs to what, as of the end of the segment before; and drifts that have opened since.
        self.incidents = Incidents()
        self._new: dict[tuple[str, int], Episode] = {}
        #: How often drifts have opened, by stream.
        self.opened: dict[Stream, int] = {}
        #: Records of the batch at hand, with their positions.
        self.reported: list[tuple[int, Stream, DriftRecord]] = []
        self.changed = False
        self.pages_pending = False

    def key(self, number: int) -> Stream:
        """The stream of a number that is in use."""
        stream = self._streams.keys[number]
        assert stream is not None  # an idle stream is forgotten only without a drift open
        return stream

    def count(self, stream: Stream) -> None:
        """Counts a drift that has opened."""
        self.opened[stream] = self.opened.get(stream, 0) + 1
        self.changed = True

    # --- a drift opens

    def open(self, crossing: Crossing, segment: Segment) -> None:
        """Opens a drift of a stream whose statistic has reached its threshold."""
        number, position, statistic, run_length, volume = crossing
        stream, at = self.key(number), int(segment.clock[position])
        closed = self.closed.pop(number, None)
        change = self._locate(number, stream, position, closed, segment)
        known_as, opening = named(stream, segment.ids[position], closed, at)
        episode = Episode(
            drift_id=known_as,
            opening=opening,
            opened_at=at,
            # Events may be out of order; a drift begins before it is found.
            began_at=(began := min(change.began_at, at)),
            began_at_low=min(change.began_at_low, began),
            began_at_high=max(change.began_at_high, began),
            began_earlier=change.began_earlier,
            before=change.before,
            n=change.n,
            wrong=change.wrong,
            estimate=shown(stream, change.estimate.new_rate),
            evidence=statistic / run_length,
            run_length=run_length,
            test=b"",
            verdict="unknown",
            volume=volume,
        )
        self.explain(stream, episode, position, closed, segment)
        self.episodes[number] = episode
        self._tests[number] = reverse_test(
            stream,
            # Of the very strata that the drift has shown so far.
            change.estimate.old_rate if self._streams.holds_strata(number) else self._streams.baseline(number),
            change.n,
            change.wrong,
            self._streams.temper(number),
        )
        self._new[episode.drift_id, episode.opening] = episode
        self.count(stream)
        self.pages_pending |= BUDGET_OF[stream.signal] == "page"
        self.reported.append((position, stream, record_of(stream, episode, "opened", at, self._policy)))

    def _locate(self, number: int, stream: Stream, position: int, closed: Closed | None, segment: Segment) -> _Change:
        """When the change began and what the figure was before; what was learned of it is unlearned."""
        seen, at = self._memory.seen(stream, position, closed, segment), int(segment.at[position])
        wrong = REVIEW.of(seen.rows[:_LOCATED_IN], "wrong").astype(np.uint8)
        gaps, times = self._streams.outcomes(number)
        remembered = from_gaps(0, gaps)
        from_ring = len(wrong) >= min(len(remembered), _LOCATED_IN)
        outcomes = wrong if from_ring else np.array(remembered, np.uint8)
        # Of errors that are remembered beyond the ring it is not known of which stratum they were; and there may be no
        # review since the last drift was over, where old ones come late.
        strata = None
        if from_ring and len(wrong) and self._streams.holds_strata(number):
            strata = self._strata.of(stream, seen.rows[: len(wrong)])

        first = self._estimate(number, stream, outcomes, strata)
        errors = int(outcomes[: first.began_ago].sum())
        by_stratum = None
        if strata is not None:
            of_change, failed = strata[: first.began_ago], outcomes[: first.began_ago] > 0
            by_stratum = np.stack([np.bincount(of_change[each], minlength=STRATA) for each in (failed, ~failed)])
        self._streams.unlearn(number, errors, first.began_ago - errors, by_stratum)
        found = self._estimate(number, stream, outcomes, strata)
        n, errors = found.began_ago, int(outcomes[: found.began_ago].sum())
        if from_ring:
            when = REVIEW.of(seen.rows, "at")
        else:
            # Errors' times are known; those of correct outcomes lie between them.
            ago = np.cumsum([1, *(gap + 1 for gap in gaps[:-1])])
            when = np.interp(np.arange(1, len(outcomes) + 1), ago, np.array(times) * 1000.0).astype(np.int64)
        began, low, high = (
            int(when[min(back, len(when)) - 1]) if back and len(when) else at
            for back in (found.began_ago, found.began_ago_high, found.began_ago_low)
        )
        earlier = seen.earlier[n:]
        if strata is not None:
            earlier = self._like_for_like(stream, seen.earlier[:n], earlier)
        earlier = REVIEW.of(earlier, "wrong")
        before = level(stream, float(earlier.sum()), len(earlier), at_least=seen.is_cut)
        falls = watches_fall(stream)
        # Where the ring holds too little of before, or another time than the baseline was learned in, this one speaks.
        if (
            not from_ring
            or len(earlier) < _LEAST_BEFORE
            or (stream.signal != "accuracy_target" and (earlier.mean() * n > errors) != falls)
        ):
            baseline = self._streams.baseline(number) if strata is None else found.old_rate
            before = DriftLevel(shown(stream, baseline), self._streams.known(number))
        earliest = 0 < len(outcomes) <= found.began_ago_high
        return _Change(began, low, high, earliest, before, n, errors, found)

    def _estimate(self, number: int, stream: Stream, outcomes: NDArray[np.uint8], strata: Ints | None) -> Estimate:
        """When a stream's rate changed, and to what, by its baseline as it is now."""
        usual, temper = self._streams.baseline(number), self._streams.temper(number)
        if strata is None:
            p0: float | Floats = min(max(usual, 1e-4), 1 - 1e-4)
        else:
            p0 = np.clip(self._streams.rates(number, usual).take(strata), 1e-4, 1 - 1e-4)
        return (
            locate_fall(outcomes, p0, temper) if watches_fall(stream) else locate_change(outcomes, p0, SHIFTS, temper)
        )

    def _like_for_like(self, stream: Stream, since: PackedRows, before: PackedRows) -> PackedRows:
        """Of reviews before a change, newest first, as many as have strata in the shares that these have since."""
        strata = self._strata.of(stream, before)
        shares = np.bincount(self._strata.of(stream, since), minlength=STRATA) / max(len(since), 1)
        there = np.bincount(strata, minlength=STRATA)
        counted = shares >= _LEAST_SHARE
        if not counted.any():
            return before[:0]
        most = (shares * (there[counted] / shares[counted]).min()).astype(np.int64)
        kept = np.zeros(len(before), bool)
        for stratum, many in enumerate(most.tolist()):
            kept[np.flatnonzero(strata == stratum)[:many]] = True
        return before[kept]

    def explain(self, stream: Stream, episode: Episode, position: int, closed: Closed | None, segment: Segment) -> None:
        """Puts causes and examples into an episode."""
        seen = self._memory.seen(stream, position, closed, segment)
        since, before = seen.earlier[: episode.n], seen.earlier[episode.n :]
        number = self._streams.find(stream)
        if len(before) != episode.before.n and number is not None and self._streams.holds_strata(number):
            before = self._like_for_like(stream, since, before)
        # Parts are of the change that is shown: they need the very reviews of its figures.
        if len(since) == episode.n > 0 and len(before) == episode.before.n >= _LEAST_BEFORE:
            columns_before, columns_since = self._memory.columns(before), self._memory.columns(since)
            for each, rows in ((columns_before, before), (columns_since, since)):
                # A review that was revised to correct, or that older builds took a remark of, has no error.
                each["error_type"] = np.where(REVIEW.of(rows, "wrong") > 0, each["error_type"], NONE)
            columns = {by: (columns_before[by], columns_since[by]) for by in DIMENSIONS}
            y_before, y_since = (REVIEW.of(each, "wrong").astype(np.float64) for each in (before, since))
            parts = contributions(columns, y_before, y_since, "error_type", NONE)
            change = float(y_since.mean() - y_before.mean())
            episode.verdict = verdict(parts, change)
            reported = largest(parts, change, CAUSES)
            episode.causes = tuple(self._cause(stream, part) for part in reported)
            for part in reported:
                # The same at every site, whichever worker has it: one incident.
                if part.by == "sop_version" and not part.known and part.points / change >= MAIN_SHARE:
                    projects = columns_since["project"][columns_since["sop_version"] == part.member]
                    if len(projects):
                        project = self._memory.names["project"][int(np.bincount(projects).argmax())]
                        episode.incident_id = f"sop:{project}/{self._memory.names['sop_version'][part.member]}"
                        break
        numbers = set(seen.numbers[: episode.n].tolist())
        episode.task_ids = self._memory.examples(stream, numbers, position, segment)

    def _cause(self, stream: Stream, part: Contribution) -> Cause:
        points = -part.points if shows_accuracy(stream) else part.points
        return Cause(part.by, self._memory.names[part.by][part.member], part.effect, points)  # type: ignore[arg-type]  # of _DIMENSIONS

    # --- a drift goes on and ends

    def follow(
        self,
        number: int,
        positions: list[int],
        bad: list[bool],
        start: int,
        strata: Sequence[int] | None,
        clock: Ints,
    ) -> int:
        """Takes outcomes of a stream with a drift open, up to the one that clears it; returns how many.

        Args:
            number: Of the stream.
            positions: Of its outcomes, in the batch.
            bad: Whether each is an error.
            start: The first that is taken.
            strata: Of each its stratum, where the stream is held to them.
            clock: By position, when a review counts, ms.
        """
        episode, test, stream = self.episodes[number], self._tests[number], self.key(number)
        left = bad[start:] if start else bad
        falls = watches_fall(stream)
        outcomes = [not each for each in left] if falls else left
        if strata is None:
            taken = test.update_many(outcomes)
        else:
            rates = self._streams.rates(number, 1.0 - test.p0 if falls else test.p0)
            usual = (1.0 - rates if falls else rates).tolist()
            taken = test.update_strata(outcomes, [usual[stratum] for stratum in strata[start:]])
        episode.n += taken
        episode.wrong += sum(left[:taken])
        self.changed = True
        if test.cleared:
            position = positions[start + taken - 1]
            # The review may be an old one that comes late; a drift ends after it was found.
            at = max(int(clock[position]), episode.opened_at)
            self.reported.append((position, stream, record_of(stream, episode, "cleared", at, self._policy)))
            self.end(number, at)
        return taken

    def end(self, number: int, at: int) -> None:
        """Forgets a drift but for its name, and starts the stream's test afresh."""
        episode = self.episodes.pop(number)
        del self._tests[number]
        self.closed[number] = over(episode, at)
        self._streams.restart(number)

    def end_with_parent(self, stream: Stream, position: int, day: int) -> None:
        """Ends a drift whose parent is over: who has not recovered is found again, and stands alone then."""
        number, episode = self._streams.number(stream), self.incidents.end(stream)
        at = max(day * DAY_SECONDS * 1000, episode.opened_at)
        record = record_of(stream, episode, "cleared", at, self._policy, with_parent=True)
        self.reported.append((position, stream, record))
        self.end(number, at)

    def relate(self, first: int) -> None:
        """Says what belongs to what of the drifts told from a place on, in the order of the log."""
        # Of those at one review, the site's comes first: it holds the others.
        reported = sorted(self.reported[first:], key=lambda each: (each[0], parent_of(each[1]) is not None, each[1]))
        for place, (position, stream, record) in enumerate(reported):
            if record.status == "opened":
                episode = self._new.pop((record.drift_id, record.opening))
                self.incidents.open(stream, episode, episode.incident_id or episode.drift_id)
                within = self.incidents.within(episode) if episode.children else ()
            else:
                episode, within = self.incidents.end(stream), ()
            reported[place] = position, stream, related(record, episode, within, self._policy)
        self.reported[first:] = reported

    def revise(self, ring: int | None, event: ReviewRevised, others: Iterable[tuple[Stream, Episode]]) -> bool:
        """Moves the figures of open drifts that hold the review, and the review in its ring.

        What a statistic has made of the first verdict stays: it cannot be taken back, and the
        promise is about first verdicts.

        Args:
            ring: Of its site and role; None where no review of these has come.
            event: The revision.
            others: Drifts that are open beside those of this book: of river.

        Returns:
            Whether figures have moved.
        """
        old, new = _error_of(event.old), _error_of(event.new)
        if ring is None or old is None:
            return False
        self._memory.settle()
        if old != bool(new):
            self._memory.revise(ring, event.reviewed_at, event.agent_id, old)
        moved = False
        both = [(self.key(number), episode) for number, episode in self.episodes.items()]
        for stream, episode in (*both, *others):
            if _holds(stream, episode, event):
                episode.n -= new is None
                episode.wrong += (new or 0) - old
                self.changed = moved = True
        return moved

    # --- the durable form

    def pack(self) -> None:
        """Puts the tests of open drifts into their episodes."""
        for number, test in self._tests.items():
            self.episodes[number].test = test.to_bytes()

    def open_drifts(self) -> list[tuple[Stream, Episode]]:
        """The drifts that are open, in the order of their streams' numbers."""
        # Numbers are given in the order of the log, whereas a batch opens and clears stream by stream.
        return [(self.key(number), self.episodes[number]) for number in sorted(self.episodes)]

    def closed_drifts(self) -> list[tuple[Stream, Closed]]:
        """The drifts that are over, in the order of their streams' numbers."""
        return [(self.key(number), self.closed[number]) for number in sorted(self.closed)]

    def restore(
        self,
        episodes: Sequence[tuple[Stream, Episode]],
        closed: Sequence[tuple[Stream, Closed]],
        opened: Sequence[tuple[Stream, int]],
        dropped: Collection[Stream],
    ) -> None:
        """Takes drifts of a checkpoint; streams that are dropped are no more."""
        for stream, episode in episodes:
            number = self._streams.number(stream)
            self.episodes[number] = episode
            self._tests[number] = self._test(number, stream, episode)
        self.incidents.restore(episodes)
        self.closed = {self._streams.number(stream): each for stream, each in closed if stream not in dropped}
        self.opened = dict(opened)

    def _test(self, number: int, stream: Stream, episode: Episode) -> ReverseTest:
        """The test of an open drift's end; before format 5 it was another one, and this one starts with the figures."""
        if len(episode.test) == PACKED_BYTES:
            return ReverseTest.from_bytes(episode.test)
        baseline, temper = self._streams.baseline(number), self._streams.temper(number)
        return reverse_test(stream, baseline, episode.n, episode.wrong, temper)


def shown(stream: Stream, error_rate: float) -> float:
    """An error rate as the stream's figure has it: accuracy, or the rate itself."""
    return 1.0 - error_rate if shows_accuracy(stream) else error_rate


def _error_of(version: ReviewVersion | None) -> bool | None:
    return None if version is None else not version.correct


def _holds(stream: Stream, episode: Episode, event: ReviewRevised) -> bool:
    """Whether a revised review is among those of an open drift."""
    of_role = (stream.signal == "qa_accuracy") == (event.role == "qa")
    in_scope = stream.project in ("", event.project_id) and stream.agent in ("", event.agent_id)
    # Of a reviewer's work a revision does not say whose it was.
    is_known = not (stream.signal == "error_finding" and stream.agent)
    is_of_it = stream.site == event.site_id and event.reviewed_at >= episode.began_at
    return of_role and in_scope and is_known and is_of_it

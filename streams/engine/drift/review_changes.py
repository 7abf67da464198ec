"""When a test has found a change in reviews: finds when it began, what the figure was before, and what caused it."""

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats, Ints
from detectors.falling import locate_fall
from detectors.mixture import SHIFTS
from detectors.outcomes import from_gaps, locate_change
from detectors.protocol import Estimate
from detectors.rounds import STRATA
from schemas.drift import Cause, DriftLevel
from streams.engine.drift.casebook import FoundChange
from streams.engine.drift.cause import CAUSES, MAIN_SHARE, Contribution, contributions, largest, verdict
from streams.engine.drift.episodes import Closed, Episode, level, shown, shows_accuracy
from streams.engine.drift.memory import DIMENSIONS, ReviewMemory
from streams.engine.drift.names import NONE
from streams.engine.drift.outcomes import OutcomeStreams
from streams.engine.drift.recent import REVIEW, PackedRows
from streams.engine.drift.segment import Segment
from streams.engine.drift.site_strata import SiteStrata
from streams.engine.drift.stream import Stream, watches_fall

#: A figure from before a change needs this many reviews; with fewer, the learned baseline is used in its place.
_LEAST_BEFORE = 30
#: The beginning of a change is looked for in this many of the newest outcomes, at most.
_LOCATED_IN = 6_000
#: A stratum with less than this share of the work since a change need not have reviews before it.
_LEAST_SHARE = 0.05
#: Of a project's reviews, by how much a version of its rules must have more since a change to be what came.
_RISE_OF_NEW = 0.3


class ReviewChanges:
    """Looks back on the reviews of a stream in which a change was found.

    Args:
        streams: The streams and their tests.
        memory: The newest reviews.
        strata: The strata of each site.
    """

    def __init__(self, streams: OutcomeStreams, memory: ReviewMemory, strata: SiteStrata) -> None:
        self._streams = streams
        self._memory = memory
        self._strata = strata

    def locate(
        self, number: int, stream: Stream, position: int, closed: Closed | None, segment: Segment
    ) -> FoundChange:
        """Finds when the change began and what the figure was before; takes the change out of the baseline."""
        seen, at = self._memory.seen(stream, position, closed, segment), int(segment.at[position])
        wrong = REVIEW.of(seen.rows[:_LOCATED_IN], "wrong").astype(np.uint8)
        gaps, times = self._streams.outcomes(number)
        remembered = from_gaps(0, gaps)
        from_ring = len(wrong) >= min(len(remembered), _LOCATED_IN)
        outcomes = wrong if from_ring else np.array(remembered, np.uint8)
        # The strata of errors that are no longer in the ring are not known. And where reviews come late, there may be
        # none since the last drift was over.
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
            # Only the times of errors are known; those of correct outcomes are interpolated.
            ago = np.cumsum([1, *(gap + 1 for gap in gaps[:-1])])
            when = np.interp(np.arange(1, len(outcomes) + 1), ago, np.array(times) * 1000.0).astype(np.int64)
        began, low, high = (
            int(when[min(back, len(when)) - 1]) if back and len(when) else at
            for back in (found.began_ago, found.began_ago_high, found.began_ago_low)
        )
        # `ErrorPast` may reach back further than the ring. A change that began within the ring is still shown by the
        # ring's reviews.
        in_ring = from_ring or (int(REVIEW.of(seen.rows[:n], "wrong").sum()) == errors and len(seen.rows) >= n)
        earlier = seen.earlier[n:]
        if in_ring and len(wrong) and self._streams.holds_strata(number):
            earlier = self._like_for_like(stream, seen.earlier[:n], earlier)
        earlier = REVIEW.of(earlier, "wrong")
        before = level(stream, float(earlier.sum()), len(earlier), at_least=seen.is_cut)
        falls = watches_fall(stream)
        # The baseline is used in place of the ring's reviews where these are too few, or of a time unlike the baseline.
        if (
            not in_ring
            or len(earlier) < _LEAST_BEFORE
            or (stream.signal != "accuracy_target" and (earlier.mean() * n > errors) != falls)
        ):
            baseline = self._streams.baseline(number) if strata is None else found.old_rate
            before = DriftLevel(shown(stream, baseline), self._streams.known(number))
        earliest = 0 < len(outcomes) <= found.began_ago_high
        usual = found.old_rate if self._streams.holds_strata(number) else self._streams.baseline(number)
        return FoundChange(began, low, high, before, n, errors, found.new_rate, usual, earliest)

    def _estimate(self, number: int, stream: Stream, outcomes: NDArray[np.uint8], strata: Ints | None) -> Estimate:
        """Estimates when a stream's rate changed, and to what, given its present baseline."""
        usual, temper = self._streams.baseline(number), self._streams.temper(number)
        if strata is None:
            p0: float | Floats = min(max(usual, 1e-4), 1 - 1e-4)
        else:
            p0 = np.clip(self._streams.rates(number, usual).take(strata), 1e-4, 1 - 1e-4)
        return (
            locate_fall(outcomes, p0, temper) if watches_fall(stream) else locate_change(outcomes, p0, SHIFTS, temper)
        )

    def _like_for_like(self, stream: Stream, since: PackedRows, before: PackedRows) -> PackedRows:
        """As many reviews before a change, newest first, as can have the same shares of strata as those since."""
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

    def explain(
        self,
        stream: Stream,
        episode: Episode,
        position: int,
        closed: Closed | None,
        segment: Segment,
        searched: int | None = None,
    ) -> None:
        """Puts causes and examples into an episode.

        Args:
            stream: The stream that has drifted.
            episode: The drift; it has its figures already.
            position: Position in the batch at which it opened.
            closed: The stream's last drift.
            segment: The present segment.
            searched: Its figures are of this many of the newest reviews since the last drift; None: of all kept ones.
        """
        seen = self._memory.seen(stream, position, closed, segment)
        known = seen.earlier if searched is None else seen.rows[:searched]
        since, before = known[: episode.n], known[episode.n :]
        number = self._streams.find(stream)
        if len(before) != episode.before.n and number is not None and self._streams.holds_strata(number):
            before = self._like_for_like(stream, since, before)
        # Causes are parts of the change that is shown, so exactly the reviews of its figures are needed.
        if len(since) == episode.n > 0 and len(before) == episode.before.n >= _LEAST_BEFORE:
            columns_before, columns_since = self._memory.columns(before), self._memory.columns(since)
            for each, rows in ((columns_before, before), (columns_since, since)):
                # A correct review has no error: it was revised to correct, or an older build kept its remark as one.
                each["error_type"] = np.where(REVIEW.of(rows, "wrong") > 0, each["error_type"], NONE)
            columns = {by: (columns_before[by], columns_since[by]) for by in DIMENSIONS}
            y_before, y_since = (REVIEW.of(each, "wrong").astype(np.float64) for each in (before, since))
            parts = contributions(columns, y_before, y_since, "error_type", NONE)
            change = float(y_since.mean() - y_before.mean())
            # Before a site fell below its target its reviews may have been worse still: then accuracy has risen, and
            # parts of a rise are no causes of a fall.
            goes_its_way = change != 0 and (change < 0) == watches_fall(stream)
            episode.verdict = verdict(parts, change) if goes_its_way else "spread"
            reported = largest(parts, change, CAUSES) if goes_its_way else []
            episode.causes = tuple(self._cause(stream, part) for part in reported)
            for part in reported:
                # A new SOP version has the same id at all sites and workers, so their drifts are one incident.
                if part.by == "sop_version" and part.points / change >= MAIN_SHARE:
                    new_rules = self._new_rules(columns_before, columns_since, part)
                    if new_rules:
                        episode.incident_id = new_rules
                        break
        numbers = set(seen.numbers[: episode.n].tolist())
        episode.task_ids = self._memory.examples(stream, numbers, position, segment)

    def _new_rules(self, before: dict[str, Ints], since: dict[str, Ints], part: Contribution) -> str:
        """The incident of a change of rules, the same at every site and whichever worker has it; empty if it is none.

        Its name has the version that came, though the one that went may be the larger part of a change.
        """
        projects, versions = (np.concatenate((before[by], since[by])) for by in ("project", "sop_version"))
        project = int(np.bincount(projects[versions == part.member]).argmax())
        shares = []
        for columns in (before, since):
            counts = np.bincount(columns["sop_version"][columns["project"] == project], minlength=versions.max() + 1)
            shares.append(counts / max(counts.sum(), 1))
        rises = shares[1] - shares[0]
        rises[: NONE + 1] = 0.0
        came = int(rises.argmax())
        # One that was there before, and is still, may be the cause without being new.
        if rises[came] <= 0.0 or (part.known and rises[came] < _RISE_OF_NEW):
            return ""
        names = self._memory.names
        return f"sop:{names['project'][project]}/{names['sop_version'][came]}"

    def _cause(self, stream: Stream, part: Contribution) -> Cause:
        points = -part.points if shows_accuracy(stream) else part.points
        return Cause(part.by, self._memory.names[part.by][part.member], part.effect, points)  # type: ignore[arg-type]  # of _DIMENSIONS

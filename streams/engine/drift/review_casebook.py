"""The casebook of reviews: opens drifts where a threshold is reached, finds which belong together."""

from collections.abc import Collection, Sequence
from functools import partial

from detectors.arrays import Ints
from detectors.reverse import PACKED_BYTES, ReverseTest
from schemas.drift import BUDGET_OF
from schemas.policy import Policy
from streams.engine.drift.casebook import Casebook, DriftCase, Opening
from streams.engine.drift.episodes import Closed, Episode, related, reverse_test
from streams.engine.drift.incidents import Incidents, parent_of
from streams.engine.drift.memory import ReviewMemory
from streams.engine.drift.outcomes import OutcomeStreams
from streams.engine.drift.review_changes import ReviewChanges
from streams.engine.drift.segment import Segment
from streams.engine.drift.stream import DAY_SECONDS, Crossing, Stream, watches_fall


class ReviewCasebook(Casebook):
    """Drifts of reviews.

    Args:
        policy: Its targets and time zones go into the records.
        streams: The streams and their tests.
        memory: The newest reviews.
        changes: Finds when a change began and what caused it.
    """

    def __init__(self, policy: Policy, streams: OutcomeStreams, memory: ReviewMemory, changes: ReviewChanges) -> None:
        super().__init__(policy)
        self._streams = streams
        self._memory = memory
        self._changes = changes
        #: Which drifts belong together, as of the end of the last segment; and the drifts that have opened since.
        self.incidents = Incidents()
        self._new: dict[tuple[str, int], Episode] = {}
        #: How often drifts have opened, by stream; those of labels too.
        self.opened: dict[Stream, int] = {}
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

    # --- a drift opens, goes on and ends

    def cross(self, crossing: Crossing, segment: Segment) -> None:
        """Opens a drift of a stream whose statistic has reached its threshold."""
        number, position, statistic, run_length, volume = crossing
        stream, at = self.key(number), int(segment.clock[position])
        closed = self.closed.pop(number, None)
        change = self._changes.locate(number, stream, position, closed, segment)
        episode = self.open(
            number,
            stream,
            Opening(position, at, segment.ids[position], statistic / run_length, run_length, volume),
            change,
            closed,
            reverse_test(stream, change.usual, change.n, change.wrong, self._streams.temper(number)),
            partial(self._changes.explain, stream, position=position, closed=closed, segment=segment),
        )
        self._new[episode.drift_id, episode.opening] = episode
        self.count(stream)
        self.pages_pending |= BUDGET_OF[stream.signal] == "page"

    def go_on(
        self,
        number: int,
        positions: list[int],
        bad: list[bool],
        start: int,
        strata: Sequence[int] | None,
        clock: Ints,
    ) -> int:
        """Feeds outcomes to an open drift, up to the one at which it is over; there the drift ends.

        Args:
            number: The stream's number.
            positions: Positions in the batch of its outcomes.
            bad: Whether each is an error.
            start: Index of the first outcome to take.
            strata: The stratum of each outcome, where the stream has a baseline for each stratum.
            clock: When a review counts, ms, by position in the batch.

        Returns:
            How many outcomes were taken.
        """
        usual = None if strata is None else self._usual(number, strata[start:])
        taken = self.follow(number, bad[start:] if start else bad, usual)
        if self.is_over(number):
            position = positions[start + taken - 1]
            self.end(number, position, int(clock[position]))
        return taken

    def _usual(self, number: int, strata: Sequence[int]) -> list[float]:
        """The rate with which the test of an open drift compares each outcome, given the stratum of each."""
        drift = self.drifts[number]
        assert drift.test is not None  # of reviews
        falls = watches_fall(drift.stream)
        rates = self._streams.rates(number, 1.0 - drift.test.p0 if falls else drift.test.p0)
        usual = (1.0 - rates if falls else rates).tolist()
        return [usual[stratum] for stratum in strata]

    def end(self, number: int, position: int, at: int, *, with_parent: bool = False) -> None:
        """As `Casebook.end`, and starts the stream's test afresh."""
        super().end(number, position, at, with_parent=with_parent)
        self._streams.restart(number)

    def end_with_parent(self, stream: Stream, position: int, day: int) -> None:
        """Ends a drift whose parent is over. If it has not recovered, its test finds it again, as one by itself."""
        self.incidents.end(stream)
        self.end(self._streams.number(stream), position, day * DAY_SECONDS * 1000, with_parent=True)

    def relate(self, first: int) -> None:
        """Adds incident, parent and children to the records from index `first` on, in the order of the log."""
        # Where several opened at one review, the site's drift comes first, since the others belong to it.
        reported = sorted(self.reported[first:], key=lambda each: (each[0], parent_of(each[1]) is not None, each[1]))
        for place, each in enumerate(reported):
            record = each.record
            if record.status == "opened":
                episode = self._new.pop((record.drift_id, record.opening))
                self.incidents.open(each.stream, episode, episode.incident_id or episode.drift_id)
                within = self.incidents.within(episode) if episode.children else ()
            else:
                episode, within = self.incidents.end(each.stream), ()
            reported[place] = each._replace(record=related(record, episode, within, self._policy))
        self.reported[first:] = reported

    # --- the durable form

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
        """Restores the drifts of a checkpoint; those of dropped streams are left out."""
        for stream, episode in episodes:
            number = self._streams.number(stream)
            self.drifts[number] = DriftCase(stream, episode, self._test(number, stream, episode))
        self.incidents.restore(episodes)
        self.closed = {self._streams.number(stream): each for stream, each in closed if stream not in dropped}
        self.opened = dict(opened)

    def _test(self, number: int, stream: Stream, episode: Episode) -> ReverseTest:
        """The test of whether an open drift is over; from a checkpoint before format 5 it starts afresh."""
        if len(episode.test) == PACKED_BYTES:
            return ReverseTest.from_bytes(episode.test)
        baseline, temper = self._streams.baseline(number), self._streams.temper(number)
        return reverse_test(stream, baseline, episode.n, episode.wrong, temper)

"""What a stream watches, and how a log is cut for all of them: into days, and into calls of outcomes side by side."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detectors.arrays import Flags, Ints
from streams.engine.drift.recent import Groups

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
_DAY_MS = DAY_SECONDS * 1000


class Stream(NamedTuple):
    """What a stream watches.

    Attributes:
        site, project, agent: Whose outcomes; empty where it spans all.
        signal: One of `schemas.drift.SIGNALS`.
        direction: `down` for accuracy; for errors found `up` or `down`.
    """

    site: str
    project: str
    agent: str
    signal: str
    direction: str


def watches_fall(stream: Stream) -> bool:
    """Whether a fall of the error rate is what counts as the change."""
    return stream.signal == "error_finding" and stream.direction == "down"


def first_places(numbers: Ints, places: Ints) -> list[int]:
    """Of places, in order, those at which a number stands for the first time among them."""
    if not len(places):
        return []
    _, first = np.unique(numbers[places], return_index=True)
    return places[np.sort(first)].tolist()  # type: ignore[no-any-return]  # of whole numbers


def stretches(at_ms: Ints, day: int) -> list[tuple[int, int, int]]:
    """Cuts a log where it comes to a new day, and days do not go back.

    Args:
        at_ms: Times in the order of the log, epoch ms, shape (n,).
        day: The newest day before it.

    Returns:
        Begin, end and day of each stretch; they make up the log, and none is empty.
    """
    if not len(at_ms):
        return []
    if at_ms.max() < (day + 1) * _DAY_MS:
        return [(0, len(at_ms), day)]
    days = np.maximum.accumulate(np.maximum(at_ms // _DAY_MS, day))
    cuts = [0, *(np.flatnonzero(days[1:] > days[:-1]) + 1).tolist()]
    return list(zip(cuts, [*cuts[1:], len(days)], days[cuts].tolist(), strict=True))


class Call(NamedTuple):
    """Outcomes in the order of the log, stream by stream: one review is an outcome of several streams.

    Attributes:
        positions: Place in the log of each review, rising, shape (reviews,).
        at_s: Its time, epoch seconds, shape (reviews,).
        order: Of each outcome the review, stream by stream, shape (n,).
        starts, counts, touched: By stream where its outcomes begin in `order`, how many, and its number, (streams,).
        rising: How many streams, the first ones, are watched for a rise; the others are for a fall.
        strata: Of each review its stratum, from 0 on and below `STRATA`, shape (reviews,), -1 where its site has shown
            only one, and streams are not held to strata; None where no site has shown more.
    """

    positions: Ints
    at_s: Ints
    order: Ints
    starts: Ints
    counts: Ints
    touched: Ints
    rising: int
    strata: Ints | None = None

    @classmethod
    def of(
        cls,
        positions: Ints,
        at_s: Ints,
        rising: Sequence[tuple[Groups, Ints]],
        falling: Sequence[tuple[Groups, Ints]] = (),
        strata: Ints | None = None,
    ) -> "Call":
        """Outcomes of reviews that are put together, with the stream of each group, -1 where there is none."""
        named = [
            (groups, streams) if (has := streams >= 0).all() else (groups.only(has), streams[has])
            for groups, streams in (*rising, *falling)
        ]
        order = np.concatenate([groups.order for groups, _ in named])
        counts = np.concatenate([groups.counts for groups, _ in named])
        touched = np.concatenate([streams for _, streams in named])
        risings = sum(len(streams) for _, streams in named[: len(rising)])
        return cls(positions, at_s, order, np.cumsum(counts) - counts, counts, touched, risings, strata)

    def of_stream(self, stream: int, after: int) -> Ints:
        """The reviews after a position that are outcomes of a stream, in the order of the log."""
        place = int(np.flatnonzero(self.touched == stream)[0])
        mine = self.order[self.starts[place] : self.starts[place] + self.counts[place]]
        return mine[self.positions[mine] > after]


class DueEvaluations(NamedTuple):
    """Where streams are evaluated, stream by stream, in order: parallel columns of shape (n,).

    Attributes:
        stream: Number of the stream.
        correct: Correct outcomes of the stream since its evaluation before.
        wrong: Whether it is an error; where a fall is looked for, it may be one more correct outcome.
        position: Of the outcome within the call.
        at_s: Its time, epoch seconds.
        later: Outcomes of the stream that come after it in the call.
        passed: Correct outcomes that it takes, its own included, by stratum, shape (n, STRATA); only counts for streams
            that are held to their strata. None where no stream is.
        failed: Stratum of its error, -1 for none; as `passed`.
    """

    stream: Ints
    correct: Ints
    wrong: Flags
    position: Ints
    at_s: Ints
    later: Ints
    passed: Ints | None = None
    failed: Ints | None = None

    def of(self, chosen: Flags) -> "DueEvaluations":
        """Some of them, told by a flag each."""
        return DueEvaluations(
            self.stream[chosen],
            self.correct[chosen],
            self.wrong[chosen],
            self.position[chosen],
            self.at_s[chosen],
            self.later[chosen],
            None if self.passed is None else self.passed[chosen],
            None if self.failed is None else self.failed[chosen],
        )


class Crossing(NamedTuple):
    """A stream whose statistic has reached its threshold.

    Attributes:
        stream: Number of the stream.
        position: Of the outcome within the call.
        statistic: Mean of the R.
        run_length: The threshold.
        volume: Outcomes of the stream a month.
    """

    stream: int
    position: int
    statistic: float
    run_length: float
    volume: float

"""What a stream is, and how a log is cut for all streams: into days, and into calls with outcomes of many streams."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detectors.arrays import Flags, Ints
from streams.engine.drift.recent import Groups

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
_DAY_MS = DAY_SECONDS * 1000


class Stream(NamedTuple):
    """A stream of outcomes that is watched: one signal of one site, project or person.

    Attributes:
        site, project, agent: Whose outcomes; empty where it is of all of them.
        signal: One of `schemas.drift.SIGNALS`.
        direction: `down` for accuracy; for errors found `up` or `down`.
    """

    site: str
    project: str
    agent: str
    signal: str
    direction: str


def watches_fall(stream: Stream) -> bool:
    """Whether a stream looks for a fall of the error rate, not for a rise."""
    return stream.signal == "error_finding" and stream.direction == "down"


def first_places(numbers: Ints, places: Ints) -> list[int]:
    """Those of some places at which a number appears for the first time, in order."""
    if not len(places):
        return []
    _, first = np.unique(numbers[places], return_index=True)
    return places[np.sort(first)].tolist()  # type: ignore[no-any-return]  # of whole numbers


def stretches(at_ms: Ints, day: int) -> list[tuple[int, int, int]]:
    """Cuts a log where a new day begins. Days never go back: an older time counts for the newest day so far.

    Args:
        at_ms: Times in the order of the log, epoch ms, shape (n,).
        day: The newest day before these.

    Returns:
        Begin, end and day of each stretch; together they are the whole log, and none is empty.
    """
    if not len(at_ms):
        return []
    if at_ms.max() < (day + 1) * _DAY_MS:
        return [(0, len(at_ms), day)]
    days = np.maximum.accumulate(np.maximum(at_ms // _DAY_MS, day))
    cuts = [0, *(np.flatnonzero(days[1:] > days[:-1]) + 1).tolist()]
    return list(zip(cuts, [*cuts[1:], len(days)], days[cuts].tolist(), strict=True))


class Call(NamedTuple):
    """The outcomes of some reviews, stream by stream; one review is an outcome of several streams.

    Attributes:
        positions: Position of each review in the batch, rising, shape (reviews,).
        at_s: Time of each review, epoch seconds, shape (reviews,).
        order: Index of each outcome's review, stream by stream, within a stream in the order of the log, shape (n,).
        starts, counts, touched: By stream where its outcomes begin in `order`, how many it has, and its number, shape
            (streams,).
        rising: The first so many streams are watched for a rise, the others for a fall.
        strata: Stratum of each review, 0 to `STRATA` - 1, shape (reviews,); -1 where its site has only one so far, and
            its streams have a single baseline; None where no site has more than one.
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
        """Makes a call of reviews grouped by stream; each grouping comes with its streams, -1 where there is none."""
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
    """Evaluations that are due, stream by stream, within a stream in order: parallel columns of shape (n,).

    Attributes:
        stream: Number of the stream.
        correct: Correct outcomes of the stream since its last evaluation.
        wrong: Whether the evaluated outcome is an error; where a fall is looked for, it may be a correct one.
        position: Position in the batch of the evaluated outcome.
        at_s: Its time, epoch seconds.
        later: How many outcomes of the stream come after it in the call.
        passed: Correct outcomes since the last evaluation, this one included, by stratum, shape (n, STRATA); valid only
            for streams with a baseline for each stratum. None where no stream has them.
        failed: Stratum of the error, -1 where it is none; as for `passed`.
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
        """The evaluations whose flag is set."""
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
        position: Position in the batch of the outcome at which it did.
        statistic: The mean of the R.
        run_length: The threshold, which is the promised run length.
        volume: Outcomes of the stream a month.
    """

    stream: int
    position: int
    statistic: float
    run_length: float
    volume: float

"""Where an evaluation is due: at each error, and for a fall at every so many correct outcomes too."""

import numpy as np

from detectors import falling
from detectors.arrays import Flags, Ints

#: Of each evaluation its stream's place among the streams, the correct outcomes before it, and its own place; and by
#: stream the correct outcomes since the last one.
_Due = tuple[Ints, Ints, Ints, Ints]


def due_for_rises(starts: Ints, counts: Ints, since: Ints, bad: Flags) -> _Due:
    """Evaluations for a rise: errors.

    Args:
        starts: Where each stream's outcomes begin, shape (streams,).
        counts: How many each has, shape (streams,).
        since: Correct outcomes of each since its last error before, shape (streams,).
        bad: Of each outcome whether it is an error, stream by stream, shape (n,).
    """
    errors = np.flatnonzero(bad)
    of = np.searchsorted(starts, errors, side="right") - 1
    rank = errors - starts[of]
    again = np.zeros(len(errors), bool)
    again[1:] = of[1:] == of[:-1]
    gaps = rank + since[of]
    gaps[1:] = np.where(again[1:], errors[1:] - errors[:-1] - 1, gaps[1:])
    since = since + counts
    if len(errors):
        last = np.ones(len(errors), bool)
        last[:-1] = ~again[1:]
        since[of[last]] = counts[of[last]] - rank[last] - 1
    return of, gaps, errors, since


def due_for_falls(starts: Ints, counts: Ints, since: Ints, bad: Flags) -> _Due:
    """Evaluations for a fall: errors, and every `EVALUATE_EVERY` correct outcomes.

    Args:
        starts: As of `due_for_rises`.
        counts: As of `due_for_rises`.
        since: Correct outcomes of each stream since its last evaluation before, shape (streams,).
        bad: As of `due_for_rises`.
    """
    place = np.arange(len(bad))
    group = np.repeat(np.arange(len(counts)), counts)
    # Correct outcomes since the error before or, where none is here, since the last evaluation.
    last = np.maximum.accumulate(np.where(bad, place + 1, 0))
    earlier = np.zeros(len(bad), np.int64)
    earlier[1:] = last[:-1]
    begun = starts.take(group)
    gaps = place - np.where(earlier <= begun, begun - since.take(group), earlier)
    due = bad | ((gaps + 1) % falling.EVALUATE_EVERY == 0)
    ends = starts + counts - 1
    left = np.where(bad[ends], 0, (gaps[ends] + 1) % falling.EVALUATE_EVERY)
    (evaluations,) = np.nonzero(due)
    return group.take(evaluations), gaps.take(evaluations) % falling.EVALUATE_EVERY, evaluations, left

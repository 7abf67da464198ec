"""Finds the outcomes at which evaluations are due: each error and, for a fall, also every few correct outcomes."""

import numpy as np

from detectors import falling
from detectors.arrays import Flags, Ints

#: For each evaluation the index of its stream, the correct outcomes before it, and the index of its outcome; and by
#: stream the correct outcomes since its last evaluation.
_Due = tuple[Ints, Ints, Ints, Ints]


def due_for_rises(starts: Ints, counts: Ints, since: Ints, bad: Flags) -> _Due:
    """Evaluations of a test for a rise: one at each error.

    Args:
        starts: Index of each stream's first outcome, shape (streams,).
        counts: How many outcomes each stream has, shape (streams,).
        since: Correct outcomes of each stream since its last error before these, shape (streams,).
        bad: Whether each outcome is an error, stream by stream, shape (n,).
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
    """Evaluations of a test for a fall: one at each error, and one after every `EVALUATE_EVERY` correct outcomes.

    Args:
        starts: As in `due_for_rises`.
        counts: As in `due_for_rises`.
        since: Correct outcomes of each stream since its last evaluation before these, shape (streams,).
        bad: As in `due_for_rises`.
    """
    place = np.arange(len(bad))
    group = np.repeat(np.arange(len(counts)), counts)
    # Correct outcomes since the error before; where there is none here, since the last evaluation of earlier calls.
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

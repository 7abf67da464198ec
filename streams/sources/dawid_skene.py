"""Dawid and Skene's estimate of what is true, from labels that several people have given to the same tasks.

A. P. Dawid and A. M. Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm, Applied
Statistics 28 (1979). Each person has a table: how often they give which label where another one is true. Whose labels
agree with others' weighs more; who always takes one label for another is understood. It begins with the share of each
label on a task, and then by turns estimates the tables and what is true, each by the other.

Written here since crowd-kit, which has it too, brings 0.7 GB of packages with it; a test compares the two.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

#: What never happened is not impossible.
_LEAST = 1e-10
_ROUNDS = 200
#: It ends when a round makes the labels no more likely than by this, in nats a label.
_LEAST_GAIN = 1e-10
#: More likely than not, by more than the error of a sum.
_MORE_THAN_HALF = 0.5 + 1e-6
#: Of tables of 8 bytes a cell.
MOST_CELLS = 20_000_000


class Votes(NamedTuple):
    """One label of a person on a task each; numbers from 0 on, in an order that is the same for the same votes.

    Attributes:
        tasks: Which task.
        people: Who.
        labels: Which label.
    """

    tasks: _Ints
    people: _Ints
    labels: _Ints

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Tasks, people and labels."""
        return tuple(int(each.max()) + 1 for each in self)  # type: ignore[return-value]  # three of them

    @property
    def cells(self) -> int:
        """Of the larger one of the tables that an estimate needs."""
        tasks, people, labels = self.sizes
        return max(tasks * labels, people * labels * labels)


class CrowdEstimate(NamedTuple):
    """What is believed.

    Attributes:
        likely: How likely each label is the true one, by task and label.
        log_given: Logarithm of how often a person gives a label where one is true: by person and label given, then by
            true label.
        log_scores: Of each task and true label: logarithm of how likely it is together with all votes.
    """

    likely: _Floats
    log_given: _Floats
    log_scores: _Floats


def estimate(votes: Votes, rounds: int = _ROUNDS, least_gain: float = _LEAST_GAIN) -> CrowdEstimate:
    """Fits people's tables and what is true.

    Args:
        votes: At least one.
        rounds: At most.
        least_gain: Ends when a round gains less, in nats a label.
    """
    tasks, _, labels = votes.sizes
    likely = np.bincount(votes.tasks * labels + votes.labels, minlength=tasks * labels).reshape(tasks, labels)
    likely = likely / likely.sum(axis=1, keepdims=True)
    before = -np.inf
    for _ in range(rounds):
        log_given = _log_given(votes, likely)
        scores = np.tile(np.log(np.maximum(likely.mean(axis=0), _LEAST)), (tasks, 1))
        for true in range(labels):
            scores[:, true] += np.bincount(votes.tasks, _of(log_given, votes, true), tasks)
        total = np.logaddexp.reduce(scores, axis=1)
        likely = np.exp(scores - total[:, None])
        fit = float(total.mean()) * tasks / len(votes.tasks)
        if fit - before < least_gain:
            break
        before = fit
    return CrowdEstimate(likely, log_given, scores)


def _log_given(votes: Votes, likely: _Floats) -> _Floats:
    _, people, labels = votes.sizes
    rows = votes.people * labels + votes.labels
    given = np.stack([np.bincount(rows, likely[votes.tasks, true], people * labels) for true in range(labels)], axis=1)
    given = np.where(np.bincount(rows, minlength=people * labels)[:, None] > 0, np.maximum(given, _LEAST), 0.0)
    by_person = given.reshape(people, labels, labels)
    shares = by_person / by_person.sum(axis=1, keepdims=True)
    # Of a label that a person never gave nothing is asked.
    logs: _Floats = np.log(shares, where=shares > 0, out=np.zeros_like(shares)).reshape(people * labels, labels)
    return logs


def _of(log_given: _Floats, votes: Votes, true: int) -> _Floats:
    labels = log_given.shape[1]
    found: _Floats = log_given[votes.people * labels + votes.labels, true]
    return found


def by_others(votes: Votes) -> _Ints:
    """For each vote: the label that is more likely than not by all others' votes on its task; -1 where none is."""
    found = estimate(votes)
    best = np.full(len(votes.tasks), -np.inf)
    total = best.copy()
    label = np.zeros(len(votes.tasks), np.int64)
    # One label at a time, so that memory does not grow with them.
    for true in range(found.log_scores.shape[1]):
        score = found.log_scores[votes.tasks, true] - _of(found.log_given, votes, true)
        total = np.logaddexp(total, score)
        label = np.where(score > best, true, label)
        best = np.maximum(best, score)
    return np.where(np.exp(best - total) > _MORE_THAN_HALF, label, -1)

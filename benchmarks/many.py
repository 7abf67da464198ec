"""Five of river's detectors for many streams at once, outcome by outcome as river takes them; for `detection`.

Each column of an array is a stream. tests/detectors/test_compared.py holds them against river, signal by signal.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats

Bits = NDArray[np.uint8]
#: River's usual numbers: outcomes before a first signal; PageHinkley's memory; weight of the newest in HDDM_W.
_WARM, _MEMORY, _NEWEST = 30, 1 - 0.0001, 0.05


class Many(ABC):
    """Detectors of one kind, one a stream; after a signal a stream starts again at its next outcome, as river's do.

    Args:
        streams: How many.
    """

    #: What a stream keeps, by name, and what it starts from.
    _start: ClassVar[dict[str, float]] = {}

    def __init__(self, streams: int) -> None:
        self._found = np.zeros(streams, bool)
        self._keep = {name: np.full(streams, value) for name, value in self._start.items()}

    def update(self, x: Floats) -> Flags:
        """Takes an outcome of every stream, shape (streams,), 0 or 1; which of them signal."""
        if self._found.any():
            for name, value in self._start.items():
                self._keep[name][self._found] = value
        self._found = self._step(x)
        return self._found

    def counted(self, x: Bits) -> NDArray[np.int64]:
        """How often each stream signals in its outcomes, shape (streams, n)."""
        counts = np.zeros(len(x), np.int64)
        for step in np.ascontiguousarray(x.T):
            counts += self.update(step.astype(np.float64))
        return counts

    def first(self, x: Bits) -> NDArray[np.int64]:
        """Outcomes of each stream, shape (streams, n), up to its first signal; 0 where there is none."""
        waited = np.zeros(len(x), np.int64)
        for taken, step in enumerate(np.ascontiguousarray(x.T), 1):
            waited[self.update(step.astype(np.float64)) & (waited == 0)] = taken
            if waited.all():
                break
        return waited

    def repeated(self, times: int) -> "Many":
        """As many copies of every stream, one after the other."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._found = np.tile(self._found, times)
        copy._keep = {name: np.tile(column, times) for name, column in self._keep.items()}
        return copy

    @abstractmethod
    def _step(self, x: Floats) -> Flags:
        """Takes an outcome of every stream that has none of its last signal left; which of them signal."""


class ManyPageHinkley(Many):
    """`PageHinkley(threshold, delta, mode="up")`."""

    _start: ClassVar = {"n": 0.0, "mean": 0.0, "sum": 0.0, "least": np.inf}

    def __init__(self, streams: int, threshold: float, delta: float = 0.005) -> None:
        super().__init__(streams)
        self._threshold, self._delta = threshold, delta

    def _step(self, x: Floats) -> Flags:
        n, mean, total, least = self._keep.values()
        n += 1
        mean += (1 / n) * (x - mean)
        total *= _MEMORY
        total += x - mean - self._delta
        np.minimum(least, total, out=least)
        signals: Flags = (total - least > self._threshold) & (n >= _WARM)
        return signals


class ManyDdm(Many):
    """`DDM(drift_threshold)`."""

    _start: ClassVar = {"n": 0.0, "p": 0.0, "sum": np.inf, "least_p": np.inf, "least_s": np.inf}

    def __init__(self, streams: int, threshold: float) -> None:
        super().__init__(streams)
        self._threshold = threshold

    def _step(self, x: Floats) -> Flags:
        n, p, least, least_p, least_s = self._keep.values()
        n += 1
        p += (1 / n) * (x - p)
        s = np.sqrt(p * (1 - p) / n)
        now = p + s
        warm = n > _WARM
        lower = warm & (now <= least)
        for kept, value in ((least, now), (least_p, p), (least_s, s)):
            np.copyto(kept, value, where=lower)
        signals: Flags = warm & (now > least_p + self._threshold * least_s)
        return signals


class ManyEddm(Many):
    """`EDDM(beta)`."""

    _start: ClassVar = {"n": 0.0, "errors": 0.0, "last": 0.0, "mean": 0.0, "squares": 0.0, "most": -1.0}

    def __init__(self, streams: int, beta: float) -> None:
        super().__init__(streams)
        self._beta = beta

    def _step(self, x: Floats) -> Flags:
        self._keep["n"] += 1
        found = np.zeros(len(x), bool)
        (wrong,) = np.nonzero(x)
        if not len(wrong):
            return found
        n, errors, last, mean, squares, most = (column[wrong] for column in self._keep.values())
        errors += 1
        off = n - last - mean
        mean = mean + (1 / errors) * off
        squares += off * (n - last - mean)
        now = mean + 2 * np.sqrt(np.where(errors > 1, squares / np.maximum(errors - 1, 1), 0.0))
        warm = n > _WARM
        higher = warm & (now > most)
        found[wrong] = warm & ~higher & (errors > _WARM) & (now / most < self._beta)
        most = np.where(higher, now, most)
        for name, column in zip(self._keep, (n, errors, n, mean, squares, most), strict=True):
            self._keep[name][wrong] = column
        return found


class ManyHddmA(Many):
    """`HDDMA(drift_confidence)`."""

    _start: ClassVar = {"n": 0.0, "mean": 0.0, "cut_n": 0.0, "cut_mean": 0.0}

    def __init__(self, streams: int, confidence: float) -> None:
        super().__init__(streams)
        self._one, self._two = np.log(1 / confidence), np.log(2 / confidence)

    def _step(self, x: Floats) -> Flags:
        n, mean, cut_n, cut_mean = self._keep.values()
        n += 1
        mean += (1 / n) * (x - mean)
        first = cut_n == 0
        np.copyto(cut_n, n, where=first)
        np.copyto(cut_mean, mean, where=first)
        bound, cut_bound = np.sqrt(1 / (2 * n) * self._one), np.sqrt(1 / (2 * cut_n) * self._one)
        moves = cut_mean + cut_bound >= mean + bound
        np.copyto(cut_n, n, where=moves)
        np.copyto(cut_mean, mean, where=moves)
        m = (n - cut_n) / cut_n * (1 / n)
        signals: Flags = (cut_n != n) & (mean - cut_mean >= np.sqrt(m / 2 * self._two))
        return signals


class ManyHddmW(Many):
    """`HDDMW(drift_confidence)`."""

    _start: ClassVar = {"seen": 0.0, "mean": 0.0, "weight": 1.0, "cut": np.inf, "before": 0.0, "before_weight": 1.0,
              "since_seen": 0.0, "since": 0.0, "since_weight": 1.0}  # fmt: skip  # three means, each with its weight

    def __init__(self, streams: int, confidence: float) -> None:
        super().__init__(streams)
        self._log = np.log(1 / confidence)

    def _step(self, x: Floats) -> Flags:
        seen, mean, weight, cut, before, before_weight, since_seen, since, since_weight = self._keep.values()
        _follow(x, seen, mean, weight)
        bound = mean + np.sqrt(weight * self._log / 2)
        moves = bound < cut
        for kept, value in ((cut, bound), (before, mean), (before_weight, weight)):
            np.copyto(kept, value, where=moves)
        _follow(x, since_seen, since, since_weight)
        for kept, start in ((since_seen, 0.0), (since, 0.0), (since_weight, 1.0)):
            kept[moves] = start
        signals: Flags = (since_seen > 0) & (since - before > np.sqrt((before_weight + since_weight) * self._log / 2))
        return signals


def _follow(x: Floats, seen: Floats, mean: Floats, weight: Floats) -> None:
    """Takes outcomes into a mean that forgets, and into its weight."""
    mean[:] = np.where(seen == 0, x, _NEWEST * x + (1 - _NEWEST) * mean)
    seen += 1
    weight *= (1 - _NEWEST) ** 2
    weight += _NEWEST * _NEWEST

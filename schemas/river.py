"""River's drift detectors as the policy file names them: which there are, their parameters, and what they may watch."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

#: What a detector of river watches: sites, projects at a site, single people.
RiverScope = Literal["sites", "projects", "people"]

_Between = Annotated[float, Meta(gt=0, lt=1)]
_Positive = Annotated[float, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1, le=100_000)]


class RiverChoice(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One of river's detectors with its parameters; `of` says what it watches, the signal's own default where absent.

    The fields of each are river's, with river's defaults; a test holds them against river itself.
    """

    of: Annotated[list[RiverScope], Meta(min_length=1)] | None = None

    @property
    def name(self) -> str:
        """Its name in river."""
        return type(self).__name__

    @property
    def params(self) -> dict[str, Any]:
        """River's parameters, defaults too."""
        return {field: getattr(self, field) for field in self.__struct_fields__ if field != "of"}


class ADWIN(RiverChoice, frozen=True):
    """Adaptive windowing: a window that is cut where its two ends differ."""

    delta: _Between = 0.002
    clock: _Count = 32
    max_buckets: _Count = 5
    min_window_length: _Count = 5
    grace_period: _Count = 10


class KSWIN(RiverChoice, frozen=True):
    """Kolmogorov-Smirnov test of the newest observations against older ones of a window."""

    alpha: _Between = 0.005
    window_size: _Count = 100
    stat_size: _Count = 30
    #: River draws at random where none is given; a worker must come to the same after a crash.
    seed: int = 1

    def __post_init__(self) -> None:
        if self.window_size < 2 * self.stat_size:
            raise ValueError("window_size must be at least twice stat_size: the older observations are drawn from it")


class PageHinkley(RiverChoice, frozen=True):
    """Page-Hinkley test: a CUSUM against the running mean."""

    min_instances: _Count = 30
    delta: Annotated[float, Meta(ge=0, lt=1)] = 0.005
    threshold: _Positive = 50.0
    alpha: Annotated[float, Meta(gt=0, le=1)] = 0.9999
    mode: Literal["up", "down", "both"] = "both"


class DDM(RiverChoice, frozen=True):
    """Drift detection method: the error rate against its lowest."""

    warm_start: _Count = 30
    warning_threshold: _Positive = 2.0
    drift_threshold: _Positive = 3.0


class EDDM(RiverChoice, frozen=True):
    """Early drift detection method: distances between errors."""

    warm_start: _Count = 30
    alpha: _Between = 0.95
    beta: _Between = 0.9

    def __post_init__(self) -> None:
        if self.alpha < self.beta:
            raise ValueError("alpha must be at least beta")


class HDDMA(RiverChoice, frozen=True):
    """Hoeffding's bound on running means."""

    drift_confidence: _Between = 0.001
    warning_confidence: _Between = 0.005
    two_sided_test: bool = False


class HDDMW(RiverChoice, frozen=True):
    """McDiarmid's bound on exponentially weighted means."""

    drift_confidence: _Between = 0.001
    warning_confidence: _Between = 0.005
    lambda_val: _Between = 0.05
    two_sided_test: bool = False


#: Every detector that can be named. River's FHDDM is left out: of 0 and 1 for an error it finds falls alone.
DETECTORS: dict[str, type[RiverChoice]] = {
    detector.__name__: detector for detector in (ADWIN, PageHinkley, HDDMA, HDDMW, DDM, EDDM, KSWIN)
}
#: What each signal has outcomes of. Signals of reviews alone: river's detectors take an outcome at a time.
SCOPES: dict[str, tuple[RiverScope, ...]] = {
    "accuracy": ("sites", "projects"),
    "agent_accuracy": ("people",),
    "qa_accuracy": ("sites", "people"),
    "error_finding": ("sites", "people"),
}


def watched(signal: str, detector: RiverChoice) -> frozenset[RiverScope]:
    """What a detector watches of a signal: people only where the policy says so, or the signal is of nobody else."""
    if detector.of is not None:
        return frozenset(detector.of)
    return frozenset(SCOPES[signal]) - {"people"} or frozenset(SCOPES[signal])


class RiverPolicy(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """By signal, the detector of river that runs beside ours."""

    accuracy: RiverChoice | None = None
    agent_accuracy: RiverChoice | None = None
    qa_accuracy: RiverChoice | None = None
    error_finding: RiverChoice | None = None

    def chosen(self) -> dict[str, RiverChoice]:
        """The detectors that are named, by signal."""
        named = {signal: getattr(self, signal) for signal in self.__struct_fields__}
        return {signal: detector for signal, detector in named.items() if detector is not None}

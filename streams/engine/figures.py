"""What the engine says at a time t: plain values under catalogue names, for the exporter and `labelwatch compute`."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Labels = tuple[str, ...]
Sample = tuple[Labels, float | int]


@dataclass(slots=True)
class Figures:
    """Site and pipeline figures of one partition.

    Attributes:
        samples: Metric name to (label values in catalogue order, value).
        histograms: Metric name to (label values, counts by bucket with +Inf last, sum in the metric's unit).
            Counts are not cumulative.
    """

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    histograms: dict[str, list[tuple[Labels, list[int], float]]] = field(default_factory=dict)

    def add(self, name: str, labels: Labels, value: float | int) -> None:
        """Adds one sample."""
        self.samples.setdefault(name, []).append((labels, value))


@dataclass(slots=True)
class PeopleGroup:
    """People's figures in columns: a row a person, NaN where a figure is absent.

    Attributes:
        labels: (site, agent, role), or (site, agent) for reviewers; ids are plain.
        columns: (metric name, window) to values by row.
        priority: By row; under a series cap the higher is kept first.
    """

    labels: list[Labels]
    columns: dict[tuple[str, str], NDArray[np.float64]]
    priority: NDArray[np.float64]


@dataclass(slots=True)
class PeopleFigures:
    """Figures of the people of one partition."""

    groups: list[PeopleGroup] = field(default_factory=list)

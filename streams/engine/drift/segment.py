"""A stretch of reviews within a batch between which nothing else happens: no new day, no revision."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from detectors.arrays import Ints
from streams.engine.drift.recent import PackedRows


class Segment(NamedTuple):
    """Reviews that are not in their rings yet.

    Attributes:
        rings: Number of each review's ring, shape (n,).
        positions: Its position in the batch, shape (n,).
        rows: The review packed as a row, shape (n, words).
        ids: By position in the batch, a review's event id.
        at: By position in the batch, a review's time, ms.
        clock: By position in the batch, when a review counts, ms: its own time, or when its label was old enough.
        tasks: By position in the batch, the task of a review that found an error.
    """

    rings: Ints
    positions: Ints
    rows: PackedRows
    ids: Sequence[str]
    at: Ints
    clock: Ints
    tasks: Mapping[int, str]

    def up_to(self, position: int, ring: int) -> Ints:
        """Indices in the segment of a ring's reviews up to a position in the batch."""
        return np.flatnonzero((self.rings == ring) & (self.positions <= position))

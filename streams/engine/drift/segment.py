"""A stretch of reviews within a batch that are taken together, and the revisions that come between them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from detectors.arrays import Ints
from schemas.events import ReviewRevised
from streams.engine.drift.recent import PackedRows


class Revision(NamedTuple):
    """A revision of a review that drift detection has taken.

    Attributes:
        position: Position in the batch of the first review that comes after it.
        ring: Number of the ring of the review's site and role.
        event: The revision.
        old: Whether the review was an error before.
        new: Whether it is one now; None: it no longer counts.
    """

    position: int
    ring: int
    event: ReviewRevised
    old: bool
    new: bool | None


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
        revisions: Those that come between its reviews, in the order of the log. A drift that opens or ends at a review
            takes in those before it.
    """

    rings: Ints
    positions: Ints
    rows: PackedRows
    ids: Sequence[str]
    at: Ints
    clock: Ints
    tasks: Mapping[int, str]
    revisions: Sequence[Revision]

    def up_to(self, position: int, ring: int) -> Ints:
        """Indices in the segment of a ring's reviews up to a position in the batch."""
        return np.flatnonzero((self.rings == ring) & (self.positions <= position))

"""How a run of records is read: by Python's loop, which defines the result, or by the native one, which must agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.events import LabelReviewed
from streams.engine.batch import DeadLetter, EventBatch, Gathered, KafkaRecord, column, gather, settled
from streams.engine.horizon import SiteState
from streams.engine.numbering import Numbering

#: Records that Python's loop takes at a time.
CHUNK = 512


@dataclass(slots=True)
class Run:
    """What a reader and the loop share about one run of records."""

    batch: Gathered
    #: Event times up to this one are ahead of no append time.
    suspicious_ms: int
    dead_letters: list[DeadLetter]
    #: Whether the batch keeps the events of its reviews.
    keeps_reviews: bool
    #: Takes a review into the batch.
    take_review: Callable[[SiteState, LabelReviewed], None]


#: Python's loop over a few records.
Loop = Callable[[Run, Sequence[KafkaRecord]], None]


class Reader(Protocol):
    """What the intake needs of a reader."""

    def new_site(self, name: str) -> SiteState:
        """The state of a site that is met for the first time."""

    def gather(self) -> Gathered:
        """An empty batch, to be appended to."""

    def read(self, run: Run, records: Sequence[KafkaRecord], names: Numbering, loop: Loop) -> None:
        """Decides about each record, in order.

        Args:
            run: Gets the accepted events and the dead letters.
            records: Records of the partition.
            names: Gives numbers to new names.
            loop: Python's loop, which decides where the reader does not.
        """

    def settle(self, batch: Gathered) -> EventBatch:
        """The batch after the loop, its columns as arrays."""


class PythonReader:
    """Python's loop over all records."""

    def new_site(self, name: str) -> SiteState:
        """A site's state in Python."""
        return SiteState(name)

    def gather(self) -> Gathered:
        """A batch of lists."""
        return gather()

    def read(self, run: Run, records: Sequence[KafkaRecord], names: Numbering, loop: Loop) -> None:
        """A few records at a time: events that are freed while they are still in the core's cache cost 5% less."""
        for start in range(0, len(records), CHUNK):
            loop(run, records[start : start + CHUNK])

    def settle(self, batch: Gathered) -> EventBatch:
        """The lists as arrays."""
        return settled(batch, column)

"""What the engine's steps hand to each other: Kafka's records, and the batch of columns that is made of them."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from detectors.arrays import Ints
from schemas.events import AgentProfiled, LabelReviewed, QueueMeasured, ReviewRevised
from streams.engine.limits import QueuePlace

#: A column: a list of whole numbers while the loop runs, an array for the parts after it.
C = TypeVar("C")


class KafkaRecord(Protocol):
    """What the engine needs of a Kafka record; aiokafka's `ConsumerRecord` has it."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def timestamp(self) -> int | None:
        """Append time in ms, if the broker gave one."""

    @property
    def key(self) -> bytes | None:
        """The record's key."""

    @property
    def value(self) -> bytes | None:
        """The record's bytes."""


class DeadLetter(NamedTuple):
    """A record that cannot be used, unchanged, with the reason."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str


class WorkKind(NamedTuple):
    """A combination under which labels are counted."""

    site: str
    project: str
    market: str
    #: Id of the SOP version, -1 for none.
    sop: int
    #: Whether it is `other`, all that is beyond the limits: a mixture that changes by itself, so drift leaves it out.
    mixed: bool


class VerdictKind(NamedTuple):
    """A combination under which reviews are counted."""

    site: str
    project: str
    market: str
    sop: int
    role: str
    source: str
    sampling: str
    windowed: bool
    #: As of `WorkKind`.
    mixed: bool


class Trait(NamedTuple):
    """What else a review says, beside its kind; causes of drifts are looked for among these."""

    label: str | None
    stratum: str | None
    #: The first one, where a review names several.
    error_type: str | None


class StateKind(NamedTuple):
    """A combination under which people's states are counted."""

    site: str
    #: Empty where none is given.
    project: str
    state: str


class ErrorFound(NamedTuple):
    """One error named by a review as first given; a remark where the review found the work correct all the same."""

    site: str
    project: str
    error_type: str
    severity: str
    is_remark: bool
    #: Time of the review, ms; -1 where the windows leave it out: a later round, gold, an audit.
    windowed_at: int


# Parallel columns, shape (n,) each, in the order of the log. People, reviewers, kinds, classes and traits are given by
# their numbers (`streams.engine.numbering`); times are epoch ms.


class LabelColumns(NamedTuple, Generic[C]):
    """Labels handed in; `handle_ms` is -1 where not given, `label` the number of the class."""

    person: C
    kind: C
    at: C
    handle_ms: C
    label: C


class SkipColumns(NamedTuple, Generic[C]):
    """Tasks handed in without a label."""

    person: C
    kind: C
    at: C


class ReviewColumns(NamedTuple, Generic[C]):
    """Reviews; `correct` is 0 or 1, `reviewer` is -1 where the review names none."""

    person: C
    kind: C
    at: C
    correct: C
    trait: C
    reviewer: C


class ReviewsMadeColumns(NamedTuple, Generic[C]):
    """Of the same reviews those that name a reviewer, as that person's work; `review_ms` is -1 where not given.

    `found_error` and `is_audit` (the work reviewed is a reviewer's) are 0 or 1.
    """

    reviewer: C
    at: C
    review_ms: C
    found_error: C
    is_audit: C


class DelayColumns(NamedTuple, Generic[C]):
    """Time from label to review, by kind of review."""

    kind: C
    delay_ms: C


class StateColumns(NamedTuple, Generic[C]):
    """States that people entered; `clock_ms` is the site's clock after each."""

    person: C
    kind: C
    at: C
    clock_ms: C


class LabelChangeColumns(NamedTuple, Generic[C]):
    """What revisions of labels change in the windows: old versions with weight -1, new ones with weight +1."""

    person: C
    kind: C
    at: C
    handle_ms: C
    weight: C


class ReviewChangeColumns(NamedTuple, Generic[C]):
    """What revisions of reviews change in the windows, in the same way."""

    person: C
    kind: C
    at: C
    correct: C
    weight: C


@dataclass(slots=True)
class ColumnBatch(Generic[C]):
    """The accepted events of one run of records: columns for what is frequent, events for what is rare.

    Attributes:
        implausible: How many implausible times were left out, by site, field and reason.
        errors: Errors found, and remarks on correct work, one by one.
        profiles: Each `agent_profiled` with the person, and the number of states in the batch that came before it.
        ids: `event_id` of each of `reviews`.
        mistakes: The task of each of `reviews` that found an error, by the review's index.
        to_hold: The event of each of `reviews`, where the intake keeps them.
        queues: Each `queue_measured`, with the names under which the queue is shown.
        revised: Each `review_revised`, with the number of reviews in the batch that came before it.
        clock_ms: The time at which each of `reviews` counts, where that is not its own time.
    """

    labels: LabelColumns[C]
    skips: SkipColumns[C]
    reviews: ReviewColumns[C]
    made: ReviewsMadeColumns[C]
    delays: DelayColumns[C]
    states: StateColumns[C]
    label_changes: LabelChangeColumns[C]
    review_changes: ReviewChangeColumns[C]
    implausible: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    errors: list[ErrorFound] = field(default_factory=list)
    profiles: list[tuple[int, int, AgentProfiled]] = field(default_factory=list)
    queues: list[tuple[QueuePlace, QueueMeasured]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    mistakes: dict[int, str] = field(default_factory=dict)
    to_hold: list[LabelReviewed] = field(default_factory=list)
    revised: list[tuple[int, ReviewRevised]] = field(default_factory=list)
    clock_ms: Ints | None = None

    def leave_out(self, field: str, sites: Iterable[str], reasons: Iterable[str]) -> None:
        """Counts implausible values of a field, given the site of each and the reason."""
        self.implausible.update((site, field, reason) for site, reason in zip(sites, reasons, strict=True))


class Growing(Sized, Iterable[int], Protocol):
    """A column while the loop runs: a list of whole numbers, or an object with the same methods."""

    @property
    def append(self) -> Callable[[int], None]:
        """Adds a value."""


#: The batch while the loop runs and appends to it.
Gathered = ColumnBatch[Growing]
#: The batch for the parts, which only read it.
EventBatch = ColumnBatch[Ints]


def gather() -> Gathered:
    """An empty batch, to be appended to."""
    return ColumnBatch(
        LabelColumns([], [], [], [], []),
        SkipColumns([], [], []),
        ReviewColumns([], [], [], [], [], []),
        ReviewsMadeColumns([], [], [], [], []),
        DelayColumns([], []),
        StateColumns([], [], [], []),
        LabelChangeColumns([], [], [], [], []),
        ReviewChangeColumns([], [], [], [], []),
    )


def settled(gathered: Gathered, column: Callable[[Growing], Ints]) -> EventBatch:
    """The batch after the loop, its columns as arrays."""
    return ColumnBatch(
        LabelColumns(*map(column, gathered.labels)),
        SkipColumns(*map(column, gathered.skips)),
        ReviewColumns(*map(column, gathered.reviews)),
        ReviewsMadeColumns(*map(column, gathered.made)),
        DelayColumns(*map(column, gathered.delays)),
        StateColumns(*map(column, gathered.states)),
        LabelChangeColumns(*map(column, gathered.label_changes)),
        ReviewChangeColumns(*map(column, gathered.review_changes)),
        gathered.implausible,
        gathered.errors,
        gathered.profiles,
        gathered.queues,
        gathered.ids,
        gathered.mistakes,
        gathered.to_hold,
        gathered.revised,
    )


def column(values: Growing) -> Ints:
    """A read-only array of whole numbers; packing them by `struct` takes half of the time of `np.array`."""
    return np.frombuffer(struct.pack(f"{len(values)}q", *values), np.int64)

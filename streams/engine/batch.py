"""What goes between the engine's steps: the broker's records in; a batch of columns out, named by what they hold."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from detectors.arrays import Ints
from schemas.events import AgentProfiled, LabelReviewed, ReviewRevised

#: A column: a list of whole numbers while the loop runs, an array for the parts after it.
C = TypeVar("C")


class KafkaRecord(Protocol):
    """What the engine needs of a Kafka record; aiokafka's fits."""

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
    """A record that cannot be used, as it came."""

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
    #: Whether it is what is beyond the limits: a mixture, of which nobody expects that it stays as it is.
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
    #: As above.
    mixed: bool


class Trait(NamedTuple):
    """What a review says beside its kind: what drifts are explained by."""

    label: str | None
    stratum: str | None
    #: The first, where it names several.
    error_type: str | None


class StateKind(NamedTuple):
    """A combination under which people's states are counted."""

    site: str
    #: Empty where none is given.
    project: str
    state: str


class ErrorFound(NamedTuple):
    """One error found by a first-given review; a remark where the review found the work correct all the same."""

    site: str
    project: str
    error_type: str
    severity: str
    is_remark: bool
    #: Time of the review, ms; -1 where the windows leave it out: a later round, gold, an audit.
    windowed_at: int


# Parallel columns, shape (n,) each, in the order of the log. People, reviewers, kinds, classes and traits are numbers
# of `streams.engine.numbering`; times are epoch ms.


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
    """Reviews; `correct` is 0 or 1, `reviewer` -1 where it does not say."""

    person: C
    kind: C
    at: C
    correct: C
    trait: C
    reviewer: C


class ReviewsMadeColumns(NamedTuple, Generic[C]):
    """The same reviews by reviewer, of those that name one; `review_ms` is -1 where not given.

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
    """What revisions take from windows and add to them: labels with a weight of -1 or +1."""

    person: C
    kind: C
    at: C
    handle_ms: C
    weight: C


class ReviewChangeColumns(NamedTuple, Generic[C]):
    """The same of reviews."""

    person: C
    kind: C
    at: C
    correct: C
    weight: C


@dataclass(slots=True)
class ColumnBatch(Generic[C]):
    """The accepted events of one run of records: columns for what is frequent, events for what is rare.

    Attributes:
        implausible: Times that cannot be meant and are left out, by site, field and reason.
        errors: Errors found, and remarks on correct work, one by one.
        profiles: Each `agent_profiled` with the person, and the number of states in the batch that came before it.
        ids: `event_id` of each of `reviews`.
        mistakes: The task of each of `reviews` that found an error, by its place.
        to_hold: The event behind each of `reviews`, where the intake keeps them.
        revised: Each `review_revised`, with the number of reviews in the batch that came before it.
        clock_ms: When each of `reviews` counts, where that is not its own time.
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
    ids: list[str] = field(default_factory=list)
    mistakes: dict[int, str] = field(default_factory=dict)
    to_hold: list[LabelReviewed] = field(default_factory=list)
    revised: list[tuple[int, ReviewRevised]] = field(default_factory=list)
    clock_ms: Ints | None = None

    def leave_out(self, field: str, sites: Iterable[str], reasons: Iterable[str]) -> None:
        """Counts times that cannot be meant: the site of each, and why."""
        self.implausible.update((site, field, reason) for site, reason in zip(sites, reasons, strict=True))


class Growing(Sized, Iterable[int], Protocol):
    """A column while the loop runs: a list of whole numbers, or what does the same."""

    @property
    def append(self) -> Callable[[int], None]:
        """Adds a value."""


#: While the loop runs, which appends.
Gathered = ColumnBatch[Growing]
#: For the parts, which only read.
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
    """The batch when the loop is over, its columns as arrays."""
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
        gathered.ids,
        gathered.mistakes,
        gathered.to_hold,
        gathered.revised,
    )


def column(values: Growing) -> Ints:
    """Whole numbers as an array that is not written to: by `struct` in half of the time that numpy takes."""
    return np.frombuffer(struct.pack(f"{len(values)}q", *values), np.int64)

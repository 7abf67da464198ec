"""What a labeling tool says happened, in the tool's own numbers: read from bodies and listings, taken by the ledger."""

from dataclasses import dataclass


class Refused(ValueError):
    """A body that cannot be used; the message is one sentence: what was wrong, where, what to do.

    Args:
        reason: One word, for the metric.
        message: The sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Observed:
    """The whole state of one annotation, as a hook or a listing shows it.

    Attributes:
        annotation: The tool's id of it.
        project: The tool's id.
        task: The tool's id, which it may use again for another task.
        task_created_us: When the task was made, epoch microseconds: tells tasks of one id apart.
        created_us: When it was handed in, epoch microseconds.
        updated_us: When this state began, epoch microseconds.
        completed_by: The user whose work it is; None: nobody is known any more.
        updated_by: The user who made this state; None: not known.
        label: The answer as text, equal for equal answers; None: an empty answer.
        handle_ms: Milliseconds of work in all; None: not measured.
        skipped: Whether the task was skipped.
        gold: Whether it is the task's ground truth.
    """

    annotation: int
    project: int
    task: int
    task_created_us: int
    created_us: int
    updated_us: int
    completed_by: int | None
    updated_by: int | None
    label: str | None
    handle_ms: int | None
    skipped: bool
    gold: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """An annotation is gone."""

    annotation: int


@dataclass(frozen=True, slots=True)
class TaskDeleted:
    """A task is gone, and its annotations with it."""

    project: int
    task: int


@dataclass(frozen=True, slots=True)
class TaskListed:
    """Every annotation that a task has: those remembered beside them are gone.

    Attributes:
        project: The tool's id.
        task: The tool's id.
        annotations: All of the task's, skipped ones included.
        until_us: Of states that are newer, by the tool's clock, the listing may not know; epoch microseconds.
    """

    project: int
    task: int
    annotations: tuple[Observed, ...]
    until_us: int


@dataclass(frozen=True, slots=True)
class SweepWanted:
    """A project has changed in a way of which no hook tells more: the reconciler should look at all of it."""

    project: int


Fact = Observed | Deleted | TaskDeleted | TaskListed | SweepWanted

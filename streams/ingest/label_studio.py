"""Label Studio's webhook bodies and listings as facts; pure: no I/O, no clock.

Only what is named here is decoded. A body's `project` has secrets (its token, the login to its data): nothing of it
but the id leaves this module.
"""

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from streams.ingest.facts import Deleted, Fact, Observed, Refused, SweepWanted, TaskDeleted, TaskListed

#: Longer answers are cut, and end with a digest of the whole, so that equal stays equal and memory stays small.
LABEL_LENGTH_MAX = 200
_CUT_LENGTH = 180
#: A number above this (30 years) is no time of work.
_SECONDS_MAX = 1e9
_NO_PAYLOAD = "the hook has no payload: tick 'Send payload' in Label Studio's webhook"
_TIMES = "Label Studio's are as 2026-11-22T23:35:31.355972Z"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: Actions that change no label; the last are of extra services.
_WITHOUT_LABELS = frozenset(
    {"PROJECT_CREATED", "PROJECT_UPDATED", "PROJECT_DELETED", "LABEL_LINK_CREATED", "LABEL_LINK_UPDATED"}
    | {"LABEL_LINK_DELETED"}
)
#: Where a result's value is, by its type, if not under the type's own name.
_VALUE_NAMES = {"pairwise": "selected", "textarea": "text"}
#: Free text and drawings are no classes: they are compared by a digest, and are not kept.
_BY_DIGEST = frozenset({"textarea"})


class _Id(msgspec.Struct):
    id: int


class _Result(msgspec.Struct):
    type: str
    from_name: str = ""
    value: dict[str, Any] = {}


class _Annotation(msgspec.Struct):
    id: int
    result: list[_Result]
    was_cancelled: bool
    ground_truth: bool
    created_at: str
    updated_at: str
    lead_time: float | None
    completed_by: int | None
    updated_by: int | None = None


class _HookAnnotation(_Annotation, kw_only=True):
    task: int
    project: int


class _Task(msgspec.Struct):
    id: int
    created_at: str


class _NewTask(msgspec.Struct):
    id: int
    total_annotations: int = 0


class _ListedTask(_Task, kw_only=True):
    updated_at: str
    annotations: list[_Annotation]


class _Action(msgspec.Struct):
    action: str


class _OneBody(msgspec.Struct):
    annotation: _HookAnnotation
    task: _Task
    project: _Id


class _ManyBody(msgspec.Struct):
    annotation: list[_HookAnnotation]
    task: list[_Task]
    project: _Id


class _AnnotationsDeletedBody(msgspec.Struct):
    annotations: list[_Id]


class _TasksDeletedBody(msgspec.Struct):
    tasks: list[_Id]
    project: _Id


class _TasksCreatedBody(msgspec.Struct):
    tasks: list[_NewTask]
    project: _Id


class _ListedPage(msgspec.Struct):
    """One page of `GET /api/tasks/?fields=all`."""

    tasks: list[_ListedTask]
    total: int


_Body = TypeVar("_Body")
_action = msgspec.json.Decoder(_Action)
_page = msgspec.json.Decoder(_ListedPage)


def read(body: bytes, control: str | None = None) -> tuple[str, list[Fact]]:
    """The action of a webhook's body, and its facts; none where it changes no label.

    Args:
        body: As received.
        control: The `from_name` whose results are the label; None: all of them.

    Raises:
        Refused: It is no JSON, or lacks what its action must have.
    """
    action = _decoded(_action, body).action
    reader = _READERS.get(action)
    if reader is None:
        return action, []
    return action, list(reader(body, control))


def is_known(action: str) -> bool:
    """Whether Label Studio is known to send this action."""
    return action in _READERS or action in _WITHOUT_LABELS


def read_page(project: int, body: bytes, control: str | None = None) -> tuple[list[tuple[int, TaskListed]], int]:
    """Tasks of a listing's page, each with its `updated_at` (epoch microseconds), and how many the listing has in all.

    Args:
        project: The listing's.
        body: The answer.
        control: As for `read`.

    Raises:
        Refused: It is no such page.
    """
    page = _decoded(_page, body)
    tasks = []
    for task in page.tasks:
        annotations = tuple(_observed(each, project, task, control) for each in task.annotations)
        updated_us = _epoch_us(task.updated_at, "updated_at")
        # As of when it is, the reconciler knows.
        tasks.append((updated_us, TaskListed(project, task.id, annotations, until_us=updated_us)))
    return tasks, page.total


def _one(body: bytes, control: str | None) -> Iterable[Fact]:
    read = _decoded(_ONE, body)
    if read.annotation.task != read.task.id:
        raise Refused(
            "schema", f"annotation {read.annotation.id} is of task {read.annotation.task}, not {read.task.id}"
        )
    yield _observed(read.annotation, read.annotation.project, read.task, control)


def _many(body: bytes, control: str | None) -> Iterable[Fact]:
    read = _decoded(_MANY, body)
    tasks = {task.id: task for task in read.task}
    for annotation in read.annotation:
        if annotation.task not in tasks:
            raise Refused(
                "schema", f"annotation {annotation.id} is of task {annotation.task}, which is not in the body"
            )
        yield _observed(annotation, annotation.project, tasks[annotation.task], control)


def _annotations_deleted(body: bytes, control: str | None) -> Iterable[Fact]:
    for each in _decoded(_ANNOTATIONS_DELETED, body).annotations:
        yield Deleted(each.id)


def _tasks_deleted(body: bytes, control: str | None) -> Iterable[Fact]:
    read = _decoded(_TASKS_DELETED, body)
    for each in read.tasks:
        yield TaskDeleted(read.project.id, each.id)


def _tasks_created(body: bytes, control: str | None) -> Iterable[Fact]:
    read = _decoded(_TASKS_CREATED, body)
    # Annotations that come with imported tasks send no hook, and are not in this body.
    if any(task.total_annotations for task in read.tasks):
        yield SweepWanted(read.project.id)


_ONE = msgspec.json.Decoder(_OneBody)
_MANY = msgspec.json.Decoder(_ManyBody)
_ANNOTATIONS_DELETED = msgspec.json.Decoder(_AnnotationsDeletedBody)
_TASKS_DELETED = msgspec.json.Decoder(_TasksDeletedBody)
_TASKS_CREATED = msgspec.json.Decoder(_TasksCreatedBody)
_READERS: dict[str, Callable[[bytes, str | None], Iterable[Fact]]] = {
    "ANNOTATION_CREATED": _one,
    "ANNOTATION_UPDATED": _one,
    "ANNOTATIONS_CREATED": _many,
    "ANNOTATIONS_DELETED": _annotations_deleted,
    "TASKS_CREATED": _tasks_created,
    "TASKS_DELETED": _tasks_deleted,
}


def _decoded(decoder: msgspec.json.Decoder[_Body], body: bytes) -> _Body:
    """Decodes a body.

    Raises:
        Refused: It does not fit.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        if _has_no_payload(body):
            raise Refused("no_payload", _NO_PAYLOAD) from None
        raise Refused(
            "schema", f"{error}: this is not what Label Studio 1.23 sends; check what stands between it and here"
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused("not_json", f"the body is no JSON ({error}): it was cut or changed on its way") from None


def _has_no_payload(body: bytes) -> bool:
    try:
        return set(msgspec.json.decode(body, type=dict[str, msgspec.Raw])) == {"action"}
    except msgspec.MsgspecError:
        return False


def _observed(annotation: _Annotation, project: int, task: _Task, control: str | None) -> Observed:
    return Observed(
        annotation=annotation.id,
        project=project,
        task=task.id,
        task_created_us=_epoch_us(task.created_at, "task.created_at"),
        created_us=_epoch_us(annotation.created_at, "annotation.created_at"),
        updated_us=_epoch_us(annotation.updated_at, "annotation.updated_at"),
        completed_by=annotation.completed_by,
        updated_by=annotation.updated_by,
        label=label_of(annotation.result, control),
        handle_ms=_handle_ms(annotation.lead_time),
        skipped=annotation.was_cancelled,
        gold=annotation.ground_truth,
    )


def _handle_ms(lead_time: float | None) -> int | None:
    """Milliseconds; None where there is none, or where no clock can have measured it: any client may send a number."""
    if lead_time is None or not 0 <= lead_time <= _SECONDS_MAX:
        return None
    return round(lead_time * 1000)


def _epoch_us(text: str, where: str) -> int:
    """Epoch microseconds, exactly.

    Raises:
        Refused: It is no time, has no zone, or is before 1970.
    """
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Refused("schema", f"{where} {text[:40]!r} is no time: {_TIMES}") from None
    if time.tzinfo is None:
        raise Refused("schema", f"{where} {text[:40]!r} has no zone: Label Studio's times end with Z")
    us = (time - _EPOCH) // dt.timedelta(microseconds=1)
    if us < 0:
        raise Refused("schema", f"{where} {text[:40]!r} is before 1970: check the clock of Label Studio")
    return us


def label_of(result: Sequence[_Result], control: str | None = None) -> str | None:
    """The answer as one line of text, the same for the same answer in any order; None where there is none.

    - Choices, ratings, numbers, pairwise: the values. Taxonomies: each path, its parts joined by `/`.
    - Spans and shapes with names: the names, one for each span. Where they lie is not compared: two people who agree
      seldom draw alike.
    - Free text, and whatever has no name: a digest, by which answers compare and which says nothing of them.
    - A value n times is `value*n`. Of several controls each is `from_name=values`, with `;` between.

    Args:
        result: Of an annotation.
        control: The `from_name` that is the label; None: all of them.
    """
    found: dict[str, Counter[str]] = {}
    for each in result:
        if each.type != "relation" and (control is None or each.from_name == control):
            found.setdefault(each.from_name, Counter()).update(_values(each))
    texts = {name: ",".join(_times(*pair) for pair in sorted(values.items())) for name, values in found.items()}
    if not texts:
        return None
    if control is not None or len(texts) == 1:
        (text,) = texts.values()
    else:
        text = ";".join(f"{_quoted(name)}={values}" for name, values in sorted(texts.items()))
    if len(text) > LABEL_LENGTH_MAX:
        text = f"{text[:_CUT_LENGTH]}#{_digest(text)}"
    return text


def _values(result: _Result) -> list[str]:
    value = result.value.get(_VALUE_NAMES.get(result.type, result.type))
    if result.type in _BY_DIGEST or value is None or isinstance(value, dict):
        return [f"{result.type}#{_digest(json.dumps(result.value if value is None else value, sort_keys=True))}"]
    parts = value if isinstance(value, list) else [value]
    return [_quoted("/".join(map(str, part)) if isinstance(part, list) else str(part)) for part in parts]


def _quoted(text: str) -> str:
    """A value; in quotes where its own signs could be taken for ours."""
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ',;=*"#') or not text else text


def _times(value: str, count: int) -> str:
    return value if count == 1 else f"{value}*{count}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

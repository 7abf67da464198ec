"""CVAT's XML (for images, for video) as a table: a row for each image that has a shape or tag, and for each track."""

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from schemas.text import visible
from streams.sources.errors import SourceError
from streams.sources.tables.opening import OpenedFile
from streams.sources.tables.table import SourceTable, TableRow

COLUMNS = ("image", "label", "task", "task_name", "project", "assignee", "created", "updated")
#: The mapping that needs no more than a site.
FIELDS = {
    "agent_id": "assignee",
    "project_id": "project",
    "task_id": "task+image",
    "label": "label",
    "at": "updated",
}


def open_cvat(file: OpenedFile) -> SourceTable:
    """A table of the export, with what it says of the task: who had it, and when it was changed last.

    Raises:
        SourceError: It is no such XML.
    """
    file.notes.append(
        f"{file.name}: is CVAT's XML, which says of an image neither who labeled it nor when: the assignee of its task "
        "and the task's last change are taken; figures by hour or by seconds a label mean nothing"
    )
    left_out = f"{file.name}: images without a shape or tag are left out: whether anybody has seen them is not said"

    def read(wanted: Sequence[str]) -> Iterator[TableRow]:
        for number, row in enumerate(_rows(file), 1):
            if row["label"]:
                yield TableRow(number, [row[column] for column in wanted])
            elif left_out not in file.notes:
                file.notes.append(left_out)

    return SourceTable(file.name, "cvat", COLUMNS, read, "image", file.notes, file.where, file.size)


def _rows(file: OpenedFile) -> Iterator[dict[str, str]]:
    tasks: dict[str, dict[str, str]] = {}
    try:
        with file.open() as data:
            parts = ElementTree.iterparse(data, ("start", "end"))
            _, root = next(parts)
            for event, part in parts:
                if event == "start" or part.tag not in ("meta", "image", "track"):
                    continue
                if part.tag == "meta":
                    tasks = _tasks(part)
                else:
                    yield _row(part, tasks)
                # What was read is let go: a file may have a million images.
                root.clear()
    # An encoding that it names and nobody knows is a LookupError.
    except (ElementTree.ParseError, StopIteration, LookupError, ValueError) as error:
        raise SourceError(f"{file.name}: breaks off, or is no XML: {visible(str(error))}; export it again") from error


def _tasks(meta: Any) -> dict[str, dict[str, str]]:
    """What a file says of its tasks, by id; of a file with one task also by no id."""
    project = _text(meta, "project/name")
    found = {}
    for task in (*meta.findall("task"), *meta.findall("job"), *meta.findall("project/tasks/task")):
        name, number = _text(task, "name"), _text(task, "id")
        found[number] = {
            "task": number,
            "task_name": name,
            "project": project or name,
            "assignee": _text(task, "assignee/username") or _text(task, "assignee"),
            "created": _text(task, "created"),
            "updated": _text(task, "updated"),
        }
    return {**found, "": next(iter(found.values()))} if len(found) == 1 else found


def _row(part: Any, tasks: dict[str, dict[str, str]]) -> dict[str, str]:
    number = part.get("task_id", "")
    labels = {part.get("label", "")} if part.tag == "track" else {each.get("label", "") for each in part}
    empty = dict.fromkeys(COLUMNS, "")
    return {
        **empty,
        **tasks.get(number, tasks.get("", {**empty, "task": number})),
        "image": f"track {part.get('id', '')}" if part.tag == "track" else part.get("name", ""),
        "label": "|".join(sorted(filter(None, labels))),
    }


def _text(part: Any, path: str) -> str:
    found = part.find(path)
    return "" if found is None else (found.text or "").strip()

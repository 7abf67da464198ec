"""Label Studio's JSON export as a table: a row for each annotation, with the gold of its task beside it."""

from collections.abc import Iterator, Sequence
from typing import Any

from streams.sources.tables.objects import array_items, text_of
from streams.sources.tables.opening import OpenedFile
from streams.sources.tables.table import BadRow, SourceTable, TableRow

#: Columns by what they are in the export. `gold` is the label of the task's other annotation that is a ground truth.
COLUMNS = (
    "annotation", "task", "project", "completed_by", "label", "lead_time", "was_cancelled", "ground_truth",
    "created_at", "updated_at", "gold",
)  # fmt: skip  # a list of words
#: The mapping that needs no more than a site.
FIELDS = {
    "agent_id": "completed_by",
    "project_id": "project",
    "task_id": "task",
    "label_id": "annotation",
    "label": "label",
    "handle_s": "lead_time",
    "skipped": "was_cancelled",
    "at": "created_at",
    "expected": "gold",
}
#: Kinds of values in a result that are a choice; a span's label counts once, however often it is there.
_KINDS = ("choices", "labels", "rectanglelabels", "polygonlabels", "keypointlabels", "brushlabels", "ellipselabels",
          "hypertextlabels", "timeserieslabels", "taxonomy", "rating", "number", "text", "selected")  # fmt: skip


def is_label_studio(file: OpenedFile) -> bool:
    """Whether a JSON array is such an export, by its first task."""
    if file.kind != "json":
        return False
    _, first = next(array_items(file), (0, None))
    return isinstance(first, dict) and isinstance(first.get("annotations"), list) and "data" in first


def open_label_studio(file: OpenedFile) -> SourceTable:
    """A table of the export; drafts and predictions are left out."""
    file.notes.append(f"{file.name}: is an export of Label Studio, by its first task; a row for each of its labels")

    def read(wanted: Sequence[str]) -> Iterator[TableRow]:
        for number, task in array_items(file):
            for row in _of_task(task):
                if isinstance(row, BadRow):
                    yield TableRow(number, row)
                else:
                    yield TableRow(number, [row[column] for column in wanted])

    return SourceTable(file.name, "label-studio", COLUMNS, read, "task", file.notes, file.where, file.size)


def _of_task(task: Any) -> Iterator[dict[str, str] | BadRow]:
    annotations = task.get("annotations") if isinstance(task, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        yield BadRow("shape", "has no list `annotations`, as the JSON export has; export it as JSON, not JSON-MIN")
        return
    golds = [(each.get("id"), label_of(each.get("result"))) for each in annotations if each.get("ground_truth") is True]
    for each in annotations:
        own = {key: text_of(each.get(key)) for key in ("lead_time", "was_cancelled", "created_at", "updated_at")}
        gold = next((label for number, label in golds if number != each.get("id")), "")
        # Nobody says that a skipped task is wrong.
        skipped = each.get("was_cancelled") is True
        yield {
            **own,
            "annotation": text_of(each.get("id")),
            "task": text_of(task.get("id")),
            "project": text_of(task.get("project", each.get("project"))),
            "completed_by": _person(each.get("completed_by")),
            "label": "" if skipped else label_of(each.get("result")),
            "ground_truth": text_of(each.get("ground_truth")),
            "gold": "" if skipped else gold,
        }


def _person(value: Any) -> str:
    """An id, or where the export has the person as an object: that one's id."""
    return text_of(value.get("id")) if isinstance(value, dict) else text_of(value)


def label_of(result: Any) -> str:
    """What an annotation says: its choices and labels, each once, in order, with bars between."""
    found: dict[str, None] = {}
    for part in result if isinstance(result, list) else ():
        value = part.get("value") if isinstance(part, dict) else None
        if not isinstance(value, dict):
            continue
        kind = part.get("type")
        for name in (kind,) if kind in value else _KINDS:
            given = value.get(name)
            for each in given if isinstance(given, list) else () if given is None else (given,):
                found[text_of(each)] = None
    return "|".join(sorted(filter(None, found)))

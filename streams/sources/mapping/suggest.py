"""`labelwatch map suggest`: a mapping file, proposed by a table's headers and values, with the reason for each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath

from schemas.text import visible
from streams.sources.consensus import OTHERS
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.times import TimeReader
from streams.sources.tables import cvat, label_studio
from streams.sources.tables.table import BadRow, SourceTable, TableReading

#: Rows by whose values it is proposed.
_ROWS = 2_000
#: People on a task of whom each has enough others, and the share of tasks that must have so many for a consensus.
_PEOPLE, _SHARE = OTHERS + 1, 0.1
#: What says how good a label is, without a consensus.
_JUDGED_BY = ("correct", "expected", "reviewer_id")
#: Distinct values that are a list of words, and are written out.
_WORDS = 12
#: What columns are called, by field; the first that a table has is taken. Compared in small letters, without signs.
_HEADERS: dict[str, tuple[str, ...]] = {
    "agent_id": (
        "agent_id", "agent", "worker_id", "worker", "annotator_id", "annotator", "labeler_id", "labeler", "labeller",
        "agent_name", "worker_name", "annotator_name", "labeler_name",
        "completed_by", "user_id", "user", "username", "assignee", "operator", "employee_id", "bearbeiter",
        "mitarbeiter",
        "标注员", "标注员id", "标注人", "标注人员", "工号", "员工", "员工id", "用户", "用户id", "作业员",
        "作业员id", "标注员姓名", "员工姓名", "姓名",
    ),
    "task_id": (
        "task_id", "task", "item_id", "item", "unit_id", "hit_id", "question_id", "question", "sample_id", "asset_id",
        "aufgabe", "auftrag", "auftragsnummer",
        "任务id", "任务", "任务编号", "任务号", "题目id", "题目", "题号", "题目编号", "样本id", "样本编号",
        "数据id",
    ),
    "label": (
        "label", "answer", "annotation", "choice", "choices", "category", "class", "response", "judgment", "antwort",
        "kategorie",
        "标签", "标注结果", "标注", "答案", "分类",
    ),
    "expected": (
        "expected", "gold", "golden", "gold_label", "gold_answer", "ground_truth", "truth", "correct_answer",
        "标准答案", "金标", "正确答案", "参考答案",
    ),
    "correct": (
        "correct", "is_correct", "verdict", "review_result", "passed", "ergebnis", "kontrolle",
        "是否正确", "质检结果", "判定",
    ),
    "at": (
        "submitted_at", "submit_time", "submitted", "completed_at", "completed", "finished_at", "finished", "ended_at",
        "end_time", "created_at",
        "timestamp", "datetime", "date_time", "time", "date", "at", "zeitpunkt", "datum",
        "提交时间", "完成时间", "标注时间", "创建时间", "时间",
    ),
    "handle_ms": (
        "handle_ms", "duration_ms", "handle_s", "handle_time", "seconds", "duration", "lead_time",
        "work_time_in_seconds", "time_spent", "elapsed", "time_taken", "dauer", "耗时", "用时", "时长", "标注时长",
        "处理时长", "作业时长",
    ),
    "site_id": ("site_id", "site", "vendor", "location", "standort", "站点", "基地", "供应商"),
    "project_id": ("project_id", "project", "campaign", "projekt", "项目", "项目id", "项目名称", "业务线"),
    "reviewer_id": ("reviewer_id", "reviewer", "qa", "auditor", "prüfer", "质检员", "审核员", "质检员id"),
    "market": ("market", "country", "region", "市场", "国家"),
    "language": ("language", "语言"),
    "queue": ("queue", "队列"),
    "sop_version": ("sop_version", "sop", "guideline_version", "规则版本"),
    "error_type": ("error_type", "错误类型"),
    "severity": ("severity", "严重程度"),
    "state": ("state", "activity", "状态"),
    "skipped": ("skipped", "is_skipped", "was_cancelled", "跳过"),
}  # fmt: skip  # a table
_DOCCANO = "doccano's export"
#: Exports whose headers are known: what they are, headers that are there, fields, and constants.
_KNOWN: tuple[tuple[str, tuple[str, ...], dict[str, str], str | None], ...] = (
    (
        "Mechanical Turk's results",
        ("HITId", "WorkerId", "SubmitTime"),
        {"agent_id": "WorkerId", "task_id": "HITId", "at": "SubmitTime", "handle_ms": "WorkTimeInSeconds"},
        "mturk",
    ),
    (
        "CrowdFlower's full report",
        ("_unit_id", "_worker_id", "_created_at"),
        {"agent_id": "_worker_id", "task_id": "_unit_id", "at": "_created_at"},
        "crowdflower",
    ),
    (
        "Toloka's assignments",
        ("ASSIGNMENT:worker_id", "ASSIGNMENT:task_id"),
        {"agent_id": "ASSIGNMENT:worker_id", "task_id": "ASSIGNMENT:task_id", "at": "ASSIGNMENT:submitted"},
        None,
    ),
    (
        _DOCCANO,
        ("id", "text", "label", "Comments"),
        {"task_id": "id", "label": "label"},
        None,
    ),
)
#: Headers of an answer and of its gold in those.
_ANSWERS = re.compile(r"(Answer\.|OUTPUT:)(?P<name>.+)")
#: Exports that say themselves what is what: the tool, and the fields.
_EXPORTS = {"label-studio": ("Label Studio", label_studio.FIELDS), "cvat": ("CVAT", cvat.FIELDS)}
#: Ids of two columns among those.
_PAIRED = {cvat.FIELDS["task_id"]}
_TRUE = {"correct", "right", "pass", "passed", "ok", "accept", "accepted", "good", "true", "yes", "1", "y",
         "正确", "对", "是", "合格", "通过", "richtig", "ja", "i.o."}  # fmt: skip
_FALSE = {"incorrect", "wrong", "fail", "failed", "reject", "rejected", "bad", "false", "no", "0", "n",
          "错误", "错", "否", "不合格", "不通过", "falsch", "nein", "n.i.o."}  # fmt: skip
_STATES = {
    "productive": ("productive", "working", "on task", "工作", "作业中", "标注中"),
    "available": ("available", "idle", "空闲"),
    "break": ("break", "lunch", "rest", "pause", "休息", "午休"), "training": ("training", "培训", "schulung"),
    "meeting": ("meeting", "会议", "besprechung"), "offline": ("offline", "logout", "logged out", "离线", "下线"),
}  # fmt: skip  # a table
#: A unit at the end of a header: `Duration (s)`, also in wide brackets; what it means.
_UNIT = re.compile(r"\s*[(\uff08\[]\s*(?P<unit>[^()\uff08\uff09\[\]]+?)\s*[)\uff09\]]\s*$")
_UNITS = {
    "ms": ("ms", "millis", "milliseconds", "毫秒"),
    "s": ("s", "sec", "secs", "seconds", "sek", "sekunden", "秒"),
    "min": ("min", "mins", "minutes", "minuten", "分", "分钟"),
    "h": ("h", "hours", "stunden", "小时", "时"),
}
#: A date, in whatever order, and a time of day.
_DATED = re.compile(r"\d{1,4}([/.-])\d{1,2}\1\d{1,4}[ T]+\d{1,2}:\d{2}")
_SLASHED = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?:\s+(\d{1,2}:\d{2})(:\d{2})?(\s*[AaPp][Mm])?)?")


@dataclass(slots=True)
class _Proposal:
    """What is proposed, piece by piece."""

    columns: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    time_reasons: list[str] = field(default_factory=list)
    decimal: str | None = None
    unit: str = "s"
    unit_reason: str = ""
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    comparison: str = ""


_NOTHING = TableReading()


def suggest(table: SourceTable, reading: TableReading = _NOTHING) -> Iterator[str]:
    """Lines of a mapping file for a table, with the reason for each beside it.

    Args:
        table: Opened.
        reading: What a person stated about it, which the mapping then states.
    """
    rows = _rows(table)
    values = _values(table.columns, rows)
    made = _Proposal()
    if table.kind in _EXPORTS:
        tool, fields = _EXPORTS[table.kind]
        for name, column in fields.items():
            made.columns["handle_ms" if name == "handle_s" else name] = column
            made.reasons["handle_ms" if name == "handle_s" else name] = f"as {tool} exports it"
    else:
        _by_known(table.columns, made)
        _by_headers(table.columns, made)
        _by_times(values, made)
        _times(values, made)
        _durations(values, made)
        _words(values, made)
    _consensus(table.columns, rows, made)
    if not rows:
        made.notes.append("it has a header and no rows: forms of times, units and words are unknown")
    if len(table.columns) == 1:
        made.notes.append("it has one column: if that is a title above the header, delete its line")
    yield f"# Proposed by the headers and the first {len(rows):,} rows of {visible(table.name)}: check each line,"
    yield f"# then: labelwatch import {visible(table.name)} --map THIS.toml"
    for note in (*table.notes, *made.notes):
        yield f"# {note}"
    yield from _source_lines(reading)
    yield from _time_lines(made)
    if made.decimal:
        yield from ("", "[numbers]", f"decimal = {_quoted(made.decimal)}  # values have such a sign")
    yield from _constant_lines(table, made)
    yield from ("", "[fields]")
    for name, column in made.columns.items():
        yield f"{_field(name, column, made)}  # {made.reasons[name]}"
    if made.comparison:
        yield made.comparison
    missing = [name for name in ("agent_id", "task_id", "at") if name not in made.columns]
    for name in missing:
        yield f'# {name} = "COLUMN"  # needed, and no header says which it is{_remedy(name)}'
    left = [column for column in table.columns if column and column not in made.columns.values()]
    if left:
        yield f"# not used: {', '.join(visible(each) for each in left[:40])}"
    for name, meant in made.values.items():
        yield from ("", f"[values.{name}]")
        yield from (f"{_quoted(text)} = {meaning}" for text, meaning in meant.items())


def _rows(table: SourceTable) -> list[list[str]]:
    """The first rows; without a cell where one cannot be read."""
    return [
        [] if isinstance(row.cells, BadRow) else [cell.strip() for cell in row.cells]
        for row in islice(table.rows(table.columns), _ROWS)
    ]


def _values(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Values of each column that are not empty."""
    found: dict[str, list[str]] = {column: [] for column in columns}
    for cells in filter(None, rows):
        for column, text in zip(columns, cells, strict=True):
            if text:
                found[column].append(text)
    return found


def _consensus(columns: Sequence[str], rows: Sequence[Sequence[str]], made: _Proposal) -> None:
    """Proposes to judge labels by each other where nobody else does, and several people label each task."""
    if not {"agent_id", "task_id", "label"} <= set(made.columns):
        return
    places = {column: place for place, column in enumerate(columns)}

    def cells_of(name: str) -> list[str]:
        parts = [places.get(part) for part in _columns_of(name, made.columns[name])] if name in made.columns else []
        return ["\0".join(cells[part] for part in parts if part is not None) for cells in rows if cells]

    if any(any(cells_of(name)) for name in _JUDGED_BY):
        return
    people: dict[str, set[str]] = {}
    labels = cells_of("label")
    for task, person, label in zip(cells_of("task_id"), cells_of("agent_id"), labels, strict=True):
        if label:
            people.setdefault(task, set()).add(person)
    several = sum(len(each) >= _PEOPLE for each in people.values())
    # Labels that hardly ever come again are texts, on which nobody agrees.
    if not several or several < _SHARE * len(people) or len(set(labels)) > len(labels) / 2:
        return
    for name in _JUDGED_BY:
        column = made.columns.get(name)
        if column is not None and len(rows) == _ROWS:
            made.notes.append(f"{visible(column)!r} is empty in these rows: if it is so in all, leave out its line")
        elif column is not None:
            made.notes.append(f"{visible(column)!r} is empty, and left out: with it there is no consensus")
            del made.columns[name]
    made.notes.append(
        f"no reviews, and {several:,} of {len(people):,} tasks have labels of {_PEOPLE} people or more: --consensus "
        "majority judges each label by what the others say; docs/import.md tells what that measures, and of dawid-skene"
    )


def _plain(header: str) -> str:
    """A header without signs, in small letters; `WorkTimeInSeconds` and `work_time_in_seconds` are one."""
    last = header.rsplit("/", 1)[-1]
    return re.sub(r"[\W_]+", "", last).lower()


def _unit_of(header: str) -> str:
    """The unit that a header ends with in brackets; nothing where it has none that is known."""
    found = _UNIT.search(header)
    return next((unit for unit, names in _UNITS.items() if found and found["unit"].lower().rstrip(".") in names), "")


def _by_known(columns: Sequence[str], made: _Proposal) -> None:
    for what, needed, fields, form in _KNOWN:
        if not set(needed) <= set(columns):
            continue
        made.notes.append(f"looks like {what}, by the columns {', '.join(needed)}")
        for name, column in fields.items():
            if column in columns:
                made.columns[name], made.reasons[name] = column, f"so in {what}"
        if form:
            made.times["format"] = form
            made.time_reasons.append(f"the form of {what}")
        if what == _DOCCANO:
            made.notes.append(
                "it has neither people nor times: export each person's file by itself, and give --set agent_id=NAME "
                "and --times-from"
            )
        answers = [column for column in columns if _ANSWERS.fullmatch(column)]
        if len(answers) == 1:
            made.columns["label"], made.reasons["label"] = answers[0], "the one answer"
        elif answers:
            made.notes.append(f"which answer is the label? {', '.join(answers)}")
        golds = [column for column in columns if column.startswith("GOLDEN:") or column.endswith("_gold")]
        if len(golds) == 1:
            made.columns["expected"], made.reasons["expected"] = golds[0], "the one gold value"
            base = golds[0].removesuffix("_gold")
            if golds[0].endswith("_gold"):
                made.comparison = 'correct = { compare = "any", separator = "\\n" }  # accepted answers are one a line'
            if base != golds[0] and base in columns:
                made.columns["label"], made.reasons["label"] = base, f"its gold is {golds[0]}"
        return


def _by_headers(columns: Sequence[str], made: _Proposal) -> None:
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(_plain(column), column)
    for column in columns:
        if _unit_of(column):
            plain.setdefault(_plain(_UNIT.sub("", column)), column)
    for name, headers in _HEADERS.items():
        if name in made.columns:
            continue
        for header in headers:
            found = plain.get(_plain(header))
            if found and found not in made.columns.values():
                made.columns[name], made.reasons[name] = found, f"its header says {visible(found)!r}"
                break


def _by_times(values: Mapping[str, list[str]], made: _Proposal) -> None:
    """A time that no header tells, where one column alone has dates with a time of day."""
    if "at" in made.columns:
        return
    dated = [
        column
        for column, found in values.items()
        if column not in made.columns.values() and found and all(_DATED.match(text) for text in found)
    ]
    if len(dated) == 1:
        made.columns["at"], made.reasons["at"] = dated[0], f"all {len(values[dated[0]]):,} values are dates with a time"


def _times(values: Mapping[str, list[str]], made: _Proposal) -> None:
    column = made.columns.get("at")
    if column is None or made.times:
        return
    found = values.get(column, [])
    if not found:
        return
    slashed = [match for text in found if (match := _SLASHED.fullmatch(text))]
    if slashed and len(slashed) == len(found):
        _slashed_times(slashed, made)
        return
    for form in ("iso", "epoch_s", "epoch_ms", "epoch_us", "mturk"):
        if found and _reads(found, form):
            break
    else:
        made.notes.append(f"times of {visible(column)!r} have no form that is known: state it under [time], format")
        return
    made.times["format"] = form
    made.time_reasons.append(f"all {len(found):,} values of {visible(column)!r} are so")
    try:
        for text in found:
            TimeReader("", form)(text)
    except MappingError:
        made.times["zone"] = ""
    except CellError:
        pass


def _reads(texts: Sequence[str], form: str) -> bool:
    digits = {"epoch_s": 10, "epoch_ms": 13, "epoch_us": 16}.get(form)
    if digits and not all(text.isdigit() and len(text) == digits for text in texts):
        return False
    read = TimeReader("", form, "UTC")
    try:
        for text in texts:
            read(text)
    except (CellError, MappingError):
        return False
    return True


def _slashed_times(found: Sequence[re.Match[str]], made: _Proposal) -> None:
    """Day and month are told apart where one of them is above 12 somewhere."""
    first, second = (max(int(match[place]) for match in found) for place in (1, 3))
    sign, sample = found[0][2], found[0]
    year = "%Y" if len(sample[4]) == 4 else "%y"
    clock = ""
    if sample[5]:
        clock = (" %I:%M" if sample[7] else " %H:%M") + (":%S" if sample[6] else "") + (" %p" if sample[7] else "")
    day_first, month_first = (f"{sign.join(parts)}{clock}" for parts in (("%d", "%m", year), ("%m", "%d", year)))
    made.times["zone"] = ""
    if first > 12 and second <= 12:
        made.times["format"] = day_first
        made.time_reasons.append(f"a value begins with {first}, which is a day")
    elif second > 12 and first <= 12:
        made.times["format"] = month_first
        made.time_reasons.append(f"a value has {second} in second place, which is a day")
    else:
        made.notes.append(
            f"{sample[0]!r} may begin with the day or the month, and no value tells: format is "
            f"{day_first!r} or {month_first!r}"
        )


def _durations(values: Mapping[str, list[str]], made: _Proposal) -> None:
    column = made.columns.get("handle_ms")
    if column is None:
        return
    found = values.get(column, [])
    header = _plain(column)
    stated = _unit_of(column)
    made.unit = stated or ("ms" if header.endswith(("ms", "millis")) else "s")
    by_header = stated or made.unit == "ms" or "second" in header
    made.unit_reason = "by its header" if by_header else "taken for seconds: check"
    if any(":" in text for text in found):
        parts = {text.count(":") for text in found}
        made.unit = "h:mm:ss" if parts == {2} else "mm:ss"
        made.unit_reason = "values have colons" + ("" if parts == {2} else "; h:mm if these are hours")
    elif any(re.fullmatch(r"\d+,\d{1,2}|\d+,\d{4,}|\d{1,3}(\.\d{3})*,\d+", text) for text in found):
        made.decimal = ","


def _words(values: Mapping[str, list[str]], made: _Proposal) -> None:
    """Value maps of verdicts and states."""
    for name in ("correct", "skipped"):
        column = made.columns.get(name)
        words = dict.fromkeys(values.get(column, [])) if column else {}
        if not words or len(words) > _WORDS:
            if column and words:
                made.notes.append(f"{visible(column)!r} has {len(words):,} values, which are no verdicts: check it")
                del made.columns[name]
            continue
        if {word.lower() for word in words} <= {"true", "false", "yes", "no", "1", "0"}:
            continue
        made.values[name] = {
            word: "true" if word.lower() in _TRUE else "false" if word.lower() in _FALSE else '""  # true or false?'
            for word in words
        }
    states = made.columns.get("state")
    words = dict.fromkeys(values.get(states, [])) if states else {}
    known = {word: state for state, all_words in _STATES.items() for word in all_words}
    if words and not any(word.lower() in known for word in words):
        # A state of something else, such as a task's.
        del made.columns["state"]
    elif any(word not in _STATES for word in words):
        made.values["state"] = {
            word: f'"{known[word.lower()]}"' if word.lower() in known else '""  # which state?'
            for word in islice(words, _WORDS)
        }


def _quoted(text: str) -> str:
    """A TOML text."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return f'"{visible(escaped)}"'


def _field(name: str, column: str, made: _Proposal) -> str:
    if name == "handle_ms" and made.unit_reason:
        made.reasons[name] += f"; {made.unit_reason}"
        return f"{name} = {{ column = {_quoted(column)}, unit = {_quoted(made.unit)} }}"
    columns = _columns_of(name, column)
    value = _quoted(column) if len(columns) == 1 else f"[{', '.join(map(_quoted, columns))}]"
    return f"{'handle_s' if name == 'handle_ms' else name} = {value}"


def _columns_of(name: str, column: str) -> list[str]:
    return column.split("+") if name == "task_id" and column in _PAIRED else [column]


def _source_lines(reading: TableReading) -> Iterator[str]:
    stated = {
        "format": reading.format,
        "delimiter": reading.delimiter,
        "encoding": reading.encoding,
        "quote": reading.quote,
        "sheet": reading.sheet,
    }
    if any(stated.values()):
        yield from ("", "[source]")
        yield from (f"{key} = {_quoted(value)}  # as stated" for key, value in stated.items() if value)


def _time_lines(made: _Proposal) -> Iterator[str]:
    if made.times or "at" not in made.columns:
        yield from ("", "[time]")
    if form := made.times.get("format"):
        yield f"format = {_quoted(form)}  # {'; '.join(made.time_reasons)}"
    if "zone" in made.times:
        yield '# zone = "Asia/Manila"  # needed: the times name none'
    if "at" not in made.columns:
        yield '# made_from = "2026-11-01T08:00Z"  # if rows have no times: adds up the durations of each person'


def _constant_lines(table: SourceTable, made: _Proposal) -> Iterator[str]:
    missing = [name for name in ("site_id", "project_id") if name not in made.columns]
    if not missing:
        return
    yield from ("", "[constants]")
    if "site_id" in missing:
        yield '# site_id = "lima-2"  # needed, no column has it: where these people work'
    if "project_id" in missing:
        name = PurePath(table.name).name.split(".")[0]
        yield f"project_id = {_quoted(name or 'project')}  # no column has it: the file's name"


def _remedy(name: str) -> str:
    return "; or made_from above" if name == "at" else ""

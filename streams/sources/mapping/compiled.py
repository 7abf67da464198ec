"""A mapping as one function from a row's cells to its events: compiled once, then called for each row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.text import visible
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.fields import FIELDS, EventField
from streams.sources.mapping.model import EventMapping, FieldSource, RowMapping
from streams.sources.mapping.times import TimeReader
from streams.sources.mapping.values import CellReader, comparison, reader

#: An event as it goes on the wire, without the id that its content gives it.
Fields = dict[str, Any]
#: More than a day on one label is no time at all; it would move a person's clock out of every window.
_LONGEST_MS = 86_400_000


class CompiledMapping:
    """Turns rows into events.

    Args:
        mapping: What rows become.
        columns: The table's, in the order of the cells.
        file: Its name, for errors.

    Attributes:
        unjudged: Rows with a gold value but no label: no review was made of them.

    Raises:
        MappingError: A column that is named is not there.
    """

    def __init__(self, mapping: RowMapping, columns: Sequence[str], file: str) -> None:
        places = {column.strip(): number for number, column in enumerate(columns)}
        missing = [column for column in mapping.columns() if column not in places]
        if missing:
            has = ", ".join(visible(column) for column in list(places)[:40]) or "none"
            title = "; if that is a title above the header, delete its line" if len(places) == 1 else ""
            raise MappingError(f"{file}: no column {missing[0]!r}; the file has {has}{title}")
        self.unjudged = 0
        self._times: dict[tuple[object, ...], TimeReader] = {}
        self._places, self._made = places, mapping.made_from is not None
        self._events = mapping.events
        self._conditions = [
            (1 << number, [(places[column], texts) for column, texts in event.when.items()])
            for number, event in enumerate(mapping.events)
            if event.when
        ]
        self._always = sum(1 << number for number, event in enumerate(mapping.events) if not event.when)
        self._plans: dict[int, Callable[[Sequence[str]], list[Fields]]] = {}
        # All of them now: what is wrong with the mapping is wrong before the first row.
        self._plan_of((1 << len(mapping.events)) - 1)
        self._clock = None if mapping.made_from is None else self._made_clock(mapping, places)
        self._made_at = 0

    @property
    def days_only(self) -> int:
        """Times that had no time of day."""
        return sum(each.days_only for each in self._times.values())

    @property
    def twice(self) -> int:
        """Times in an hour that the clocks showed twice."""
        return sum(each.twice for each in self._times.values())

    def __call__(self, cells: Sequence[str]) -> list[Fields]:
        """A row's events; none where no `when` is met.

        Raises:
            CellError: The row cannot be used.
            MappingError: The data asks for something that the mapping must state, such as a zone.
        """
        if self._clock is not None:
            self._made_at = self._clock(cells)
        met = self._always
        for bit, conditions in self._conditions:
            for place, texts in conditions:
                text = cells[place].strip()
                if not text or (texts is not None and text not in texts):
                    break
            else:
                met |= bit
        plan = self._plans.get(met)
        return plan(cells) if plan is not None else self._plan_of(met)(cells)

    def _plan_of(self, met: int) -> Callable[[Sequence[str]], list[Fields]]:
        """What makes the events of a row that meets these conditions: each value is read once, however many have it."""
        readers: list[CellReader] = []
        numbers: dict[tuple[str, int], int] = {}
        events = [
            self._event(event, readers, numbers) for number, event in enumerate(self._events) if met >> number & 1
        ]

        def make(cells: Sequence[str]) -> list[Fields]:
            values = [read(cells) for read in readers]
            return [event for maker in events if (event := maker(values)) is not None]

        self._plans[met] = make
        return make

    def _event(
        self, event: EventMapping, readers: list[CellReader], numbers: dict[tuple[str, int], int]
    ) -> Callable[[list[Any]], Fields | None]:
        """What makes an event of a row's values; adds the readers that it needs and no event before it has."""
        judge, made = self._judge(event), self._made
        same: Fields = {"type": event.type}
        fields: list[tuple[str, int]] = []
        required: list[tuple[int, str, str]] = []
        for name, field in FIELDS[event.type].items():
            source = event.fields.get(name)
            if source is None or (name == "correct" and judge is not None):
                continue
            # One object for all events of a mapping where [fields] names it.
            key = (field.kind, id(source))
            if key not in numbers:
                read_field = reader(field, source, self._places, self._times)
                if not source.columns and source.span is None and (value := read_field(())) is not None:
                    same[name] = value
                    continue
                numbers[key] = len(readers)
                readers.append(read_field)
            fields.append((name, numbers[key]))
            if field.required and name != "event_id":
                required.append((numbers[key], name, _columns(source)))
        is_gold_review = event.type == "label_reviewed" and made

        def make(values: list[Any]) -> Fields | None:
            found = same.copy()
            for name, number in fields:
                value = values[number]
                if value is not None:
                    found[name] = value
            if made:
                found["at"] = self._made_at
                if is_gold_review:
                    found["labeled_at"] = self._made_at
            for number, name, columns in required:
                if values[number] is None and name not in found:
                    raise CellError("empty", f"{columns} ({name}) is empty, and {event.type} needs it")
            return found if judge is None else judge(found)

        return make

    def _judge(self, event: EventMapping) -> Callable[[Fields], Fields | None] | None:
        """Compares label and gold, where the verdict has no column."""
        source = event.fields.get("correct", FieldSource())
        if event.type != "label_reviewed" or source.columns or source.constant is not None:
            return None
        equal = comparison(source.compare or "exact", source.separator or "|")

        def judge(found: Fields) -> Fields | None:
            label, gold = found.get("label"), found.get("expected")
            if label is None or gold is None:
                self.unjudged += label is None and gold is not None
                return None
            found["correct"] = equal(label, gold)
            return found

        return judge

    def _made_clock(self, mapping: RowMapping, places: Mapping[str, int]) -> Callable[[Sequence[str]], int]:
        """When each row's label was handed in: the sum of its person's durations so far."""
        at = FIELDS["label_submitted"]["at"]
        start_ms = reader(at, FieldSource(constant=mapping.made_from, zone=mapping.made_zone), places, {})(())
        (event, *_) = mapping.events
        agent = reader(_field("agent_id"), event.fields["agent_id"], places, {})
        source = event.fields.get("handle_ms")
        handle: CellReader = (lambda cells: None) if source is None else reader(_field("handle_ms"), source, places, {})
        assumed_ms = round(mapping.assumed_seconds * 1000)
        spent: dict[Any, int] = {}

        def clock(cells: Sequence[str]) -> int:
            person, took_ms = agent(cells), handle(cells)
            if took_ms is None or took_ms > _LONGEST_MS:
                took_ms = assumed_ms
            spent[person] = now = spent.get(person, 0) + took_ms
            return int(start_ms + now)

        return clock


def _field(name: str) -> EventField:
    return FIELDS["label_submitted"][name]


def _columns(source: FieldSource) -> str:
    return f"column {' and '.join(source.columns)}" if source.columns else "the value for every row"

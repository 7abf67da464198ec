"""`labelwatch explain`: the events behind one figure, by the engine's own rules, read back from the topic."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import numpy as np
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.text import Text

from schemas.events import ROLES, ClockAdvanced, Event, LabelReviewed, LabelRevised, LabelSubmitted, ReviewRevised
from schemas.metrics import SITE_WINDOWS, WINDOWS
from schemas.policy import Policy
from schemas.text import cell, choice, visible
from schemas.topics import EVENTS
from streams.engine.batch import KafkaRecord
from streams.engine.decode import Rejection, Unknown, decode
from streams.engine.headline import why_not_headline, why_not_windowed
from streams.engine.horizon import DUPLICATE_MINUTES
from streams.engine.intake import CAP_MS
from streams.engine.panes import HOUR_MS, MINUTE_MS, WINDOW_PANES
from streams.engine.ratios import wilson
from streams.engine.times import AHEAD_MS, why_not_duration
from streams.ops.errors import WRONG_USE, CommandError
from streams.ops.records import TopicReader, unreadable
from streams.runtime.settings import Settings
from streams.sources.sinks import partition_of
from streams.views import fold
from streams.views.fold import FoldedColumn

FIGURES = ("accuracy", "labels", "handle")
#: Read so much before the window: brokers' clocks differ, and duplicates follow their first within minutes.
_MARGIN_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Question:
    """Which figure.

    Attributes:
        site: Site id.
        figure: `accuracy`, `labels` or `handle`.
        window: `15m`, `1h`, `24h` or `7d`.
        agent: One person's figure, by the plain id; None: the site's.
        role: Whose accuracy, `agent` or `qa`.
        at_ms: End of the window; None: the highest event time of the partition.
        known_by: What was known at that time: `append`, records that the broker had by then, as a board showed it;
            `event`, events of then and before, as on the events' own clock. Empty: whatever the topic has.
    """

    site: str
    figure: str
    window: str
    agent: str | None = None
    role: str = "agent"
    at_ms: int | None = None
    known_by: Literal["", "append", "event"] = ""

    def __post_init__(self) -> None:
        for option, value, allowed in (
            ("--figure", self.figure, FIGURES),
            ("--window", self.window, SITE_WINDOWS if self.agent is None else WINDOWS),
            ("--role", self.role, ROLES if self.figure == "accuracy" else ("agent",)),
        ):
            if value not in allowed:
                of_whom = "" if self.agent is None else " of a person"
                where = f" with --figure {self.figure}{of_whom}" if option != "--figure" else ""
                raise CommandError(f"{option} {value!r}: use {choice(allowed)}{where}", WRONG_USE)

    def knows(self, event: Event, append_ms: int | None) -> bool:
        """Whether an event was known at the time that is asked for; a topic without append times knows by `at`."""
        if self.at_ms is None or not self.known_by:
            return True
        by_append = self.known_by == "append" and append_ms is not None and append_ms >= 0
        return (append_ms if by_append else event.at) <= self.at_ms  # type: ignore[operator]  # not None there

    @property
    def metric(self) -> str:
        """The series that is explained."""
        of_whom, name = f'site="{self.site}"', "labelwatch_site"
        if self.agent is not None:
            of_whom, name = f'{of_whom},agent="{self.agent}"', "labelwatch_agent"
        role = f',role="{self.role}"' if self.agent is not None or self.figure == "accuracy" else ""
        figure = {"accuracy": "accuracy_ratio", "labels": "labels", "handle": "handle_seconds_mean"}[self.figure]
        return f'{name}_{figure}{{{of_whom}{role},window="{self.window}"}}'

    def panes(self, at_ms: int) -> tuple[int, int]:
        """First and last millisecond of the window at a time: panes are whole."""
        ring, panes = WINDOW_PANES[self.window]
        pane_ms = MINUTE_MS if ring == "m" else HOUR_MS
        newest = at_ms // pane_ms
        return (newest - panes + 1) * pane_ms, (newest + 1) * pane_ms - 1


class Item(NamedTuple):
    """One event in a figure.

    Attributes:
        expected: What the reviewer holds for right; of a review, as `reviewer` and `error_type`.
        value: 1 or 0 for a correct or wrong review; handling time in ms; -1 for a label without one.
        weight: 1; -1 where a revision takes out an event that was not read.
        note: What a revision did to it.
    """

    event_id: str
    at: int
    agent: str
    project: str
    task: str
    value: int
    weight: int = 1
    note: str = ""
    label: str = ""
    expected: str = ""
    reviewer: str = ""
    error_type: str = ""
    sop_version: str = ""
    market: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A figure and the events behind it.

    Attributes:
        question: Which figure.
        at_ms: End of the window.
        items: The events, in the order of the log.
        left_out: Events of the site in the window that do not count, by reason.
        site_events: Events of the site that were read and known, in the window or before.
        later: Events of the site that were read and not known yet at the time that is asked for.
    """

    question: Question
    at_ms: int
    items: list[Item]
    left_out: Counter[str]
    site_events: int
    later: int = 0

    @property
    def n(self) -> int:
        """How many count."""
        return sum(item.weight for item in self.items)

    @property
    def total(self) -> int:
        """Sum of the values: correct reviews, or handling time in ms."""
        return sum(item.weight * item.value for item in self.items)

    def worst_first(self) -> list[Item]:
        """Wrong before correct and slow before fast, the newest first among equals."""
        slowest_first = -1 if self.question.figure == "handle" else 1
        key = 0 if self.question.figure == "labels" else slowest_first
        return sorted(self.items, key=lambda item: (key * item.value, -item.at))


@dataclass(slots=True)
class Explainer:
    """Applies the engine's rules to records, for one figure of one site.

    One thing differs: the engine forgets ids when a partition holds more than 4 million of the last 15 minutes.

    Args:
        question: Which figure.
        policy: Says which sources make the headline.
    """

    question: Question
    policy: Policy
    _clock_ms: int = 0
    _site_clock_ms: int = -1
    _site_events: int = 0
    _later: int = 0
    _seen: dict[int, set[tuple[str, int]]] = field(default_factory=dict)
    _items: dict[int, Item] = field(default_factory=dict)
    _left_out: list[tuple[int, str]] = field(default_factory=list)
    _by_id: dict[str, int] = field(default_factory=dict)
    _number: int = 0

    def add(self, records: Iterable[KafkaRecord]) -> None:
        """Takes the next records of the site's partition, in order."""
        records = self._relevant(records)
        for record, event in zip(records, decode([record.value for record in records]), strict=True):
            if isinstance(event, Rejection | Unknown) or _is_ahead(event, record.timestamp):
                continue
            is_sites = event.site_id == self.question.site and not isinstance(event, ClockAdvanced)
            if not self.question.knows(event, record.timestamp):
                self._later += is_sites
                continue
            self._clock_ms = max(self._clock_ms, event.at)
            if is_sites:
                self._site_events += 1
                self._count(event)

    def _relevant(self, records: Iterable[KafkaRecord]) -> list[KafkaRecord]:
        """All of them, or where the time is known those that could be the site's: most of a partition is not."""
        if self.question.at_ms is None:
            return list(records)
        name = self.question.site.encode()
        # JSON may write any character as an escape.
        return [each for each in records if each.value is not None and (name in each.value or b"\\" in each.value)]

    def _count(self, event: Event) -> None:
        repeated = self._is_repeated(event)
        if isinstance(event, ReviewRevised | LabelRevised):
            if not repeated:
                self._revise(event)
            return
        wanted = LabelReviewed if self.question.figure == "accuracy" else LabelSubmitted
        if not isinstance(event, wanted) or self.question.agent not in (None, event.agent_id):
            return
        if isinstance(event, LabelReviewed):
            if (event.role or "agent") != self.question.role:
                return
            reason, value = self._why_not_review(event), int(event.correct)
            known_as: str | None = event.review_id or event.event_id
        else:
            reason, value, known_as = self._why_not_label(event), _handle_ms(event.handle_ms), event.label_id
        reason = "a repeat of an event counted before" if repeated else reason
        if reason:
            self._left_out.append((event.at, reason))
            return
        if known_as:
            self._by_id[known_as] = self._number
        self._put(_item(event, value))

    def _put(self, item: Item) -> None:
        self._items[self._number] = item
        self._number += 1

    def _is_repeated(self, event: Event) -> bool:
        self._site_clock_ms = max(self._site_clock_ms, event.at)
        oldest = self._site_clock_ms // MINUTE_MS - DUPLICATE_MINUTES
        for minute in [minute for minute in self._seen if minute <= oldest]:
            del self._seen[minute]
        minute = event.at // MINUTE_MS
        if minute <= oldest:
            return False
        seen = self._seen.setdefault(minute, set())
        identity = (event.event_id, event.at)
        if identity in seen:
            return True
        seen.add(identity)
        return False

    def _why_not_review(self, event: LabelReviewed) -> str:
        return why_not_windowed(event.purpose, event.review_round) or why_not_headline(
            event.source, event.sampling, self.policy
        )

    def _why_not_label(self, event: LabelSubmitted) -> str:
        if event.skipped:
            return "skipped"
        if self.question.figure != "handle":
            return ""
        if event.handle_ms is None:
            return "no handling time"
        reason = why_not_duration(event.handle_ms)
        return f"a handling time that cannot be meant ({reason})" if reason else ""

    # --- revisions

    def _revise(self, event: ReviewRevised | LabelRevised) -> None:
        """Minus the old version, plus the new one, where each counts; on the event itself where it was read."""
        if self.question.agent not in (None, event.agent_id):
            return
        if isinstance(event, ReviewRevised):
            if self.question.figure != "accuracy" or (event.role or "agent") != self.question.role:
                return
            at, known_as = event.reviewed_at, event.review_id
            old, new = (
                None if v is None or why_not_headline(v.source, v.sampling, self.policy) else int(v.correct)
                for v in (event.old, event.new)
            )
        else:
            if self.question.figure == "accuracy":
                return
            at, known_as = event.submitted_at, event.label_id
            timed = self.question.figure == "handle"
            old, new = (
                None if v is None or v.skipped or (timed and _handle_ms(v.handle_ms) < 0) else _handle_ms(v.handle_ms)
                for v in (event.old, event.new)
            )
        note = f"{event.cause} {event.event_id}"
        number = self._by_id.get(known_as, -1)
        known = self._items.get(number)
        if known is not None and (known.value, known.agent) == (old, event.agent_id) and self._same_pane(known.at, at):
            if new is None:
                del self._items[number]
                self._left_out.append((at, f"taken out by a revision ({event.cause})"))
            else:
                self._items[number] = known._replace(value=new, note=note)
            return
        for value, weight in ((old, -1), (new, 1)):
            if value is not None:
                whose = (event.event_id, at, event.agent_id, event.project_id, event.task_id)
                self._put(Item(*whose, value, weight, note))

    def _same_pane(self, one_ms: int, other_ms: int) -> bool:
        pane_ms = MINUTE_MS if WINDOW_PANES[self.question.window][0] == "m" else HOUR_MS
        return one_ms // pane_ms == other_ms // pane_ms

    def answer(self) -> Explanation:
        """The figure, as of the records taken."""
        at_ms = self._clock_ms if self.question.at_ms is None else self.question.at_ms
        first, last = self.question.panes(at_ms)
        items = [item for item in self._items.values() if first <= item.at <= last]
        left_out = Counter(reason for at, reason in self._left_out if first <= at <= last)
        return Explanation(self.question, at_ms, items, left_out, self._site_events, self._later)


def _item(event: LabelReviewed | LabelSubmitted, value: int) -> Item:
    expected = reviewer = error_type = ""
    if isinstance(event, LabelReviewed):
        # As the engine counts them: the list says more than the two fields, where it is there.
        errors = [error.type for error in event.errors or ()] or [event.error_type or ""]
        expected, reviewer, error_type = event.expected or "", event.reviewer_id or "", ", ".join(errors)
    return Item(
        *(event.event_id, event.at, event.agent_id, event.project_id, event.task_id, value),
        label=event.label or "",
        sop_version=event.sop_version or "",
        market=event.market or "",
        expected=expected,
        reviewer=reviewer,
        error_type=error_type,
    )


def _handle_ms(given: int | None) -> int:
    return -1 if given is None or why_not_duration(given) else min(given, CAP_MS)


def _is_ahead(event: Event, append_ms: int | None) -> bool:
    """Whether the engine turns an event away for a time that lies ahead."""
    if append_ms is not None and event.at > append_ms + AHEAD_MS:
        return True
    names = {LabelReviewed: "labeled_at", ReviewRevised: "reviewed_at", LabelRevised: "submitted_at"}
    refers_to = getattr(event, names.get(type(event), ""), None)
    return refers_to is not None and refers_to > event.at + AHEAD_MS


def explain(question: Question, policy: Policy, settings: Settings) -> Explanation:
    """Reads the site's partition back and answers.

    Raises:
        CommandError: No broker answers, or nothing of the site was found.
        SettingsError: A certificate or the password cannot be read.
    """
    try:
        return asyncio.run(_explain(question, policy, settings))
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreadable(EVENTS, settings, error) from error


async def _explain(question: Question, policy: Policy, settings: Settings) -> Explanation:
    explainer = Explainer(question, policy)
    from_ms = None if question.at_ms is None else question.panes(question.at_ms)[0] - _MARGIN_MS
    async with TopicReader(settings) as events:
        partition = partition_of(question.site.encode(), events.partitions)
        async for batch in events.read(partition, from_ms):
            explainer.add(batch)
    answer = explainer.answer()
    if not answer.site_events and answer.later:
        raise CommandError(
            f"nothing of site {question.site!r} was known at {_when(question.at_ms or 0)}: "
            f"the {answer.later:,} events read "
            + (
                "came to the broker later, in a replay or a simulated past for example; "
                "--clock event goes by the events' own times"
                if question.known_by == "append"
                else "are of later; give a later --at"
            )
        )
    if not answer.site_events:
        since = "" if from_ms is None else f" since {_when(from_ms)}"
        raise CommandError(
            f"no event of site {question.site!r} in partition {partition} of {EVENTS}{since}; "
            "check the site's name, and the partitioner of its producer with `labelwatch doctor`"
        )
    return answer


# --- for people


def summary(answer: Explanation, policy: Policy) -> Iterator[str]:
    """The figure in a few lines."""
    first, last = answer.question.panes(answer.at_ms)
    yield answer.question.metric
    yield f"window: events from {_when(first)} to {_when(min(answer.at_ms, last))}"
    yield _figure(answer, policy)
    if answer.left_out:
        yield "not counted: " + ", ".join(f"{n:,} {reason}" for reason, n in answer.left_out.most_common())
    if answer.later:
        yield f"not known yet then: {answer.later:,} later events of the site that were read"


def _figure(answer: Explanation, policy: Policy) -> str:
    n, total = answer.n, answer.total
    if answer.question.figure == "labels":
        return f"labels: {n:,}"
    if answer.question.figure == "handle":
        return f"labels with a handling time: {n:,}; mean {total / n / 1000:.3f} s" if n > 0 else "no handling time"
    least = policy.resolve(site=answer.question.site).min_reviews
    counts = f"reviews: {n:,}; correct: {total:,}"
    if n < least:
        return f"{counts}; not enough data for a ratio (min_reviews {least})"
    (lower,), (upper,) = wilson(np.array([total]), np.array([n]))
    return f"{counts}; ratio {total / n:.6f}; 95% interval {lower:.6f} to {upper:.6f}"


#: Columns of the table, and which value of an item each shows.
_COLUMNS = (
    FoldedColumn("at (UTC)"),
    FoldedColumn("agent", folds=True),
    FoldedColumn("project", folds=True, goes=1),
    FoldedColumn("task", folds=True, goes=2),
    FoldedColumn("label", folds=True, goes=5),
    FoldedColumn("expected", folds=True, goes=6),
    FoldedColumn("reviewer", folds=True, goes=7),
    FoldedColumn("error type", folds=True, goes=4),
    FoldedColumn("SOP version", folds=True, goes=8),
    FoldedColumn("market", folds=True, goes=9),
    FoldedColumn("event", folds=True, goes=3),
    FoldedColumn("", folds=True, goes=10),
)


def plain_lines(answer: Explanation, items: Sequence[Item], policy: Policy) -> Iterator[str]:
    """For scripts: `#` lines, then with tabs between event id, at, agent, project, task, value, and the context.

    The value is true or false for a review, seconds for a label; a minus takes out an event that was not read. The
    context is label, expected, reviewer, error types, SOP version, market, note. Control and bidirectional characters
    are escaped; a text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    for line in summary(answer, policy):
        yield f"# {visible(line)}"
    for item in items:
        sign = "-" if item.weight < 0 else ""
        value = f"{sign}{_value(item, answer.question)}"
        work = map(cell, (item.agent, item.project, item.task))
        yield "\t".join((cell(item.event_id), str(item.at), *work, value, *map(cell, (*_context(item), item.note))))


def print_answer(answer: Explanation, items: Sequence[Item], policy: Policy, console: Console) -> None:
    """For reading: the figure, and a table that keeps every column at any width."""
    for line in summary(answer, policy):
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
    value = "correct" if answer.question.figure == "accuracy" else "seconds"
    columns = (*_COLUMNS[:1], FoldedColumn(value, right=True), *_COLUMNS[1:])
    rows = [_row(item, answer.question) for item in items]
    # A column that is empty everywhere says nothing.
    used = [place for place in range(len(columns)) if place < 2 or any(row[place].plain for row in rows)]
    for part in fold.lines(
        [columns[place] for place in used], [[row[place] for place in used] for row in rows], console.width
    ):
        console.print(part)


def _row(item: Item, question: Question) -> list[Text]:
    style = "bold #E69F00" if question.figure == "accuracy" and not item.value else ""
    note = ("takes out one that was not read, " if item.weight < 0 else "") + item.note
    label, expected, reviewer, error_type, sop_version, market = _context(item)
    whose = (item.agent, item.project, item.task, label, expected, reviewer, error_type, sop_version, market)
    cells = (_when(item.at).removesuffix(" UTC"), _value(item, question), *whose, item.event_id, note)
    return [Text(visible(cell), style=style) for cell in cells]


def _context(item: Item) -> tuple[str, ...]:
    return item.label, item.expected, item.reviewer, item.error_type, item.sop_version, item.market


def _value(item: Item, question: Question) -> str:
    if question.figure == "accuracy":
        return "true" if item.value else "false"
    return "" if item.value < 0 else f"{item.value / 1000:.3f}"


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

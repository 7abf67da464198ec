"""From facts and what is remembered to canonical events and what to remember: pure, the same however facts were seen.

The only place that decides what an annotation's new state means. A hook, its repetition, a hook that came late and a
listing of the reconciler are all one thing here: a state that is compared with the remembered one. What does not differ
gives no event, so that whatever is seen twice counts once, and what no hook has reported counts when it is seen first.

Rules:

- An annotation counts when it was handed in (`created_at`), for whom the tool names (`completed_by`), at the site of
  the roster. Later corrections go to the same person and site, whatever the roster says by then.
- An older state than the remembered one changes nothing.
- A task's ground truth is gold from the moment at which it was set, for annotations that are handed in later. It stays
  so until it is unset, deleted or followed by another one. Its verdicts stand after that.
- A verdict follows the label that it is of, and the gold's own label: both are compared again when either changes.
  A skipped or deleted annotation's verdict is void.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from schemas.events import (
    Event,
    LabelReviewed,
    LabelRevised,
    LabelSubmitted,
    LabelVersion,
    ReviewRevised,
    ReviewVersion,
)
from streams.ingest.facts import Deleted, Fact, Observed, SweepWanted, TaskDeleted, TaskListed


class Verdict(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What gold said of an annotation.

    Attributes:
        gold: The gold annotation's id.
        expected: Its label.
        correct: Whether the labels are the same.
        at_us: When the annotation met the gold, epoch microseconds.
    """

    gold: int
    expected: str | None
    correct: bool
    at_us: int


class Remembered(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True, gc=False):
    """What has been counted of an annotation, and so can be taken back.

    Attributes:
        created_us: As observed.
        updated_us: Of the newest state that was seen.
        task_created_us: As observed.
        site: Where it counted.
        agent: For whom.
        label: As counted last.
        handle_ms: As counted last.
        skipped: As counted last.
        deleted: Whether it is gone: kept, so that a late or repeated hook does not bring it back.
        gold_from_us: When it became its task's ground truth; 0: it never was.
        gold_until_us: When it ceased to be; 0: it still is.
        verdict: What gold says of it; None: nothing.
    """

    created_us: int
    updated_us: int
    task_created_us: int
    site: str
    agent: str
    label: str | None = None
    handle_ms: int | None = None
    skipped: bool = False
    deleted: bool = False
    gold_from_us: int = 0
    gold_until_us: int = 0
    verdict: Verdict | None = None

    def is_gold_at(self, us: int) -> bool:
        """Whether it was its task's ground truth at a time."""
        return 0 < self.gold_from_us < us and not 0 < self.gold_until_us <= us


class Place(NamedTuple):
    """Where an annotation is."""

    project: int
    task: int


class Memory(Protocol):
    """What is remembered; reads see what was put before."""

    def get(self, annotation: int) -> tuple[Place, Remembered] | None:
        """An annotation, with its place."""
        ...

    def of_task(self, place: Place) -> dict[int, Remembered]:
        """All annotations of a task."""
        ...

    def put(self, annotation: int, place: Place, remembered: Remembered) -> None:
        """Keeps an annotation."""
        ...

    def want_sweep(self, project: int) -> None:
        """Keeps that a project is to be looked at whole."""
        ...


class RosterEntry(NamedTuple):
    """Who a user of the tool is here."""

    site: str
    agent: str


class Ledger:
    """Takes facts in the order in which they come.

    Args:
        memory: What is remembered.
        source: The tool's name, with which every id begins: two tools' ids never meet.
        person_of: Who a user is.
    """

    def __init__(self, memory: Memory, source: str, person_of: Callable[[int | None], RosterEntry]) -> None:
        self._memory = memory
        self._source = source
        self._person_of = person_of
        self._events: list[Event] = []

    def take(self, fact: Fact, seen_us: int) -> list[Event]:
        """What a fact changes.

        Args:
            fact: As read.
            seen_us: When it was seen, epoch microseconds: of a deletion nobody knows more.

        Returns:
            Events, in the order in which they must be written; none where all of it was known.
        """
        self._events = []
        if isinstance(fact, Observed):
            self._observe(fact, seen_us)
        elif isinstance(fact, Deleted):
            self._delete(fact.annotation, seen_us)
        elif isinstance(fact, SweepWanted):
            self._memory.want_sweep(fact.project)
        elif isinstance(fact, TaskDeleted):
            self._keep_only(Place(fact.project, fact.task), set(), seen_us)
        else:
            self._list(fact, seen_us)
        return self._events

    def _list(self, fact: TaskListed, seen_us: int) -> None:
        # In the order in which they were handed in, as their hooks would have come.
        for annotation in sorted(fact.annotations, key=lambda each: each.created_us):
            self._observe(annotation, seen_us)
        kept = {each.annotation for each in fact.annotations}
        self._keep_only(Place(fact.project, fact.task), kept, seen_us, fact.until_us)

    def _keep_only(self, place: Place, kept: set[int], seen_us: int, until_us: int | None = None) -> None:
        for annotation, each in sorted(self._memory.of_task(place).items()):
            # A hook may have come while the listing was on its way, of an annotation that is newer than the listing.
            if annotation not in kept and (until_us is None or each.updated_us <= until_us):
                self._delete(annotation, seen_us)

    def _observe(self, seen: Observed, seen_us: int) -> None:
        found = self._memory.get(seen.annotation)
        if found is not None and found[1].created_us != seen.created_us:
            # Another annotation under the same id: only a newer one is news.
            if seen.created_us < found[1].created_us:
                return
            self._delete(seen.annotation, seen.created_us)
            found = None
        if found is None:
            self._submit(seen, seen_us)
        elif not found[1].deleted and seen.updated_us >= found[1].updated_us:
            self._revise(seen, found[1], seen_us)

    def _submit(self, seen: Observed, seen_us: int) -> None:
        site, agent = self._person_of(seen.completed_by)
        label_id = self._label_id(seen.annotation, seen.created_us)
        new = Remembered(
            created_us=seen.created_us,
            updated_us=seen.updated_us,
            task_created_us=seen.task_created_us,
            site=site,
            agent=agent,
            label=seen.label,
            handle_ms=seen.handle_ms,
            skipped=seen.skipped,
        )
        self._events.append(
            LabelSubmitted(
                event_id=f"{label_id}-submitted",
                at=seen.created_us // 1000,
                site_id=site,
                agent_id=agent,
                project_id=str(seen.project),
                task_id=str(seen.task),
                label=seen.label,
                handle_ms=seen.handle_ms,
                skipped=seen.skipped or None,
                label_id=label_id,
            )
        )
        place = Place(seen.project, seen.task)
        self._memory.put(seen.annotation, place, new)
        self._settle_gold(seen, place, seen_us)
        self._judge(place, seen.annotation, seen.created_us)

    def _revise(self, seen: Observed, old: Remembered, seen_us: int) -> None:
        was = LabelVersion(old.label, old.handle_ms, old.skipped or None)
        now = LabelVersion(seen.label, seen.handle_ms, seen.skipped or None)
        place = Place(seen.project, seen.task)
        new = msgspec.structs.replace(
            old, updated_us=seen.updated_us, label=seen.label, handle_ms=seen.handle_ms, skipped=seen.skipped
        )
        if was != now:
            cause = "unskipped" if old.skipped and not seen.skipped else "updated"
            by = None if seen.updated_by in (None, seen.completed_by) else self._person_of(seen.updated_by).agent
            self._revised(seen.annotation, place, old, now, cause, seen.updated_us, by)
        self._memory.put(seen.annotation, place, new)
        self._settle_gold(seen, place, seen_us)
        self._judge(place, seen.annotation, seen.updated_us)

    def _delete(self, annotation: int, at_us: int) -> None:
        found = self._memory.get(annotation)
        if found is None:
            # Its other hooks may still come, late: they are of before.
            gone = Remembered(at_us, at_us, 0, "", "", deleted=True)
            self._memory.put(annotation, Place(0, 0), gone)
            return
        place, old = found
        if old.deleted:
            return
        # By another clock than the annotation's own times.
        at_us = max(at_us, old.updated_us)
        self._revised(annotation, place, old, None, "deleted", at_us, None)
        open_gold = old.gold_from_us and not old.gold_until_us
        gone = msgspec.structs.replace(
            old, updated_us=at_us, deleted=True, gold_until_us=at_us if open_gold else old.gold_until_us
        )
        self._memory.put(annotation, place, gone)
        self._judge(place, annotation, at_us)

    def _revised(
        self,
        annotation: int,
        place: Place,
        old: Remembered,
        new: LabelVersion | None,
        cause: str,
        at_us: int,
        by: str | None,
    ) -> None:
        label_id = self._label_id(annotation, old.created_us)
        self._events.append(
            LabelRevised(
                event_id=f"{label_id}-{cause}-{at_us}" if new is not None else f"{label_id}-deleted",
                at=at_us // 1000,
                site_id=old.site,
                label_id=label_id,
                agent_id=old.agent,
                project_id=str(place.project),
                task_id=str(place.task),
                submitted_at=old.created_us // 1000,
                old=LabelVersion(old.label, old.handle_ms, old.skipped or None),
                new=new,
                cause=cause,  # type: ignore[arg-type]  # one of the three: both callers are here
                by=by,
            )
        )

    def _settle_gold(self, seen: Observed, place: Place, seen_us: int) -> None:
        """Notes since when an annotation is gold, and until when: one of a task at a time, as the tool has it."""
        _, mine = self._known(seen.annotation)
        is_open = mine.gold_from_us > 0 and not mine.gold_until_us
        if not seen.gold and is_open:
            # The tool unsets the one before without a hook, and without a new time.
            until = seen.updated_us if seen.updated_us > mine.gold_from_us else max(seen_us, seen.updated_us)
            self._memory.put(seen.annotation, place, msgspec.structs.replace(mine, gold_until_us=until))
        if not seen.gold or is_open or 0 < seen.updated_us <= mine.gold_until_us:
            return
        since, until = seen.updated_us, 0
        for annotation, other in self._task(place, mine).items():
            if annotation == seen.annotation or not other.gold_from_us:
                continue
            if other.gold_from_us > since:
                until = min(until or other.gold_from_us, other.gold_from_us)
            elif not 0 < other.gold_until_us <= since:
                self._memory.put(annotation, place, msgspec.structs.replace(other, gold_until_us=since))
        gold = msgspec.structs.replace(mine, gold_from_us=since, gold_until_us=until)
        self._memory.put(seen.annotation, place, gold)

    def _judge(self, place: Place, changed: int, at_us: int) -> None:
        """Compares with gold whatever the change of one annotation can have made right, wrong or void."""
        _, mine = self._known(changed)
        task = self._task(place, mine)
        for annotation, each in task.items() if mine.gold_from_us else ((changed, mine),):
            if each.verdict is None:
                self._meet(annotation, each, task, place, changed, at_us)
            else:
                self._compare_again(annotation, each, each.verdict, task, place, changed, at_us)

    def _meet(
        self, annotation: int, mine: Remembered, task: dict[int, Remembered], place: Place, changed: int, at_us: int
    ) -> None:
        is_gold = mine.gold_from_us and not mine.gold_until_us
        if mine.deleted or mine.skipped or is_gold:
            return
        found = _gold_of(annotation, mine, task)
        if found is None:
            return
        gold, expected = found, task[found].label
        # A skip that was taken back meets the gold then; all others when they are handed in.
        met_us = at_us if annotation == changed else mine.created_us
        verdict = Verdict(gold, expected, mine.label == expected, met_us)
        review_id = self._review_id(annotation, mine, verdict)
        self._events.append(
            LabelReviewed(
                event_id=review_id,
                at=met_us // 1000,
                site_id=mine.site,
                agent_id=mine.agent,
                project_id=str(place.project),
                task_id=str(place.task),
                correct=verdict.correct,
                label=mine.label,
                expected=expected,
                labeled_at=mine.created_us // 1000,
                label_id=self._label_id(annotation, mine.created_us),
                source="gold",
            )
        )
        self._memory.put(annotation, place, msgspec.structs.replace(mine, verdict=verdict))

    def _compare_again(
        self,
        annotation: int,
        mine: Remembered,
        verdict: Verdict,
        task: dict[int, Remembered],
        place: Place,
        changed: int,
        at_us: int,
    ) -> None:
        # Another one where it was set before the annotation was handed in, and was heard of only now.
        number = _gold_of(annotation, mine, task) or verdict.gold
        gold = task.get(number)
        is_settled = number == verdict.gold and (gold is None or gold.deleted or gold.gold_until_us > 0)
        expected = verdict.expected if gold is None or is_settled else gold.label
        void = mine.deleted or mine.skipped
        correct = mine.label == expected
        if not void and (number, expected, correct) == (verdict.gold, verdict.expected, verdict.correct):
            return
        if void or correct != verdict.correct:
            review_id = self._review_id(annotation, mine, verdict)
            own = "reviewer" if annotation == changed else "audit"
            self._events.append(
                ReviewRevised(
                    event_id=f"{review_id}-{changed}-{at_us}",
                    at=at_us // 1000,
                    site_id=mine.site,
                    review_id=review_id,
                    agent_id=mine.agent,
                    project_id=str(place.project),
                    task_id=str(place.task),
                    reviewed_at=verdict.at_us // 1000,
                    old=ReviewVersion(verdict.correct, source="gold"),
                    new=None if void else ReviewVersion(correct, source="gold"),
                    cause="void" if void else own,  # type: ignore[arg-type]  # one of the three above
                )
            )
        after = None if void else Verdict(number, expected, correct, verdict.at_us)
        self._memory.put(annotation, place, msgspec.structs.replace(mine, verdict=after))

    def _known(self, annotation: int) -> tuple[Place, Remembered]:
        found = self._memory.get(annotation)
        assert found is not None, "put a moment ago"
        return found

    def _task(self, place: Place, mine: Remembered) -> dict[int, Remembered]:
        """The annotations of this task, without those of an older one that had its id."""
        return {
            annotation: each
            for annotation, each in sorted(self._memory.of_task(place).items())
            if each.task_created_us == mine.task_created_us
        }

    def _label_id(self, annotation: int, created_us: int) -> str:
        return f"{self._source}-{annotation}-{created_us}"

    def _review_id(self, annotation: int, mine: Remembered, verdict: Verdict) -> str:
        return f"{self._label_id(annotation, mine.created_us)}-gold-{verdict.at_us}"


def _gold_of(annotation: int, mine: Remembered, task: dict[int, Remembered]) -> int | None:
    """The gold that an annotation met when it was handed in: the newest of its task by then."""
    golds = [
        (other.gold_from_us, number)
        for number, other in task.items()
        if number != annotation and other.is_gold_at(mine.created_us)
    ]
    return max(golds)[1] if golds else None

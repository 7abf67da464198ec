"""Holds reviews back from drift detection until their label is old enough: only then is the review ripe, and counts.

Where errors are confirmed days later than correct work, the first verdicts on a day's labels are the good ones, and
each weekend looks like a change. With a hold, all verdicts on a day's labels are there when the day is evaluated.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping

import msgspec

from schemas.events import LabelReviewed, ReviewRevised
from streams.engine.batch import EventBatch, column
from streams.engine.intake import Intake
from streams.engine.panes import Slot
from streams.engine.times import why_not_time

#: The most reviews that a partition holds; beyond it those that are due first are let go early, and counted.
HELD_MAX = 200_000
_PREFIX = b"drift|held"
#: Numbers of reviews in one slot.
_CHUNK = 256

#: Site, agent, task and time of a review, by which a revision names it.
_Verdict = tuple[str, str, str, int]


class _Header(msgspec.Struct):
    newest_ms: int
    number: int


class Hold:
    """Holds reviews until their label has a certain age. The clock is the newest time of the reviews themselves.

    Args:
        hold_ms: Age of a label at which its review counts, ms; 0 holds nothing.
        removed: Sites whose reviews are dropped at a restore.
    """

    def __init__(self, hold_ms: int, removed: Collection[str] = ()) -> None:
        self._hold_ms = hold_ms
        self._removed = frozenset(removed)
        self._newest_ms = 0
        self._number = 0
        #: By number in the order of arrival: when it is ripe (epoch ms), and the review.
        self._held: dict[int, tuple[int, LabelReviewed]] = {}
        #: A heap of (when ripe, number), the first to become ripe in front. Numbers no longer held are skipped.
        self._ripest: list[tuple[int, int]] = []
        self._number_of: dict[_Verdict, int] = {}
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def holds(self) -> bool:
        """Whether a batch must keep the events of its reviews: a hold is set, or reviews of an earlier one are left."""
        return bool(self._hold_ms or self._held)

    def take(self, batch: EventBatch, intake: Intake) -> EventBatch:
        """Holds a batch's reviews, and lets go those that are ripe by now.

        After each review all that are ripe at the newest time so far are let go, the first to become ripe first. So
        the order does not depend on how the log is cut into batches.

        Args:
            batch: The newest batch.
            intake: Makes a batch of the reviews that are let go.

        Returns:
            The batch itself where there is no hold. Else a batch with the same labels, and with the ripe reviews;
            `clock_ms` is when each was let go. Revisions of reviews that are still held are left out: the review is
            changed here, or dropped where it is void.
        """
        if not self.holds:
            return batch
        ripe: list[LabelReviewed] = []
        clock: list[int] = []
        revised: list[tuple[int, ReviewRevised]] = []
        revisions = iter([*batch.revised, None])
        following = next(revisions)
        for place in range(len(batch.to_hold) + 1):
            while following is not None and following[0] <= place:
                if not self._revise(following[1]):
                    revised.append((len(ripe), following[1]))
                following = next(revisions)
            if place < len(batch.to_hold):
                if not self._add(batch.to_hold[place]):
                    intake.tally.add("hold_skipped")
                while self._ripest and (self._ripest[0][0] <= self._newest_ms or len(self._held) > HELD_MAX):
                    ripe_ms, number = heapq.heappop(self._ripest)
                    if number in self._held:
                        if ripe_ms > self._newest_ms:
                            intake.tally.add("hold_skipped")
                        ripe.append(self._drop(number))
                        clock.append(self._newest_ms)
        released = intake.again(ripe)
        released.labels, released.revised, released.clock_ms = batch.labels, revised, column(clock)
        return released

    def _add(self, event: LabelReviewed) -> bool:
        """Takes a review; False where a hold is set but the age of the label is unknown: it is then ripe at once."""
        self._newest_ms = max(self._newest_ms, event.at)
        self._number += 1
        labeled_at = event.labeled_at
        if labeled_at is not None and why_not_time(labeled_at, event.at):
            labeled_at = None
        self._put(self._number, 0 if labeled_at is None else labeled_at + self._hold_ms, event)
        self._changed.add(self._number // _CHUNK)
        return labeled_at is not None or not self._hold_ms

    def _put(self, number: int, ripe_ms: int, event: LabelReviewed) -> None:
        self._held[number] = (ripe_ms, event)
        self._number_of[event.site_id, event.agent_id, event.task_id, event.at] = number
        heapq.heappush(self._ripest, (ripe_ms, number))

    def _drop(self, number: int) -> LabelReviewed:
        _, event = self._held.pop(number)
        verdict = (event.site_id, event.agent_id, event.task_id, event.at)
        if self._number_of[verdict] == number:
            del self._number_of[verdict]
        self._changed.add(number // _CHUNK)
        return event

    def _revise(self, revision: ReviewRevised) -> bool:
        """Changes or drops the review that a revision is of, if it is held; returns whether it was."""
        verdict = (revision.site_id, revision.agent_id, revision.task_id, revision.reviewed_at)
        number = self._number_of.get(verdict)
        if number is None:
            return False
        if revision.new is None:
            self._drop(number)
        else:
            ripe_ms, event = self._held[number]
            self._held[number] = (ripe_ms, msgspec.structs.replace(event, correct=revision.new.correct))
            self._changed.add(number // _CHUNK)
        return True

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """The chunks that have changed since the last call; a chunk without held reviews is deleted."""
        if not self._changed:
            return
        for chunk in sorted(self._changed):
            numbers = range(chunk * _CHUNK, (chunk + 1) * _CHUNK)
            held = [(number, *self._held[number]) for number in numbers if number in self._held]
            yield b"%s|%d" % (_PREFIX, chunk), msgspec.msgpack.encode(held) if held else None
        self._changed.clear()
        yield _PREFIX + b"|header", msgspec.msgpack.encode(_Header(self._newest_ms, self._number))

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty hold from its slots, by key."""
        packed = slots.get(_PREFIX + b"|header")
        if packed is None:
            return
        header = msgspec.msgpack.decode(packed, type=_Header)
        self._newest_ms, self._number = header.newest_ms, header.number
        for key, value in slots.items():
            if key.startswith(_PREFIX) and not key.endswith(b"|header"):
                for held in msgspec.msgpack.decode(value, type=list[tuple[int, int, LabelReviewed]]):
                    if held[2].site_id not in self._removed:
                        self._put(*held)

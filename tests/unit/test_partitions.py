"""The rules on which exactness rests, without a broker: what is applied, what is dropped, what is opened again."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import KafkaConnectionError

from schemas.policy import Policy
from streams.engine.partition import Checkpoint, PartitionEngine
from streams.exporter import MonitorState
from streams.runtime.broker import WorkerRefusal
from streams.runtime.checkpoint_layout import Restored
from streams.runtime.checkpoints import DeadLettersRefused, Fenced
from streams.runtime.ends import LogEnds
from streams.runtime.failures import PartitionFailures
from streams.runtime.fetched import FetchedBatch
from streams.runtime.open_partition import DEAD_LETTERS_PENDING
from streams.runtime.partitions import Partitions
from streams.runtime.settings import Settings


class Record(NamedTuple):
    offset: int
    value: bytes | None
    timestamp: int = 1_763_800_000_000
    key: bytes | None = b"manila-1"


class Disk:
    """What the stores of a test share: the state that is durable, and the errors that writes meet."""

    def __init__(self) -> None:
        self.slots: dict[bytes, bytes] = {}
        self.manifest: bytes | None = None
        self.errors: list[BaseException] = []
        self.restores = 0
        self.letters: list[int] = []
        self.proofs = True
        self.nothing_counts = False

    def store(self, partition: int) -> "FakeStore":
        return FakeStore(self)


class FakeStore:
    at = "labelwatch-main-checkpoints"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    @property
    def nothing_counts(self) -> bool:
        return self._disk.nothing_counts

    async def start(self) -> None:
        self._disk.restores += 1

    async def restore(self) -> Restored:
        return Restored(dict(self._disk.slots), self._disk.manifest, len(self._disk.slots))

    async def write(self, checkpoint: Checkpoint) -> None:
        await asyncio.sleep(0)
        if self._disk.errors:
            raise self._disk.errors.pop(0)
        for key, value in checkpoint.slots:
            if value is None:
                self._disk.slots.pop(key, None)
            else:
                self._disk.slots[key] = value
        self._disk.manifest = checkpoint.manifest
        self._disk.letters += [letter.offset for letter in checkpoint.dead_letters]

    async def prove(self) -> bool:
        return self._disk.proofs and self._disk.manifest is not None

    async def close(self) -> None:
        pass


class FakeConsumer:
    """A log of one partition whose records are handed over when the test says so."""

    def __init__(self) -> None:
        self.begin, self.end = 0, 1_000_000
        #: Where an open transaction begins.
        self.stable: int | None = None
        self.opened: list[int] = []
        self.epoch = 0
        self.is_open = False
        self.member = True

    async def prove(self) -> bool:
        return self.member

    async def log_bounds(self, partition: int) -> tuple[int, LogEnds]:
        return self.begin, LogEnds(self.end if self.stable is None else self.stable, self.end)

    async def open_at(self, partition: int, offset: int) -> bool:
        self.opened.append(offset)
        self.epoch += 1
        self.is_open = True
        return True

    def close_partition(self, partition: int) -> None:
        self.is_open = False

    def is_current(self, batch: FetchedBatch) -> bool:
        return self.is_open and batch.epoch == self.epoch

    def reached(self, partition: int, expected: int) -> int:
        return expected

    async def commit_for_show(self, positions: dict[int, int]) -> bool:
        return True


class Bench:
    """Partitions on fakes, with what they did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: Policy | None = None, **settings: Any) -> None:
        self.disk = Disk()
        self.consumer = FakeConsumer()
        self.state = MonitorState()
        self.failures: list[tuple[int, str]] = []
        self.policy = Policy.load(None) if policy is None else policy
        monkeypatch.setattr("streams.runtime.failures._FIRST_RETRY_SECONDS", 0.001)
        self.partitions = Partitions(
            Settings.resolve(environ={}, session_timeout_seconds=0.01, **settings),
            self.policy,
            self.state,
            partitions=1,
            transactional=True,
            new_store=self.disk.store,  # type: ignore[arg-type]  # the double
            fail=lambda code, why: self.failures.append((code, why)),
        )
        self.partitions.attach(self.consumer)  # type: ignore[arg-type]  # the double

    async def assign(self) -> None:
        before = len(self.consumer.opened)
        self.partitions.assigned({0}, 1)
        await until(lambda: len(self.consumer.opened) > before and bool(self.partitions.positions()))

    async def take(
        self,
        *offsets: int,
        follows: int | None = None,
        epoch: int | None = None,
        bad: bool = False,
        site: str = "manila-1",
    ) -> None:
        records = [Record(offset, b"{" if bad else label(offset, site)) for offset in offsets]
        await self.partitions.take(
            FetchedBatch(
                0,
                self.consumer.epoch if epoch is None else epoch,
                offsets[0] - 1 if follows is None else follows,
                records,
            )
        )

    async def write_again(self) -> None:
        """As the ticker does when the time has come."""
        await self.partitions._checkpoint(self.partitions._owned[0], now=True)

    @property
    def expected(self) -> int:
        return self.partitions.positions()[0]

    def durable(self) -> PartitionEngine:
        return PartitionEngine.restore(0, Policy.load(None), self.disk.slots, self.disk.manifest)


@asynccontextmanager
async def bench(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Bench]:
    made = Bench(monkeypatch, **settings)
    await made.assign()
    yield made
    await made.partitions.close(1.0)


def label(offset: int, site: str = "manila-1") -> bytes:
    event = {
        "type": "label_submitted",
        "event_id": str(offset),
        "at": 1_763_800_000_000,
        "site_id": site,
        "agent_id": "a",
        "project_id": "p",
        "task_id": "t",
    }
    return json.dumps(event).encode()


def labels(engine: PartitionEngine) -> float:
    engine.committed(engine.checkpoint())
    return sum(value for _, value in engine.figures(1_763_800_000_000).samples.get("labelwatch_labels_total", ()))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


async def test_batches_in_their_order_are_applied_and_the_end_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0, 1, 2)
        await made.take(3)
        assert made.expected == 4
        assert made.disk.manifest is None
    assert labels(made.durable()) == 4
    assert made.failures == []


async def test_a_gap_that_holds_no_record_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0)
        await made.take(7, follows=0)
        assert made.expected == 8
        assert made.consumer.opened == [0]


async def test_a_missing_batch_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0, 1)
        lost_epoch = made.consumer.epoch
        await made.take(5, 6)
        assert made.consumer.opened == [0, 2], "the flow starts again where the partition stands"
        await made.take(7, epoch=lost_epoch)
        await made.take(2, epoch=lost_epoch)
        assert made.expected == 2, "what comes from before the seek is not looked at"
        await made.take(2, 3, 4, 5, 6)
        assert made.expected == 7
    assert labels(made.durable()) == 7


async def test_records_that_came_before_are_not_applied_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0, 1, 2)
        await made.take(1, 2, 3, 4)
        await made.take(0, 1)
        assert made.expected == 5
    assert labels(made.durable()) == 5


async def test_what_retention_deleted_is_counted_once_and_with_the_records_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0, 1)
        made.consumer.begin = 10
        await made.take(10)
        assert made.expected == 2, "the first time it may be a batch that was lost on the way"
        await made.take(10)
        assert made.expected == 11
    engine = made.durable()
    assert engine.figures(0).samples["labelwatch_lost_records_total"][0][1] == 8
    assert labels(engine) == 3


async def test_a_checkpoint_that_failed_before_its_commit_goes_out_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench(monkeypatch, checkpoint_records=2) as made:
        made.state.prove_membership(float("inf"))
        made.consumer.end = 0
        made.state.caught_up(0)
        made.disk.nothing_counts = True
        made.disk.errors = [KafkaConnectionError(), DeadLettersRefused("too large")]
        await made.take(0, 1)
        await until(lambda: len(made.disk.errors) == 1)
        await made.take(2, bad=True)
        await made.write_again()
        assert made.disk.errors == []
        assert made.state.shown().engines
        await made.take(3, 4)
        await made.write_again()
        assert made.disk.manifest is not None
        assert made.consumer.opened == [0], "nothing is read again"
    assert made.disk.letters == [2]
    assert labels(made.durable()) == 4


async def test_a_partition_that_may_be_anothers_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch, checkpoint_records=2) as made:
        made.disk.nothing_counts = True
        made.disk.errors = [KafkaConnectionError()]
        await made.take(0, 1)
        await until(lambda: not made.disk.errors)
        made.consumer.member = False
        await made.write_again()
        assert made.disk.manifest is None
        made.consumer.member = True
        await made.write_again()
        assert made.disk.manifest is not None


async def test_a_checkpoint_that_fails_in_its_commit_drops_the_engine_and_restores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench(monkeypatch, checkpoint_records=2) as made:
        await made.take(0, 1)
        await until(lambda: made.disk.manifest is not None)
        made.disk.errors = [KafkaConnectionError()]
        await made.take(2, 3)
        await until(lambda: made.consumer.opened == [0, 2] and bool(made.partitions.positions()))
        assert made.disk.restores == 2
        assert made.expected == 2, "the records are read again, since nobody knows what was written"
        await made.take(2, 3)
    assert labels(made.durable()) == 4


@pytest.mark.parametrize("error", [Fenced("by another"), DeadLettersRefused("too large"), TimeoutError()])
async def test_no_figures_while_a_partition_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async with bench(monkeypatch, checkpoint_records=1) as made:
        made.state.prove_membership(float("inf"))
        made.consumer.end = 0
        made.state.caught_up(0)
        assert made.state.shown().engines
        made.disk.errors = [error]
        await made.take(0)
        await until(lambda: not made.state.shown().engines)
        assert not made.consumer.is_open or len(made.consumer.opened) == 2
        await until(lambda: made.consumer.opened == [0, 0])


async def test_many_changed_slots_are_a_reason_for_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch, checkpoint_seconds=3600) as made:
        await made.take(0)
        changed = made.partitions._owned[0].engine.slots_pending
        assert changed > 0
        assert made.disk.manifest is None
        monkeypatch.setattr("streams.runtime.partitions.SLOTS_PENDING", changed)
        await made.take(1)
        await until(lambda: made.disk.manifest is not None)
        assert made.partitions._owned[0].engine.slots_pending == 0


async def test_many_dead_letters_are_written_before_more_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch, checkpoint_seconds=3600) as made:
        await made.take(*range(DEAD_LETTERS_PENDING - 1), bad=True)
        assert made.disk.letters == []
        await made.take(DEAD_LETTERS_PENDING - 1, bad=True)
        assert made.disk.letters == list(range(DEAD_LETTERS_PENDING))


async def test_few_but_large_dead_letters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.runtime.open_partition.DEAD_LETTER_BYTES_PENDING", 100)
    async with bench(monkeypatch, checkpoint_seconds=3600) as made:
        batch = FetchedBatch(0, made.consumer.epoch, -1, [Record(0, b"x" * 101)])
        await made.partitions.take(batch)
        assert made.disk.letters == [0]


async def test_a_partition_given_back_keeps_its_engine_only_if_nobody_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0, 1)
        await made.partitions.revoked()
        assert not made.partitions.positions()
        await made.take(2)
        await made.assign()
        assert made.disk.restores == 1
        assert made.expected == 2
        made.disk.proofs = False
        await made.partitions.revoked()
        await made.assign()
        assert made.disk.restores == 2
        assert made.expected == 2


async def test_a_checkpoint_that_fails_at_the_hand_over_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(0, 1)
        made.disk.errors = [KafkaConnectionError()]
        await made.partitions.revoked()
        await asyncio.sleep(0.05)
        assert made.consumer.opened == [0]
        await made.assign()
        assert made.expected == 0


async def test_an_engine_that_raises_ends_the_worker_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: PartitionEngine, records: object) -> None:
        raise ZeroDivisionError

    async with bench(monkeypatch) as made:
        await made.take(0)
        monkeypatch.setattr(PartitionEngine, "apply", broken)
        await made.take(1)
        assert [code for code, _ in made.failures] == [70]
    assert made.disk.manifest is None


async def test_a_log_that_ends_before_the_checkpoint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        await made.take(*range(10))
        await made.partitions.revoked()
        made.consumer.end = 5
        made.partitions.assigned({0}, 1)
        await until(lambda: bool(made.failures))
        assert made.failures[0][0] == 1
        assert "ends at offset 5, and the checkpoint stands at 10" in made.failures[0][1]


async def test_what_an_open_transaction_keeps_back_is_no_reason_to_wait_or_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even where an older build has read into it."""
    async with bench(monkeypatch) as made:
        await made.take(*range(10))
        await made.partitions.revoked()
        made.consumer.stable, made.consumer.end = 5, 1_000
        before = len(made.consumer.opened)
        made.partitions.assigned({0}, 1)
        await until(lambda: len(made.consumer.opened) > before and bool(made.partitions.positions()))
        await made.take(10)
        assert "caught_up" not in made.state.not_ready()
        assert made.failures == []


async def test_a_changed_number_of_partitions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(monkeypatch) as made:
        made.partitions.assigned({0, 1}, 2)
        assert made.failures[0][0] == 1
        assert "has 2 partitions now and had 1" in made.failures[0][1]


async def test_a_state_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Bench(monkeypatch)

    async def refuse(self: FakeStore) -> Restored:
        raise WorkerRefusal("no")

    monkeypatch.setattr(FakeStore, "restore", refuse)
    made.partitions.assigned({0}, 1)
    await until(lambda: made.failures == [(1, "no")])
    await made.partitions.close(1.0)


async def test_a_worker_that_is_no_member_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fence the rightful owner."""
    made = Bench(monkeypatch)
    answers = iter([False, False, True])

    async def prove() -> bool:
        return next(answers)

    made.consumer.prove = prove  # type: ignore[method-assign]  # the double
    made.partitions.assigned({0}, 1)
    await until(lambda: bool(made.partitions.positions()))
    assert list(answers) == []
    assert made.disk.restores == 1
    await made.partitions.close(1.0)


async def test_the_log_names_a_limit_once_as_it_nears_and_once_as_it_is_met(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if "[limits]" in record.getMessage()]
        caplog.clear()
        return lines

    policy = Policy.parse("[limits]\nsites = 5")
    async with bench(monkeypatch, policy=policy) as made:
        for offset in range(7):
            await made.take(offset, site=f"site-{offset}")
            await made.write_again()
            lines = said()
            if offset == 3:
                (near,) = lines
                assert near.startswith("partition=0 uses 4 of its 5 sites (80%): the limit is near; `labelwatch sites`")
                assert near.endswith("or raise sites in [limits] of the policy")
            elif offset == 4:
                (met,) = lines
                assert met.startswith(
                    "partition=0 uses 5 of its 5 sites (100%): what is new counts under other, 0 events"
                )
            else:
                assert not lines, offset


def test_a_broker_that_is_away_for_a_day_is_tried_every_fifteen_seconds() -> None:
    failures = PartitionFailures(Settings.resolve(environ={}), lambda code, why: None)
    delays = [failures.add(3) for _ in range(24 * 3600 // 15)]
    assert delays[:6] == [0.5, 1, 2, 4, 8, 15]
    assert set(delays[6:]) == {15}
    failures.over(3)
    assert failures.add(3) == 0.5

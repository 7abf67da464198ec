"""Measures lag, finds open transactions, ends a stuck worker; in a thread, so that it works while the loop hangs."""

import asyncio
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult
from aiokafka.errors import KafkaError
from kafka.errors import KafkaError as OtherKafkaError

from schemas.topics import EVENTS
from streams.exporter.state import CLOCK_OFFSET_SECONDS_MAX
from streams.runtime import logs
from streams.runtime.access import why_not
from streams.runtime.broker import TopicIds, recreated
from streams.runtime.ends import log_ends
from streams.runtime.memory import break_circle
from streams.runtime.settings import Settings

log = logging.getLogger(__name__)

#: Exit code of a stuck worker. The supervisor restarts a worker that ends with any code but 0; this one shows why.
STUCK_CODE = 70
_POLL_SECONDS = 1.0
_REQUEST_SECONDS = 5.0
#: Bytes of a fetch of one record: enough, since the broker always sends the whole batch that holds it.
_LOOK_BYTES = 1 << 16
#: How old the known number of partitions may be. aiokafka's default is five minutes, in which nobody reads new
#: partitions.
_METADATA_SECONDS = 10.0
#: A transaction that is open for longer is logged; producers end theirs within seconds.
_HELD_SECONDS = 60.0
#: How often clocks are compared.
_CLOCK_SECONDS = 10.0
#: How often the broker is asked for the topics' ids. In between, a worker may count records of a topic that was deleted
#: and created anew; the next start refuses the checkpoint that it wrote.
_IDS_SECONDS = 5.0
#: A log counts as shrunk when so many checks in a row find its end below what was applied: right after a change of
#: leader the end may be too low.
_SHRUNK_LOOKS = 3


def repartitioned(now: int, before: int) -> str:
    """A sentence for a topic whose number of partitions has changed since the worker started."""
    if not now:
        return (
            f"{EVENTS} was deleted while this worker ran, or this user may not describe it any more: create it with "
            "`labelwatch topics create`, and start a new group with --id, since this one speaks of what is gone."
        )
    return (
        f"{EVENTS} has {now} partitions now and had {before} when this worker started: sites have moved between "
        "partitions; start a new group with --id and replay."
    )


def clock_offset_seconds(before: float, after: float, appended: float) -> float:
    """By how many seconds a clock is at least ahead of the broker's; below 0: behind it.

    Args:
        before: Time of the clock when a record was not there yet, epoch seconds.
        after: Time of the clock when the record was there, epoch seconds.
        appended: Time of the broker's clock when it appended the record, epoch seconds.
    """
    return max(before - appended, 0.0) + min(after - appended, 0.0)


class WatchedWorker(Protocol):
    """What is watched; its methods are called from the watching thread."""

    def positions(self) -> dict[int, int]:
        """Partition to the offset that it waits for, of running partitions."""

    def durable(self) -> dict[int, int]:
        """Partition to the first offset that is not durable, of assigned partitions that were opened before."""

    def describe(self) -> list[str]:
        """A sentence on the state of each partition."""


class Progress:
    """Decides that a worker is stuck: lag above 0, and the same position for too long. Pure; time is passed in.

    Only readings that came from the broker count, and only running partitions: a worker that is idle,
    restoring or cut off from its broker is not stuck.

    Args:
        limit_seconds: How long is too long.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, now: float, positions: Mapping[int, int], ends: Mapping[int, int]) -> list[int]:
        """Takes one reading, and returns the partitions that are stuck.

        Args:
            now: Monotonic seconds.
            positions: Running partitions, and the offsets that they wait for.
            ends: Ends of the readable log, read after the positions.
        """
        before, self._since = self._since, {}
        stuck = []
        for partition, position in positions.items():
            if ends.get(partition, 0) <= position:
                continue
            known = before.get(partition)
            since = known[1] if known and known[0] == position else now
            self._since[partition] = (position, since)
            if now - since >= self._limit_seconds:
                stuck.append(partition)
        return stuck

    def forget(self) -> None:
        """Starts anew, since the broker did not answer: time without an answer does not count."""
        self._since.clear()


class LogWatch:
    """Reads the ends of the logs every second: reports lag and open transactions, and ends a worker that is stuck.

    Lag is counted up to the oldest open transaction. Records behind its beginning cannot be read yet: this holds up the
    figures, but is not the worker's fault, so it is reported as `held_up`.

    Args:
        settings: The worker's settings.
        watched: The partitions.
        partitions: How many partitions the events topic had when the worker started.
        topic_ids: Ids of the events topic and the checkpoint topic, by name, when the worker started.
        exact_ends: Whether the broker's log ends are exact; the embedded one answers with the start of the last batch.
        lag: Called with partition, number of records that are not durable, and age of the oldest of them in seconds.
        figures_lag: Called with partition, and age of the oldest record that was not applied, in seconds.
        clock_offset: Called with the seconds by which this machine's clock is ahead of the broker's; below 0: behind.
        held_up: Called with partition, number of records that an open transaction keeps from being read, and its age
            in seconds.
        fail: Ends the worker in good order, given an exit code and a sentence.
    """

    def __init__(
        self,
        settings: Settings,
        watched: WatchedWorker,
        *,
        partitions: int,
        topic_ids: Mapping[str, str],
        exact_ends: bool,
        lag: Callable[[int, int, float], None],
        figures_lag: Callable[[int, float], None],
        held_up: Callable[[int, int, float], None],
        clock_offset: Callable[[float], None],
        fail: Callable[[int, str], None],
    ) -> None:
        self._settings = settings
        self._watched = watched
        self._clock_offset = clock_offset
        self._clock_offset_seconds = 0.0
        self._clock_looked = -math.inf
        #: The last reading: time of this machine's clock, and log ends by partition.
        self._ends_before: tuple[float, dict[int, int]] = (0.0, {})
        self._partitions = partitions
        self._topic_ids = dict(topic_ids)
        self._asking = TopicIds(settings)
        self._asked_ids = time.monotonic()
        self._exact_ends = exact_ends
        self._lag = lag
        self._figures_lag = figures_lag
        self._held_up = held_up
        self._fail = fail
        self._progress = Progress(settings.watchdog_seconds)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labelwatch-watch", daemon=True)
        #: By partition, offset and isolation level, of records that waited at the last reading: when the record was
        #: appended, epoch seconds; and up to where it was searched for without being found yet.
        self._appended: dict[tuple[int, int, int], float] = {}
        self._passed: dict[tuple[int, int, int], int] = {}
        #: By partition, the offset of the open transaction that was logged last.
        self._reported: dict[int, int] = {}
        self._shrunk: dict[int, int] = {}

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Makes the thread end by itself; from now on it does not end the worker."""
        self._stopped.set()

    def _run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        consumer: AIOKafkaConsumer | None = None
        away_since: float | None = None
        known = False
        while not self._stopped.is_set():
            try:
                consumer = consumer or await self._connect()
                await self._look(consumer)
                await self._check_ids()
                if away_since is not None:
                    log.info("broker back after %.0f s", time.monotonic() - away_since)
                    away_since, known = None, False
            except (KafkaError, OSError, TimeoutError) as error:
                self._progress.forget()
                await self._disconnect(consumer)
                consumer = None
                # The cause may be known only later, or be another one by then: ask until there is an answer.
                why = None if known else await why_not(self._settings)
                known = known or why is not None
                if away_since is None or why is not None:
                    log.warning("broker away: %s The worker goes on when it is back", why or f"{error!r};")
                away_since = away_since or time.monotonic()
            await asyncio.sleep(_POLL_SECONDS)
        await self._disconnect(consumer)
        self._asking.close()

    async def _connect(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_LOOK_BYTES,
            request_timeout_ms=int(_REQUEST_SECONDS * 1000),
            metadata_max_age_ms=int(_METADATA_SECONDS * 1000),
            **self._settings.security(),
        )
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await consumer.start()
        except BaseException:
            await self._disconnect(consumer)
            raise
        return consumer

    async def _disconnect(self, consumer: AIOKafkaConsumer | None) -> None:
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(_REQUEST_SECONDS):
                    await consumer.stop()

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        positions, durable = self._watched.positions(), self._watched.durable()
        if not durable:
            self._progress.forget()
            return
        asked = time.time()
        async with asyncio.timeout(_REQUEST_SECONDS):
            found = await log_ends(consumer, [TopicPartition(EVENTS, partition) for partition in durable])
        ends = {tp.partition: end for tp, end in found.items()}
        stable = {partition: end.stable for partition, end in ends.items()}
        waiting = {(p, at) for each in (positions, durable, stable) for p, at in each.items() if at < ends[p].last}
        self._appended = {key: at for key, at in self._appended.items() if key[:2] in waiting}
        self._passed = {key: at for key, at in self._passed.items() if key[:2] in waiting}
        for partition, offset in durable.items():
            age = await self._age_seconds(consumer, partition, offset, stable[partition])
            self._lag(partition, max(0, stable[partition] - offset), age)
            # A partition that is halted or being opened again has applied nothing beyond what is durable.
            at = positions.get(partition, offset)
            self._figures_lag(partition, await self._age_seconds(consumer, partition, at, stable[partition]))
            await self._look_for_transaction(consumer, partition, *ends[partition])
        if self._exact_ends:
            await self._check_clock(consumer, asked, {partition: end.last for partition, end in ends.items()})
            self._check_shrunk(positions, {partition: end.last for partition, end in ends.items()})
        known = len(consumer.partitions_for_topic(EVENTS) or ())
        if known > self._partitions:
            self._fail(1, repartitioned(known, self._partitions))
            self._partitions = known  # said once
        stuck = self._progress.look(time.monotonic(), positions, stable)
        if stuck and not self._stopped.is_set():
            self._end(stuck, positions, stable)

    async def _look_for_transaction(self, consumer: AIOKafkaConsumer, partition: int, begins: int, last: int) -> None:
        """Reports the oldest open transaction, which begins where the readable log ends."""
        age = await self._age_seconds(consumer, partition, begins, last, READ_UNCOMMITTED)
        self._held_up(partition, max(0, last - begins), age)
        if age > _HELD_SECONDS and self._reported.get(partition) != begins:
            self._reported[partition] = begins
            log.warning(
                "partition=%d held up at offset=%d: a producer's transaction has been open for %.0f s, and the %d "
                "records behind it cannot be read before it ends; `labelwatch doctor` names the producer",
                partition,
                begins,
                age,
                last - begins,
            )

    async def _age_seconds(
        self, consumer: AIOKafkaConsumer, partition: int, offset: int, end: int, level: int = READ_COMMITTED
    ) -> float:
        """Age of the first record from an offset on, by its timestamp; the record is fetched once for each offset.

        0 where there is none, or it is not found yet: megabytes of rolled-back records take several attempts.
        """
        if offset >= end:
            return 0.0
        key = (partition, offset, level)
        appended = self._appended.get(key)
        if appended is None:
            record = await self._fetch(consumer, key)
            if record is None:
                return 0.0
            appended = self._appended[key] = record.timestamp / 1000
        # The record's time is of the broker's clock, so the present time must be too.
        return max(0.0, time.time() - self._clock_offset_seconds - appended)

    async def _fetch(self, consumer: AIOKafkaConsumer, key: tuple[int, int, int]) -> "ConsumerRecord[Any, Any] | None":
        """Fetches the first record from an offset on, given partition, offset and isolation level."""
        partition, offset, level = key
        tp = TopicPartition(EVENTS, partition)
        # Nothing is fetched before the next assignment, so this level holds for all of its fetches.
        consumer._fetcher._isolation_level = level
        consumer.assign([tp])
        consumer.seek(tp, self._passed.get(key, offset))
        async with asyncio.timeout(_REQUEST_SECONDS):
            records = (await consumer.getmany(tp, timeout_ms=1000, max_records=1)).get(tp)
            self._passed[key] = await consumer.position(tp)
        for answer in consumer._fetcher._records.values():
            if isinstance(answer, FetchResult) and answer._partition_records is not None:
                break_circle(answer._partition_records)
        consumer.unsubscribe()
        return records[0] if records else None

    async def _check_clock(self, consumer: AIOKafkaConsumer, asked: float, ends: dict[int, int]) -> None:
        """Compares clocks by a record that is new since the last reading: it was appended between that and now."""
        (before, known), self._ends_before = self._ends_before, (asked, ends)
        grown = [partition for partition, end in ends.items() if end > known.get(partition, end)]
        if not grown or time.monotonic() - self._clock_looked < _CLOCK_SECONDS:
            return
        key = (grown[0], known[grown[0]], READ_UNCOMMITTED)
        record = await self._fetch(consumer, key)
        self._passed.pop(key, None)
        if record is None:
            return
        self._clock_looked = time.monotonic()
        was, now = self._clock_offset_seconds, clock_offset_seconds(before, time.time(), record.timestamp / 1000)
        self._clock_offset_seconds = now
        self._clock_offset(now)
        if abs(now) > CLOCK_OFFSET_SECONDS_MAX >= abs(was):
            log.error(
                "this machine's clock is %.0f s %s the brokers': windows end at the wrong time; set it by NTP",
                abs(now),
                "ahead of" if now > 0 else "behind",
            )
        elif abs(was) > CLOCK_OFFSET_SECONDS_MAX >= abs(now):
            log.info("this machine's clock agrees with the brokers' again")

    async def _check_ids(self) -> None:
        """Ends the worker if a topic was deleted and created anew, however quickly."""
        if not self._topic_ids or time.monotonic() - self._asked_ids < _IDS_SECONDS:
            return
        self._asked_ids = time.monotonic()
        try:
            found = await asyncio.to_thread(self._asking.ask)
        except (OtherKafkaError, OSError, ValueError):
            # That the broker is away is logged where the log ends are read.
            self._asking.close()
            return
        for topic, known in self._topic_ids.items():
            if found.get(topic, known) != known:
                self._fail(1, recreated(self._settings, topic))
                self._topic_ids = {}  # said once
                return

    def _check_shrunk(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        for partition, position in positions.items():
            looks = self._shrunk[partition] = self._shrunk.get(partition, 0) + 1 if ends[partition] < position else 0
            if looks == _SHRUNK_LOOKS:
                self._fail(
                    1,
                    f"Partition {partition} of {EVENTS} ends at offset {ends[partition]}, and records up to {position} "
                    "were applied: the topic was recreated or cut; start a new group with --id and replay.",
                )

    def _end(self, stuck: list[int], positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        log.critical(
            "stuck: no progress for %g s with records waiting, partitions=%s; ending with code %d for a restart",
            self._settings.watchdog_seconds,
            ",".join(map(str, stuck)),
            STUCK_CODE,
        )
        for partition in stuck:
            log.critical(
                "partition=%d waits for offset=%d, readable to offset=%d",
                partition,
                positions[partition],
                ends[partition],
            )
        for sentence in self._watched.describe():
            log.critical("%s", sentence)
        logs.dump()
        # Not sys.exit, which would wait for what hangs. No data is lost: the next start restores.
        os._exit(STUCK_CODE)

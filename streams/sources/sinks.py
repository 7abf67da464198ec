"""Where a source's records go: a file, or Kafka, a batch at a time and paced by the wall clock."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnsupportedVersionError,
)
from aiokafka.partitioner import murmur2

from schemas.topics import EVENTS
from streams.sources.errors import SourceError

#: A batch is sent when it has waited for so long: keeps a slow source live.
_LINGER_SECONDS = 0.05
_BATCH_BYTES = 512 << 10
#: Batches under way; more would only take memory.
_IN_FLIGHT = 16
_START_SECONDS = 15.0
#: Records of a transaction: what is in an open one holds up who reads committed records, so they are short.
_TRANSACTION_RECORDS = 20_000
#: The broker ends a transaction that is open for longer, such as that of a process that was killed.
TRANSACTION_SECONDS = 30.0
#: How brokers without transactions answer. The last one also comes of others now and then, so it is tried again.
_NO_TRANSACTIONS = (IncompatibleBrokerVersion, UnsupportedVersionError, UnknownError)
_TRANSACTION_TRIES = 3


class Outgoing(NamedTuple):
    """One record: when it is due (wall clock, epoch seconds; 0 is at once), its key and its bytes."""

    due_seconds: float
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class KafkaTarget:
    """Which Kafka to write to.

    Attributes:
        bootstrap: Brokers, `host:port`, separated by commas.
        topic: Topic name.
        security: Keyword arguments of an aiokafka client for TLS and login.
        why_not: Asked when the broker does not let us in; gives a sentence, or None where it has none.
    """

    bootstrap: str
    topic: str = EVENTS
    security: dict[str, Any] = field(default_factory=dict, repr=False)
    why_not: Callable[[], Awaitable[str | None]] | None = None


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key as the Java client, kafka-python, aiokafka and Faust choose it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def write_file(path: Path, records: Iterable[Outgoing]) -> int:
    """Writes values as lines; returns how many.

    Raises:
        SourceError: The file cannot be written.
    """
    count = 0
    try:
        with path.open("wb") as file:
            for record in records:
                # A broken record may hold a line break; a line is a record.
                file.write(record.value.replace(b"\n", b" ") + b"\n")
                count += 1
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; give the path of a file that can be written") from error
    return count


class KafkaSink:
    """Writes records to Kafka in order by partition, in batches, acknowledged by all replicas.

    Args:
        target: Where to.
        only_one: A transactional id, if nobody else may write by the same one: who connects last ends all others, and
            what those have not committed does not count. None: anybody may write at the same time.
        before_commit: Called when a transaction holds everything and is not committed yet; for tests.

    Attributes:
        sent: Records written.
        is_only_one: Whether nobody else can write by that id; a broker without transactions promises nothing.
    """

    def __init__(
        self,
        target: KafkaTarget,
        only_one: str | None = None,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self._target = target
        self._before_commit = before_commit
        self._only_one = only_one
        self._in_transaction = 0
        self._has_begun = False
        self._producer: AIOKafkaProducer | None = None
        self._partitions = 0
        self._by_key: dict[bytes, int] = {}
        self._open: dict[int, tuple[Any, float]] = {}
        self._pending: set[asyncio.Future[Any]] = set()
        self.sent = 0
        self.is_only_one = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["KafkaSink"]:
        """Connects, and at the end waits until everything is acknowledged.

        Raises:
            SourceError: No broker answers, the topic does not exist, or a write is refused.
        """
        try:
            await self._connect()
            yield self
            await self.flush()
        except (KafkaError, TimeoutError, OSError) as error:
            raise SourceError(await self._sentence(error)) from error
        finally:
            if self._producer is not None:
                with contextlib.suppress(KafkaError, TimeoutError, OSError):
                    await asyncio.wait_for(self._producer.stop(), 5)

    @property
    def partitions(self) -> int:
        """How many partitions the topic has; 0 before it is connected."""
        return self._partitions

    async def _sentence(self, error: BaseException) -> str:
        target = self._target
        if isinstance(error, (ProducerFenced, InvalidProducerEpoch)):
            return (
                f"another import into {target.topic} has begun, or this one stood still for more than "
                f"{TRANSACTION_SECONDS:.0f} s, and only one may write at a time: run it again when the other one has "
                "ended; what is in the topic by then is left out"
            )
        if isinstance(error, TransactionalIdAuthorizationFailed):
            return (
                f"this user may not use transactional id {self._only_one} at {target.bootstrap}: allow it Write there; "
                "the rules to copy are in docs/security.md"
            )
        if isinstance(error, (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)):
            return f"this user may not write to {target.topic} at {target.bootstrap}: allow it Write and Describe there"
        if (why := target.why_not and await target.why_not()) is not None:
            return why.removesuffix(".")
        if isinstance(error, KafkaConnectionError):
            return f"no Kafka answers at {target.bootstrap}; start it, or check --bootstrap"
        return (
            f"cannot write to {target.topic} at {target.bootstrap}: {str(error) or type(error).__name__}; "
            "`labelwatch doctor` shows what is wrong"
        )

    async def _connect(self) -> None:
        forms = self._forms()
        for form in forms:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._target.bootstrap,
                acks="all",
                max_batch_size=_BATCH_BYTES,
                max_request_size=4 << 20,
                request_timeout_ms=10_000,
                **form,
                **self._target.security,
            )
            try:
                await asyncio.wait_for(self._producer.start(), _START_SECONDS)
                self.is_only_one = "transactional_id" in form
                break
            except KafkaError as error:
                # A broker without what is asked for (the embedded one) refuses: then more plainly.
                may_lack = _NO_TRANSACTIONS if "transactional_id" in form else KafkaError
                if form is forms[-1] or isinstance(error, KafkaConnectionError) or not isinstance(error, may_lack):
                    raise
                await self._producer.stop()
        assert self._producer is not None, "one of the forms above"
        # All topics: asking for one by its name can create it, with settings that nobody chose.
        metadata = await asyncio.wait_for(self._producer.client.fetch_all_metadata(), _START_SECONDS)
        partitions = metadata.partitions_for_topic(self._target.topic)
        if not partitions:
            # A broker does not list what a user may not describe.
            open_to_all = self._target.security.get("security_protocol", "PLAINTEXT") == "PLAINTEXT"
            raise SourceError(
                f"no topic {self._target.topic} at {self._target.bootstrap}; `labelwatch topics create` creates it"
                f"{'' if open_to_all else ', unless it is there and this user may not describe it'}"
            )
        self._partitions = len(partitions)

    def _forms(self) -> list[dict[str, Any]]:
        """Kinds of producers, the strictest first."""
        plainer: list[dict[str, Any]] = [{"enable_idempotence": True}, {"enable_idempotence": False}]
        if self._only_one is None:
            return plainer
        strict = {"transactional_id": self._only_one, "transaction_timeout_ms": int(TRANSACTION_SECONDS * 1000)}
        return [strict] * _TRANSACTION_TRIES + plainer

    async def put(self, record: Outgoing) -> None:
        """Adds a record; sends its partition's batch when full."""
        partition = self._by_key.get(record.key)
        if partition is None:
            partition = self._by_key[record.key] = partition_of(record.key, self._partitions)
        await self._append(partition, record.key, record.value)

    async def put_to_all(self, key: bytes, value: bytes) -> None:
        """Writes one record to every partition."""
        for partition in range(self._partitions):
            await self._append(partition, key, value)

    async def _append(self, partition: int, key: bytes, value: bytes) -> None:
        assert self._producer is not None
        batch, _ = self._open.get(partition) or self._new_batch(partition)
        if batch.append(key=key, value=value, timestamp=None) is None:
            await self._send(partition)
            batch, _ = self._new_batch(partition)
            # The first record of a batch may be of any size; the broker has the last word.
            batch.append(key=key, value=value, timestamp=None)
        self.sent += 1
        self._in_transaction += 1
        if self.is_only_one and self._in_transaction >= _TRANSACTION_RECORDS:
            await self.flush()

    def _new_batch(self, partition: int) -> tuple[Any, float]:
        assert self._producer is not None
        self._open[partition] = (self._producer.create_batch(), time.monotonic())
        return self._open[partition]

    async def _send(self, partition: int) -> None:
        assert self._producer is not None
        batch, _ = self._open.pop(partition)
        batch.close()
        if self.is_only_one and not self._has_begun:
            await self._producer.begin_transaction()
            self._has_begun = True
        future = await self._producer.send_batch(batch, self._target.topic, partition=partition)
        self._pending.add(future)
        if len(self._pending) >= _IN_FLIGHT:
            done, self._pending = await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()

    async def send_waiting(self) -> None:
        """Sends batches that have waited long enough."""
        old = time.monotonic() - _LINGER_SECONDS
        for partition in [partition for partition, (_, since) in self._open.items() if since <= old]:
            await self._send(partition)

    async def flush(self) -> None:
        """Sends everything and waits for the acknowledgements; ends a transaction."""
        for partition in list(self._open):
            await self._send(partition)
        pending, self._pending = self._pending, set()
        await asyncio.gather(*pending)
        if self._has_begun:
            assert self._producer is not None
            self._before_commit()
            await self._producer.commit_transaction()
            self._has_begun = False
        self._in_transaction = 0


async def pump(
    sink: KafkaSink,
    records: Iterator[Outgoing],
    progress: Callable[[int], None] | None = None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Writes records when they are due; behind time, as fast as they come.

    Args:
        sink: Where to.
        records: In order of `due_seconds`.
        progress: Called now and then with the number written, at the end with all of them.
        now: Wall clock, epoch seconds.
        sleep: Waits so many seconds.
    """
    count = 0
    for count, record in enumerate(records, 1):
        wait_seconds = record.due_seconds - now() if record.due_seconds else 0.0
        while wait_seconds > 0:
            await sink.send_waiting()
            if progress is not None:
                progress(count - 1)
            await sleep(min(wait_seconds, _LINGER_SECONDS))
            wait_seconds = record.due_seconds - now()
        await sink.put(record)
        if count % 1000 == 0:
            await sink.send_waiting()
            await sleep(0)
            if progress is not None:
                progress(count)
    if progress is not None:
        progress(count)


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Runs a sink's work on an event loop of its own."""

    async def body() -> None:
        await work()

    asyncio.run(body())

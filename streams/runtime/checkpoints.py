"""Durable state of one partition: written as one transaction, read back by the partition's next owner.

A checkpoint is all or nothing: changed slots, manifest, drift records and dead letters. If the broker has transactions,
its fencing also keeps a worker that has lost the partition from writing. If it has none (the embedded broker), the
plain form is used: every record names its checkpoint, and the manifest comes last. Records that no manifest follows do
not count, and the next checkpoint writes the values that count again. The plain form is for one worker only.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from schemas.dead_letters import dead_letter_headers
from schemas.topics import DRIFT, EVENTS, REJECTED, checkpoints_topic
from streams.engine.batch import DeadLetter
from streams.engine.partition import Checkpoint
from streams.exporter.pseudonyms import PLAIN
from streams.runtime.broker import WorkerRefusal, recreated
from streams.runtime.checkpoint_layout import (
    FORMAT,
    KEY_FINGERPRINT,
    MANIFEST_KEY,
    OWN_TOPIC_ID,
    TOPIC_ID,
    CheckpointReader,
    Header,
    Restored,
    records_of,
)
from streams.runtime.crash_point import CrashPoint
from streams.runtime.packed import OutgoingRecord, packed
from streams.runtime.settings import Settings

log = logging.getLogger(__name__)


_BATCH_BYTES = 1 << 20
_FETCH_BYTES = 4 << 20
_REQUEST_SECONDS = 10.0
#: A transaction's time-out: longer than brokers stay away (they allow up to 900 s by default). A broker that comes back
#: after it aborts the transaction before it knows who leads the partitions, and then leaves the abort out (Kafka 4.3.1:
#: "likely deleted already and hence can be skipped"), so that the next commit makes its dead letters and slots count.
#: An open transaction does no harm: the partition's next owner ends it.
_TRANSACTION_SECONDS = 600.0
#: How long to wait for the broker to end a fenced owner's transaction, which takes it moments.
_HIDDEN_SECONDS = 10.0
_CLOSE_SECONDS = 3.0

_FENCED = (ProducerFenced, InvalidProducerEpoch)


class Fenced(Exception):
    """Another producer uses this partition's transactional id by now, so this worker's state may be out of date."""


class CheckpointsHidden(TimeoutError):
    """The last checkpoint cannot be read, and an older state must not be used; the message says what to do."""


class DeadLettersRefused(Exception):
    """A dead letter could not be written, so the whole checkpoint was not; the message says why."""


def transactional_id(settings: Settings, partition: int) -> str:
    """The transactional id with which a partition's checkpoints are written; its newest user fences all others."""
    return f"{settings.group}-{partition}"


def failure(error: BaseException) -> str:
    """The `reason` of an error in `labelwatch_checkpoint_failures_total`."""
    if isinstance(error, Fenced):
        return "fenced"
    if isinstance(error, DeadLettersRefused):
        return "dead_letters"
    if isinstance(error, MessageSizeTooLargeError):
        return "too_large"
    if isinstance(error, (TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed)):
        return "not_allowed"
    if isinstance(error, UnknownTopicOrPartitionError):
        return "no_topic"
    # Any other answer of the broker; all the rest is no answer: time-outs and broken connections.
    return "refused" if isinstance(error, BrokerResponseError) else "no_answer"


def other_key(settings: Settings, theirs: str, ours: str) -> str | None:
    """A sentence for a worker whose key would give everybody a second name; None where the names are the same.

    Args:
        settings: The worker's settings.
        theirs: Fingerprint of the key in the group's checkpoints; empty in those of earlier builds.
        ours: Fingerprint of this worker's key; empty where it shows nobody.
    """
    if not theirs or not ours or theirs in (ours, settings.replaced_key):
        return None
    same = "--agent-labels plain"
    if theirs != PLAIN:
        same = "the group's key (pseudonym.key in --data-dir, or LABELWATCH_PSEUDONYM_KEY_FILE)"
    return (
        f"{checkpoints_topic(settings.id)} is of workers that name people {_named(theirs)}, and this one names them "
        f"{_named(ours)}: every person would appear twice; give it {same}, or, to change the names on purpose, start "
        f"every worker with --replaced-key {theirs}."
    )


def _named(key_fingerprint: str) -> str:
    return "by their plain ids" if key_fingerprint == PLAIN else f"by the pseudonym key {key_fingerprint}"


class CheckpointStore:
    """One partition's checkpoints.

    `start` fences every earlier owner, then `restore` reads, and `write` adds a checkpoint. After an error the store
    must be closed. If `nothing_counts` then, it may be started again, and write the same and more; else a new store
    must restore, since only the broker knows what was written.

    Args:
        settings: The worker's settings.
        partition: Number of the partition, of the events topic and of the checkpoint topic.
        partitions: How many partitions the events topic has; kept in checkpoints.
        transactional: Whether the broker has transactions.
        topic_ids: Ids of the events topic and the checkpoint topic, by name, as far as the broker shows them; kept in
            checkpoints.
        key_fingerprint: Fingerprint of the key of people's names; kept in checkpoints. Empty for a worker that shows
            nobody.
        now_ms: Wall clock, for the header `rejected-at`.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        *,
        partitions: int,
        transactional: bool,
        topic_ids: Mapping[str, str] = MappingProxyType({}),
        key_fingerprint: str = "",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.partition = partition
        self._settings = settings
        self._partitions = partitions
        self._transactional = transactional
        self._key_fingerprint = key_fingerprint
        self._now_ms = now_ms
        self._topic = checkpoints_topic(settings.id)
        self._topic_ids = {topic: topic_ids.get(topic, "") for topic in (EVENTS, self._topic)}
        self._producer: AIOKafkaProducer | None = None
        self._written = 0
        #: What is being written: a topic's name, or the commit of the transaction; for the log.
        self.at = self._topic
        #: Whether a failed write certainly left nothing that counts: its commit was never sent.
        self.nothing_counts = False
        self._session = uuid.uuid4().hex[:12]
        self._manifest: bytes | None = None
        #: Number of parts of slots that have several; a shorter new value must delete the parts that are left over.
        self._part_counts: dict[bytes, int] = {}
        #: Plain form: for keys that a half-written checkpoint has changed, the records that count.
        self._heal: dict[bytes, OutgoingRecord] = {}
        self._crash = CrashPoint.armed()

    async def start(self) -> None:
        """Connects; with transactions, also ends those of earlier owners, and fences them. Allowed after `close`."""
        transaction: dict[str, Any] = {}
        if self._transactional:
            transaction = {
                "transactional_id": transactional_id(self._settings, self.partition),
                "transaction_timeout_ms": int(_TRANSACTION_SECONDS * 1000),
            }
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap,
            acks="all",
            # Others read dead letters and drifts, and plain kafka-python can unpack gzip; our state is packed by us.
            compression_type="gzip",
            max_batch_size=_BATCH_BYTES,
            # Only the broker knows the size limit of a topic; it answers with a clear error.
            max_request_size=1 << 30,
            request_timeout_ms=int(_REQUEST_SECONDS * 1000),
            **transaction,
            **self._settings.security(),
        )
        await self._producer.start()

    async def restore(self) -> Restored:
        """Reads the last complete checkpoint.

        Raises:
            WorkerRefusal: It was written for another topic or number of partitions, under another pseudonym key, by a
                newer version, or in another form.
            CheckpointsHidden: A transaction of another producer is open in the partition; try again.
            KafkaError: The broker failed; try again.
        """
        reader = CheckpointReader(self._transactional)
        partition = TopicPartition(self._topic, self.partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap,
            isolation_level="read_committed" if self._transactional else "read_uncommitted",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=50,
            request_timeout_ms=int(_REQUEST_SECONDS * 1000),
            **self._settings.security(),
        )
        try:
            await consumer.start()
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            hidden_since: float | None = None
            # With transactions, the end of the log (not only the stable one) is known once something was fetched.
            highwater = None
            while await consumer.position(partition) < end or (
                self._transactional and (highwater is None or end < highwater)
            ):
                # A short wait, since a fetch that has only control records does not end it early.
                for record in (await consumer.getmany(partition, timeout_ms=20)).get(partition, ()):
                    reader.take(record.key, record.value, record.headers, record.timestamp)
                highwater = consumer.highwater(partition)
                if highwater is None or highwater <= end or await consumer.position(partition) < end:
                    continue
                if not self._transactional:
                    end = highwater  # the embedded broker answers with an end that is too low
                    continue
                # An open transaction hides what follows it. A fenced owner's is soon ended by the broker.
                hidden_since = hidden_since or time.monotonic()
                if time.monotonic() - hidden_since > _HIDDEN_SECONDS:
                    raise CheckpointsHidden(
                        f"an open transaction hides what follows offset {end} in partition {self.partition} of "
                        f"{self._topic}: another program writes there, or a broker has lost a transaction's end; "
                        "roll it back as docs/operations.md says (A transaction that stays open), with this topic."
                    )
                await asyncio.sleep(0.02)
                end = (await consumer.end_offsets([partition]))[partition]
        finally:
            with contextlib.suppress(KafkaError, OSError):
                await asyncio.shield(consumer.stop())
        return self._accept(reader)

    def _accept(self, reader: CheckpointReader) -> Restored:
        slots, self._part_counts = reader.slots()
        self._heal = reader.torn()
        self._manifest = reader.manifest
        if reader.manifest is not None:
            if reader.format > FORMAT:
                raise WorkerRefusal(
                    f"{self._topic} was written by a newer labelwatch (checkpoint form {reader.format}, this one reads "
                    f"up to {FORMAT}): run that version, or start a new group with --id and replay."
                )
            if reader.partitions != self._partitions:
                raise WorkerRefusal(
                    f"{self._topic} was written when {EVENTS} had {reader.partitions} partitions, and now it has "
                    f"{self._partitions}: sites have moved between partitions; start a new group with --id and replay."
                )
            # Checkpoints of earlier builds have no ids.
            for topic, known in zip((EVENTS, self._topic), reader.topic_ids, strict=True):
                if known and self._topic_ids[topic] and known != self._topic_ids[topic]:
                    raise WorkerRefusal(recreated(self._settings, topic))
            if (sentence := other_key(self._settings, reader.key_fingerprint, self._key_fingerprint)) is not None:
                raise WorkerRefusal(sentence)
        return Restored(slots, reader.manifest, reader.records, reader.at_ms)

    async def write(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, all or nothing.

        When this raises, nothing of it counts; but where the commit itself failed, that is unknown (`nothing_counts`).

        Raises:
            Fenced: This worker no longer owns the partition, or was stopped for too long.
            DeadLettersRefused: The dead-letter topic does not take a record.
            KafkaError: The broker failed.
        """
        part_counts = dict(self._part_counts)
        try:
            await self._write(
                [self._letter(letter) for letter in checkpoint.dead_letters],
                checkpoint.drift_records,
                list(records_of(checkpoint.slots, part_counts)),
                checkpoint.manifest,
            )
        except (*_FENCED, AssertionError) as error:
            # aiokafka asserts that a failed producer is not used again.
            raise Fenced(str(error) or "its producer failed after the last checkpoint") from error
        self._part_counts = part_counts
        self._manifest = checkpoint.manifest

    async def prove(self) -> bool:
        """Whether no other worker owned the partition since the last write: tries to write the manifest again.

        False without transactions, and before the first checkpoint.
        """
        if not self._transactional or self._manifest is None:
            return False
        try:
            await self._write([], [], [], self._manifest)
        except (KafkaError, TimeoutError, AssertionError):
            return False
        return True

    async def close(self) -> None:
        """Closes the connection; never raises, and takes at most 3 s. An open transaction stays uncommitted."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await producer.stop()
        except (KafkaError, OSError, TimeoutError):
            # The producer waits to send records that no longer matter; its connection can be closed at once.
            with contextlib.suppress(KafkaError, OSError):
                await producer.client.close()

    async def _write(
        self,
        letters: Sequence[dict[str, Any]],
        drift: Sequence[tuple[bytes, bytes]],
        state: list[OutgoingRecord],
        manifest: bytes,
    ) -> None:
        producer = self._producer
        if producer is None:
            raise Fenced("the store is closed")
        self._written += 1
        self.nothing_counts = self._transactional
        crash = self._crash
        headers: list[Header] = []
        if self._transactional:
            await producer.begin_transaction()
        else:
            headers = [("checkpoint", b"%s-%d" % (self._session.encode(), self._written))]
            written = {key for key, _, _ in state}
            state = [record for record in self._heal.values() if record[0] not in written] + state
            state = [(key, value, more + headers) for key, value, more in state]
        last: OutgoingRecord = (
            MANIFEST_KEY,
            manifest,
            [
                ("format", b"%d" % FORMAT),
                ("partitions", b"%d" % self._partitions),
                (TOPIC_ID, self._topic_ids[EVENTS].encode()),
                (OWN_TOPIC_ID, self._topic_ids[self._topic].encode()),
                (KEY_FINGERPRINT, self._key_fingerprint.encode()),
                *headers,
            ],
        )
        if crash is not None and crash.at("half"):
            await _settle(await self._send_state(producer, state[: len(state) // 2]))
            crash.fire()
        self.at = REJECTED
        await self._send_letters(producer, letters)
        self.at = DRIFT
        await _settle([await producer.send(DRIFT, key=key, value=value) for key, value in drift])
        self.at = self._topic
        await _settle(await self._send_state(producer, [*state, last] if self._transactional else state))
        if crash is not None and crash.at("prepared"):
            crash.fire()
        if self._transactional:
            self.at = f"the commit of a transaction for {self._topic}"
            self.nothing_counts = False
            await producer.commit_transaction()
        else:
            await _settle(await self._send_state(producer, [last]))
            self._heal = {}
        if crash is not None and crash.at("committed"):
            crash.fire()

    async def _send_letters(self, producer: AIOKafkaProducer, letters: Sequence[dict[str, Any]]) -> None:
        try:
            await _settle([await producer.send(REJECTED, **letter) for letter in letters])
        except _FENCED:
            raise
        except KafkaError as error:
            raise DeadLettersRefused(f"{REJECTED} does not take a dead letter: {error}") from error

    async def _send_state(
        self, producer: AIOKafkaProducer, records: Sequence[OutgoingRecord]
    ) -> list["asyncio.Future[Any]"]:
        """Sends records in whole batches: one future for each megabyte instead of one for each record."""
        batches = await asyncio.to_thread(packed, records, self._new_batch)
        return [await producer.send_batch(batch, self._topic, partition=self.partition) for batch in batches]

    def _new_batch(self) -> BatchBuilder:
        return BatchBuilder(_BATCH_BYTES, DefaultRecordBatch.CODEC_ZSTD, is_transactional=self._transactional)

    def _letter(self, letter: DeadLetter) -> dict[str, Any]:
        headers = dead_letter_headers(
            letter.reason, letter.detail, EVENTS, self.partition, letter.offset, self._now_ms()
        )
        if letter.value is None:
            headers.append(("origin-null", b"1"))
        return {"key": letter.key, "value": letter.value or b"", "headers": headers}


async def _settle(futures: Sequence["asyncio.Future[Any]"]) -> None:
    """Waits for all futures, then raises the first error; so none of the others is left unread."""
    for result in await asyncio.gather(*futures, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result

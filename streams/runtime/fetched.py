"""Fetched records on their way from the broker to the engine: stretches of one partition, not parsed yet."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from streams import native
from streams.engine.batch import KafkaRecord

#: Records that are applied at a time: so many that the costs of a Faust message and of each step do not matter (with
#: half as many, an event costs .5 us more), and few enough not to stall the loop for long (60 ms on a fast core).
BATCH_RECORDS = 20_000

#: By the number that a batch has for its codec.
_CODECS: dict[int, Callable[[bytes], bytes]] = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}


def _decompress(codec: int, data: bytes) -> bytes:
    return _CODECS[codec](data)


class Answer:
    """Used in place of aiokafka's `MemoryRecords`: the native module takes batches out of its bytes (docs/native.md).

    Args:
        data: One partition's part of a broker's answer.
    """

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        self._module = native.MODULE
        self.native = self._module.Answer(data)

    def size_in_bytes(self) -> int:
        """As aiokafka's."""
        return self._size

    def has_next(self) -> bool:
        """As aiokafka's."""
        return bool(self.native.has_next())

    def new_batches(self) -> Any:
        """Where the native module puts batches of this answer."""
        return self._module.Batches()

    def next_batch(self) -> Any:
        """The next batch as aiokafka sees it."""
        return MemoryRecords(self.native.next()).next_batch()


def new_answer(data: bytes) -> Any:
    """What aiokafka's fetcher makes of an answer: of the native module where it can run, else aiokafka's own."""
    return MemoryRecords(data) if native.MODULE is None else Answer(data)


def keep_answers() -> None:
    """Makes aiokafka's fetcher, that of all consumers in this process, keep answers as the native module wants them."""
    vars(fetcher)["MemoryRecords"] = new_answer


class Unread:
    """A stretch of a broker's answer: checksums are checked, rolled-back records left out, and nothing is parsed yet.

    Records are parsed by the thread that applies them, right before it does: so they are still in the core's cache, and
    queues hold only bytes.

    Attributes:
        begins: The first offset wanted.
        ends: The offset after the last one.
    """

    __slots__ = ("_batches", "begins", "ends")

    def __init__(self, parsed: PartitionRecords, most: int = BATCH_RECORDS) -> None:
        """Takes whole batches of producers until there are enough.

        Args:
            parsed: aiokafka's view of the answer; up to where it is read is kept in it, as aiokafka does.
            most: No further batch is added once it has this many offsets.

        Raises:
            CorruptRecordException: The checksum of a batch is wrong.
        """
        #: Batches of aiokafka's, and, of the native module, each holding many.
        self._batches: list[Any] = []
        self.begins = self.ends = parsed.next_fetch_offset
        left = parsed._records
        taken = left.new_batches() if isinstance(left, Answer) else None
        # Most answers have no aborted transactions; then each batch costs only a look at this flag.
        rolled_back = bool(parsed._aborted_transactions or parsed._aborted_producers)
        while self.ends - self.begins < most and left.has_next():
            if taken is not None and (ends := taken.take(left.native, self.begins + most, rolled_back)) is not None:
                self.ends = parsed.next_fetch_offset = ends
                self._keep(taken)
                continue
            batch = left.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"the records at offset {self.ends} fail their checksum")
            # Not the offset after the last record: compaction may have removed the batch's last records.
            self.ends = parsed.next_fetch_offset = batch.next_offset
            if rolled_back and _is_rolled_back(parsed, batch):
                continue
            if batch.is_control_batch:  # these have the ends of transactions, and no records
                continue
            if taken is not None and taken.add(left.native):
                self._keep(taken)
                continue
            self._batches.append(batch)
            taken = left.new_batches() if isinstance(left, Answer) else None
        if taken is not None:
            _note_failure(taken)

    def _keep(self, batches: Any) -> None:
        if not self._batches or self._batches[-1] is not batches:
            self._batches.append(batches)

    def __bool__(self) -> bool:
        return bool(self._batches)

    def runs(self) -> Iterator[Sequence[KafkaRecord]]:
        """Parses the records, which can be done once, in runs of even length: about `BATCH_RECORDS`, at most half more.

        Whole batches of producers are nearly always some hundreds of records too many, and a short run of these would
        have the fixed costs of a full one.
        """
        offsets = self.ends - self.begins
        length = max(-(-offsets // max(round(offsets / BATCH_RECORDS), 1)), 1)
        for is_native, batches in itertools.groupby(self._batches, lambda each: hasattr(each, "run")):
            if is_native:
                for each in batches:
                    yield from self._native_runs(each, length)
            else:
                yield from self._runs(batches, length)

    def _runs(self, batches: Iterable[Any], length: int) -> Iterator[list[KafkaRecord]]:
        """Of aiokafka's batches.

        This takes .2 us a record. aiokafka's own way takes 1.5 us: it makes an object for each record, in a generator
        within an iterator within a loop (.7 us without the object).
        """
        records = itertools.chain.from_iterable(batches)
        while run := list(itertools.islice(records, length)):
            if run[0].offset < self.begins:
                # The broker sends whole batches, so the first one may begin before the wanted offset.
                run = [record for record in run if record.offset >= self.begins]
            if run:
                yield run

    def _native_runs(self, batches: Any, length: int) -> Iterator[Sequence[KafkaRecord]]:
        """Of the native module's batches; one that it cannot read is aiokafka's, which says why or can."""
        while True:
            records, unread = batches.run(length, self.begins, _decompress)
            _note_failure(batches)
            if records:
                yield records
            if unread is not None:
                yield from self._runs([MemoryRecords(unread).next_batch()], length)
            elif not records:
                return


def _note_failure(batches: Any) -> None:
    if (offset := batches.failure()) is not None:
        native.failed(offset)


def _is_rolled_back(parsed: PartitionRecords, batch: Any) -> bool:
    """Whether a batch belongs to a transaction that was rolled back; must be called for each batch, in order.

    The broker names such transactions by producer and first offset; each ends at its producer's next abort marker.
    """
    parsed._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch:
        if parsed._contains_abort_marker(batch):
            parsed._aborted_producers.discard(batch.producer_id)
        return True
    return bool(batch.is_transactional and batch.producer_id in parsed._aborted_producers)


class FetchedBatch:
    """Consecutive records of one partition, in the order of the log.

    Attributes:
        partition: Number of the partition of the events topic.
        epoch: The opening of the partition during which they were fetched.
        follows: The last offset before these, -1 for none.
        ends: Where the next batch begins. Between `follows` and `ends` there may be offsets without a record: markers
            of transactions, rolled-back records, and those that compaction removed.
    """

    __slots__ = ("_records", "ends", "epoch", "follows", "partition")

    def __init__(self, partition: int, epoch: int, follows: int, records: Unread | Sequence[KafkaRecord]) -> None:
        self.partition = partition
        self.epoch = epoch
        self.follows = follows
        self.ends = records.ends if isinstance(records, Unread) else records[-1].offset + 1
        self._records = records

    def runs(self) -> Iterator[Sequence[KafkaRecord]]:
        """The records in runs of about `BATCH_RECORDS`; may be called once. There may be no record at all."""
        return self._records.runs() if isinstance(self._records, Unread) else iter([self._records])

"""Fetched records on their way from the broker to the engine: stretches of one partition, not parsed yet."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException

from streams.engine.batch import KafkaRecord

#: Records that are applied at a time: so many that the costs of a Faust message and of each step do not matter (with
#: half as many, an event costs .5 us more), and few enough not to stall the loop for long (60 ms on a fast core).
BATCH_RECORDS = 20_000


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
        self._batches: list[Any] = []
        self.begins = self.ends = parsed.next_fetch_offset
        left = parsed._records
        # Most answers have no aborted transactions; then each batch costs only a look at this flag.
        rolled_back = bool(parsed._aborted_transactions or parsed._aborted_producers)
        while self.ends - self.begins < most and left.has_next():
            batch = left.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"the records at offset {self.ends} fail their checksum")
            # Not the offset after the last record: compaction may have removed the batch's last records.
            self.ends = parsed.next_fetch_offset = batch.next_offset
            if rolled_back and _is_rolled_back(parsed, batch):
                continue
            if not batch.is_control_batch:  # these have the ends of transactions, and no records
                self._batches.append(batch)

    def __bool__(self) -> bool:
        return bool(self._batches)

    def runs(self) -> Iterator[list[KafkaRecord]]:
        """Parses the records, which can be done once, in runs of even length: about `BATCH_RECORDS`, at most half more.

        Whole batches of producers are nearly always some hundreds of records too many, and a short run of these would
        have the fixed costs of a full one.

        This takes .2 us a record. aiokafka's own way takes 1.5 us: it makes an object for each record, in a generator
        within an iterator within a loop (.7 us without the object).
        """
        records = itertools.chain.from_iterable(self._batches)
        offsets = self.ends - self.begins
        length = -(-offsets // max(round(offsets / BATCH_RECORDS), 1))
        while run := list(itertools.islice(records, length)):
            if run[0].offset < self.begins:
                # The broker sends whole batches, so the first one may begin before the wanted offset.
                run = [record for record in run if record.offset >= self.begins]
            if run:
                yield run


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

"""What a fetch has brought: a stretch of one partition, unparsed, on its way from the broker to the engine."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException

from streams.engine.batch import KafkaRecord

#: Records that are applied at a time: enough to make the cost of a Faust message and of each step vanish (half as many
#: cost .5 us an event more), too few to stall the loop for long (60 ms on a fast core).
BATCH_RECORDS = 20_000


class Unread:
    """A stretch of a broker's answer: its checksums fit, what was rolled back is left out, and nothing is parsed yet.

    Parsing is left to the thread that applies the records, right before it does: what has just been made is
    still in the core's cache, and what waits in a queue is bytes alone.

    Attributes:
        begins: The first offset wanted.
        ends: The offset behind the last one.
    """

    __slots__ = ("_batches", "begins", "ends")

    def __init__(self, parsed: PartitionRecords, most: int = BATCH_RECORDS) -> None:
        """Takes whole batches of producers until there are enough.

        Args:
            parsed: aiokafka's view of the answer. Where it is read up to is kept there, as aiokafka does.
            most: Offsets after which no batch is added.

        Raises:
            CorruptRecordException: The checksum of a batch does not fit.
        """
        self._batches: list[Any] = []
        self.begins = self.ends = parsed.next_fetch_offset
        left = parsed._records
        # Nobody rolls back in most answers: then each batch costs no more than a look at this.
        rolled_back = bool(parsed._aborted_transactions or parsed._aborted_producers)
        while self.ends - self.begins < most and left.has_next():
            batch = left.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"the records at offset {self.ends} fail their checksum")
            # Compaction may have removed its last records: the next fetch begins behind them all the same.
            self.ends = parsed.next_fetch_offset = batch.next_offset
            if rolled_back and _is_rolled_back(parsed, batch):
                continue
            if not batch.is_control_batch:  # those hold the ends of transactions, no records
                self._batches.append(batch)

    def __bool__(self) -> bool:
        return bool(self._batches)

    def runs(self) -> Iterator[list[KafkaRecord]]:
        """Parses the records, which can be done once, in even runs of about `BATCH_RECORDS`, at most half as many more.

        Whole batches of producers nearly always make some hundreds too many, and a run of these would cost what a full
        one costs beside its records.

        aiokafka hands over single records: an object around each, out of a generator within an iterator
        within a loop. That is 1.5 us a record (.7 without the object) where this is .2.
        """
        records = itertools.chain.from_iterable(self._batches)
        offsets = self.ends - self.begins
        length = -(-offsets // max(round(offsets / BATCH_RECORDS), 1))
        while run := list(itertools.islice(records, length)):
            if run[0].offset < self.begins:
                # The producer's batch that holds the wanted offset comes whole.
                run = [record for record in run if record.offset >= self.begins]
            if run:
                yield run


def _is_rolled_back(parsed: PartitionRecords, batch: Any) -> bool:
    """Whether a batch belongs to a transaction that was rolled back; to be asked of each batch, in order.

    The broker names such transactions by producer and first offset; each lasts to its producer's next abort marker.
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
        partition: Of the events topic.
        epoch: Which opening of the partition they were fetched under.
        follows: The last offset of what came before, -1 for none.
        ends: Where the next batch begins. Between `follows` and `ends` there may be offsets that hold no record:
            markers of transactions, what a producer rolled back, or what compaction removed.
    """

    __slots__ = ("_records", "ends", "epoch", "follows", "partition")

    def __init__(self, partition: int, epoch: int, follows: int, records: Unread | Sequence[KafkaRecord]) -> None:
        self.partition = partition
        self.epoch = epoch
        self.follows = follows
        self.ends = records.ends if isinstance(records, Unread) else records[-1].offset + 1
        self._records = records

    def runs(self) -> Iterator[Sequence[KafkaRecord]]:
        """The records in runs of about `BATCH_RECORDS`; to be asked for once. There may be none."""
        return self._records.runs() if isinstance(self._records, Unread) else iter([self._records])

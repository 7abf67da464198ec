"""Batches of records that are built and compressed in a thread: between a checkpoint's slots and aiokafka's producer.

aiokafka compresses a batch on the event loop as it sends it, for only then it knows the producer's numbers that stand
in the batch's head. The head is not compressed: here it is filled in afterwards.
"""

import struct
from collections.abc import Callable, Iterable

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

#: Key, value and headers.
OutgoingRecord = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
#: Where in a batch's head, of 61 bytes, its checksum stands, what it is of begins, and the producer's numbers stand.
_CRC, _CHECKED, _PRODUCER = 17, 21, 43
_CRC_FORM, _PRODUCER_FORM = struct.Struct(">I"), struct.Struct(">qhi")


class PackedBatch:
    """A batch that is full and compressed, in the form in which aiokafka's accumulator asks for one.

    Args:
        batch: The batch; nothing can be appended to it any more.
    """

    def __init__(self, batch: BatchBuilder) -> None:
        self._records = batch.record_count()
        self._bytes: bytearray = batch._build()

    def append(self, **_: object) -> None:
        """Takes nothing: aiokafka then begins a batch of its own."""

    def closed(self) -> bool:
        """Whether it can be sent at once."""
        return True

    def record_count(self) -> int:
        """How many records it holds."""
        return int(self._records)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        _PRODUCER_FORM.pack_into(self._bytes, _PRODUCER, producer_id, producer_epoch, base_sequence)
        _CRC_FORM.pack_into(self._bytes, _CRC, calc_crc32c(memoryview(self._bytes)[_CHECKED:]))

    def _build(self) -> bytearray:
        return self._bytes


def packed(records: Iterable[OutgoingRecord], create: Callable[[], BatchBuilder]) -> list[PackedBatch]:
    """Packs records into as few batches as hold them. Takes some milliseconds a megabyte: call it in a thread.

    Args:
        records: In their order.
        create: Makes an empty batch, as `AIOKafkaProducer.create_batch` does.
    """
    batches, batch = [], create()
    for key, value, headers in records:
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            batches.append(PackedBatch(batch))
            batch = create()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
    if batch.record_count():
        batches.append(PackedBatch(batch))
    return batches

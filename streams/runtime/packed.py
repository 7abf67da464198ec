"""Builds and compresses batches of a checkpoint's records in a thread, for aiokafka's producer.

aiokafka itself compresses a batch on the event loop when it sends it, because only then it knows the producer's numbers
in the batch's header. But the header is not compressed: here it is filled in after the compression.
"""

import struct
from collections.abc import Callable, Iterable

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

#: Key, value and headers.
OutgoingRecord = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
#: Offsets in a batch's header, which has 61 bytes: of the checksum, of the first byte that it is of, and of the
#: producer's numbers.
_CRC, _CHECKED, _PRODUCER = 17, 21, 43
_CRC_FORM, _PRODUCER_FORM = struct.Struct(">I"), struct.Struct(">qhi")


class PackedBatch:
    """A full and compressed batch, with the methods that aiokafka's accumulator needs.

    Args:
        batch: The batch; nothing can be appended to it afterwards.
    """

    def __init__(self, batch: BatchBuilder) -> None:
        self._records = batch.record_count()
        self._bytes: bytearray = batch._build()

    def append(self, **_: object) -> None:
        """Takes no record; aiokafka then begins a batch of its own."""

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
    """Packs records into as few batches as possible. Takes some milliseconds a megabyte: call it in a thread.

    Args:
        records: The records, in their order.
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

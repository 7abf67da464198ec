"""Brokers' answers, built by aiokafka's own code for producers."""

from collections.abc import Sequence
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.engine.batch import KafkaRecord
from streams.runtime.fetched import Answer, Unread


def with_checksum(batch: bytes | bytearray) -> bytes:
    """A batch of format 2 whose checksum is right again."""
    changed = bytearray(batch)
    changed[17:21] = calc_crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)


def batch_of(records: Sequence[KafkaRecord], codec: int = 0, headers: Sequence[Any] = ()) -> bytes:
    """A producer's batch, at the offset of its first record."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    base = records[0].offset
    for record in records:
        # aiokafka gives -1 for none, as the format does.
        builder.append(
            record.offset - base,
            -1 if record.timestamp is None else record.timestamp,
            record.key,
            record.value,
            list(headers),
        )
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def parsed(answer: Any, position: int = 0, aborted: list[tuple[int, int]] | None = None) -> PartitionRecords:
    """An answer as aiokafka's fetcher keeps it."""
    return PartitionRecords(None, answer, aborted, position, None, None, True, READ_COMMITTED)


def natively(records: Sequence[KafkaRecord], codec: int = 0, most: int = 1_000) -> Sequence[KafkaRecord]:
    """The same records as the native module gives them."""
    starts = range(0, len(records), most)
    answer = Answer(b"".join(batch_of(records[start : start + most], codec) for start in starts))
    (run,) = Unread(parsed(answer, records[0].offset), 1 << 40).runs()
    return run

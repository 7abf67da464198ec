"""A batch packed before its producer's numbers are known is, byte for byte, what aiokafka makes knowing them."""

import random
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.runtime.packed import OutgoingRecord, packed

ZSTD = 4
BATCH_BYTES = 64 << 10


class Stamped(BatchBuilder):  # type: ignore[misc]  # aiokafka has no types
    """Stamps every record with one time: without one, it is the clock's as the record is appended."""

    def append(self, *, timestamp: int | None, **record: Any) -> Any:
        assert timestamp is None
        return super().append(timestamp=1_764_000_000_000, **record)


def builder() -> BatchBuilder:
    return Stamped(BATCH_BYTES, ZSTD, is_transactional=1)


def some(count: int) -> list[OutgoingRecord]:
    rng = random.Random(1)
    return [
        (
            b"key-%d" % number,
            None if number % 7 == 0 else rng.randbytes(rng.randrange(2_000)),
            [("parts", b"2")] if number % 5 == 0 else [],
        )
        for number in range(count)
    ]


def read(packed_bytes: bytes) -> list[OutgoingRecord]:
    batch = MemoryRecords(packed_bytes).next_batch()
    assert batch.validate_crc()
    return [(record.key, record.value, list(record.headers)) for record in batch]


def test_it_is_the_batch_that_aiokafka_makes() -> None:
    records = some(40)
    theirs = builder()
    for key, value, headers in records:
        assert theirs.append(timestamp=None, key=key, value=value, headers=headers) is not None
    theirs._set_producer_state(77, 3, 1_234)
    (ours,) = packed(records, builder)
    ours._set_producer_state(77, 3, 1_234)
    assert bytes(ours._build()) == bytes(theirs._build())
    assert ours.record_count() == 40
    assert ours.closed()
    assert ours.append(timestamp=None, key=b"k", value=b"v", headers=[]) is None  # type: ignore[func-returns-value]  # None: no room


def test_records_keep_their_order_over_batches_and_a_retry_has_the_numbers_that_it_is_given() -> None:
    records = some(600)
    batches = packed(records, builder)
    assert len(batches) > 5
    for epoch in (1, 2):
        found: list[Any] = []
        for batch in batches:
            batch._set_producer_state(7, epoch, len(found))
            found += read(bytes(batch._build()))
    assert found == records


def test_without_transactions_a_batch_is_whole_as_it_is_and_nothing_makes_none() -> None:
    (batch,) = packed(some(3), lambda: BatchBuilder(BATCH_BYTES, ZSTD, is_transactional=0))
    assert read(bytes(batch._build())) == some(3)
    assert packed([], builder) == []

"""What is taken out of a broker's answer: each record once, in order, up to the place where the next fetch begins."""

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from streams.runtime.transport import Drain

_LAST_OFFSET_DELTA = 23


def batch(base: int, offsets: list[int], *, codec: int = 0) -> bytearray:
    """A producer's batch whose records have these offsets, the others having been compacted away."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for offset in offsets:
        builder.append(offset - base, 1_000 + offset, b"key", b"%d" % offset, [("header", b"x")])
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")
    return built


def draining(answer: bytes, position: int = 0) -> tuple[Drain, PartitionRecords]:
    parsed = PartitionRecords(None, MemoryRecords(answer), [], position, None, None, True, READ_UNCOMMITTED)
    return Drain(parsed), parsed


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 7, 10, 11, 100])
@pytest.mark.parametrize("codec", [0, 1])
def test_every_record_comes_once_and_in_order_however_many_are_taken_at_a_time(most: int, codec: int) -> None:
    answer = b"".join([batch(0, [0, 1, 2], codec=codec), batch(3, [3]), batch(4, list(range(4, 11)), codec=codec)])
    drain, parsed = draining(answer)
    taken: list[int] = []
    while records := drain.take(most):
        assert len(records) <= most
        assert all(record.value == b"%d" % record.offset and record.key == b"key" for record in records)
        taken += [record.offset for record in records]
        assert parsed.next_fetch_offset == taken[-1] + 1
    assert taken == list(range(11))


def test_records_before_the_place_asked_for_are_passed_over() -> None:
    drain, parsed = draining(bytes(batch(0, list(range(8)))), position=5)
    assert [record.offset for record in drain.take(2)] == [5, 6]
    assert [record.offset for record in drain.take(2)] == [7]
    assert drain.take(2) == []
    assert parsed.next_fetch_offset == 8


def test_the_next_fetch_begins_behind_what_compaction_removed() -> None:
    compacted = batch(10, [11, 13])
    compacted[_LAST_OFFSET_DELTA : _LAST_OFFSET_DELTA + 4] = (9).to_bytes(4, "big")
    drain, parsed = draining(_with_checksum(compacted), position=10)
    assert [record.offset for record in drain.take(10)] == [11, 13]
    assert parsed.next_fetch_offset == 20


def test_ends_of_transactions_are_no_records() -> None:
    control = batch(3, [3])
    control[22] |= 0x20
    drain, parsed = draining(b"".join([batch(0, [0, 1, 2]), _with_checksum(control), batch(4, [4])]))
    assert [record.offset for record in drain.take(10)] == [0, 1, 2, 4]
    drain, parsed = draining(_with_checksum(control), position=3)
    assert drain.take(10) == []
    assert parsed.next_fetch_offset == 4


def test_a_flipped_bit_is_found_before_any_record_of_its_batch_is_given_away() -> None:
    broken = batch(3, [3, 4])
    broken[-4] ^= 1
    drain, parsed = draining(b"".join([batch(0, [0, 1, 2]), broken]))
    assert [record.offset for record in drain.take(3)] == [0, 1, 2]
    with pytest.raises(CorruptRecordException):
        drain.take(3)
    assert parsed.next_fetch_offset == 3


def _with_checksum(changed: bytearray) -> bytes:
    changed[17:21] = calc_crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)

"""What is taken out of a broker's answer: each record once, in order, up to the place where the next fetch begins."""

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from streams.runtime import fetched
from streams.runtime.fetched import Unread

_LAST_OFFSET_DELTA = 23


def batch(base: int, offsets: list[int], *, codec: int = 0, transaction_of: int = -1) -> bytearray:
    """A producer's batch whose records have these offsets, the others having been compacted away."""
    builder = DefaultRecordBatchBuilder(2, codec, transaction_of >= 0, transaction_of, 0, 0, 1 << 20)
    for offset in offsets:
        builder.append(offset - base, 1_000 + offset, b"key", b"%d" % offset, [("header", b"x")])
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")
    return built


def marker(base: int, producer: int, *, commit: bool) -> bytes:
    """What the broker writes at the end of a producer's transaction."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 20)
    builder.append(0, 1_000 + base, b"\0\0\0%c" % commit, b"\0\0\0\0\0\0", [])
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")
    built[22] |= 0x20
    return _with_checksum(built)


def answer_of(
    *batches: bytes | bytearray, position: int = 0, aborted: list[tuple[int, int]] | None = None
) -> PartitionRecords:
    """A broker's answer; `aborted` has the producer and first offset of transactions that were rolled back."""
    records = MemoryRecords(b"".join(batches))
    return PartitionRecords(None, records, aborted, position, None, None, True, READ_COMMITTED)


def offsets(unread: Unread) -> list[int]:
    return [record.offset for run in unread.runs() for record in run]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 10, 11, 100])
@pytest.mark.parametrize("run", [1, 2, 5, 100])
@pytest.mark.parametrize("codec", [0, 1])
def test_every_record_comes_once_and_in_order_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, most: int, run: int, codec: int
) -> None:
    monkeypatch.setattr(fetched, "BATCH_RECORDS", run)
    parsed = answer_of(batch(0, [0, 1, 2], codec=codec), batch(3, [3]), batch(4, list(range(4, 11)), codec=codec))
    taken: list[int] = []
    while unread := Unread(parsed, most):
        runs = list(unread.runs())
        lengths = [len(each) for each in runs]
        assert max(lengths) <= 1.5 * run
        assert max(lengths) - min(lengths[:-1], default=max(lengths)) == 0, "even ones, the last may be shorter"
        records = [record for each in runs for record in each]
        assert all(record.value == b"%d" % record.offset and record.key == b"key" for record in records)
        assert unread.begins == len(taken)
        taken += [record.offset for record in records]
        assert parsed.next_fetch_offset == unread.ends == taken[-1] + 1
    assert taken == list(range(11))


def test_records_before_the_place_asked_for_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "BATCH_RECORDS", 2)
    unread = Unread(answer_of(batch(0, list(range(8))), position=5))
    assert offsets(unread) == [5, 6, 7]
    assert (unread.begins, unread.ends) == (5, 8)


def test_the_next_fetch_begins_behind_what_compaction_removed() -> None:
    compacted = batch(10, [11, 13])
    compacted[_LAST_OFFSET_DELTA : _LAST_OFFSET_DELTA + 4] = (9).to_bytes(4, "big")
    unread = Unread(answer_of(_with_checksum(compacted), position=10))
    assert offsets(unread) == [11, 13]
    assert (unread.begins, unread.ends) == (10, 20)


def test_ends_of_transactions_are_no_records() -> None:
    control = batch(3, [3])
    control[22] |= 0x20
    unread = Unread(answer_of(batch(0, [0, 1, 2]), _with_checksum(control), batch(4, [4])))
    assert offsets(unread) == [0, 1, 2, 4]
    unread = Unread(answer_of(_with_checksum(control), position=3))
    assert not unread
    assert unread.ends == 4


@pytest.mark.parametrize("codec", [0, 1])
@pytest.mark.parametrize("most", [1, 2, 4, 100])
def test_what_was_rolled_back_is_left_out_however_producers_take_turns(codec: int, most: int) -> None:
    """Producer 7 rolls back, then commits; 8 commits and writes on; between them stands a record of no transaction."""
    parsed = answer_of(
        batch(0, [0, 1], codec=codec, transaction_of=7),
        batch(2, [2], codec=codec, transaction_of=8),
        batch(3, [3], codec=codec),
        batch(4, [4], codec=codec, transaction_of=7),
        marker(5, 8, commit=True),
        batch(6, [6], codec=codec, transaction_of=8),
        marker(7, 7, commit=False),
        batch(8, [8], codec=codec, transaction_of=7),
        marker(9, 8, commit=False),
        batch(10, [10], codec=codec, transaction_of=8),
        marker(11, 7, commit=True),
        marker(12, 8, commit=True),
        aborted=[(8, 6), (7, 0)],
    )
    found: list[int] = []
    begins = 0
    while parsed._records.has_next():
        unread = Unread(parsed, most)
        assert unread.begins == begins
        found += offsets(unread)
        begins = unread.ends
    assert found == [2, 3, 8, 10]
    assert begins == parsed.next_fetch_offset == 13


def test_a_transaction_that_began_before_the_place_asked_for_is_left_out_too() -> None:
    parsed = answer_of(
        batch(4, [4, 5], transaction_of=7), batch(6, [6]), marker(7, 7, commit=False), position=5, aborted=[(7, 2)]
    )
    unread = Unread(parsed)
    assert offsets(unread) == [6]
    assert (unread.begins, unread.ends) == (5, 8)


def test_nothing_but_what_was_rolled_back_moves_the_place_of_the_next_fetch() -> None:
    unread = Unread(answer_of(batch(0, [0, 1], transaction_of=7), marker(2, 7, commit=False), aborted=[(7, 0)]))
    assert not unread
    assert unread.ends == 3


def test_a_flipped_bit_is_found_before_any_record_is_given_away() -> None:
    broken = batch(3, [3, 4])
    broken[-4] ^= 1
    with pytest.raises(CorruptRecordException):
        Unread(answer_of(batch(0, [0, 1, 2]), broken))


def _with_checksum(changed: bytearray) -> bytes:
    changed[17:21] = calc_crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)

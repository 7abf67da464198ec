"""Records of the native module are those of aiokafka's parser, or end in the same error, whatever the broker sends."""

import inspect
import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from kafka.record import MemoryRecords as OtherParser
from kafka.record import MemoryRecordsBuilder as OtherBuilder

from schemas.policy import Policy
from streams import native
from streams.engine import partition
from streams.engine.batch import KafkaRecord
from streams.engine.native_reader import NativeReader
from streams.engine.partition import PartitionEngine
from streams.engine.reader import PythonReader
from streams.runtime import fetched
from streams.runtime.fetched import Answer, Unread, new_answer
from tests.native.answers import batch_of, natively, parsed, with_checksum
from tests.oracle.compare import Record
from tests.oracle.traffic import adversarial

MODULE = native.load()
# Cargo is no need of a developer; CI has it, where a skip is a failure (tests/conftest.py).
pytestmark = pytest.mark.skipif(MODULE is None, reason="the native reader was not built: no cargo")

CODECS = (0, 1, 2, 3, 4)
_ATTRIBUTES, _LAST_DELTA, _FIRST_MS, _COUNT = 22, 23, 27, 57
_Found = tuple[int, int | None, bytes | None, bytes | None]


@pytest.fixture(autouse=True)
def _with_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "MODULE", MODULE)
    monkeypatch.setattr(native, "WHY_NOT", "")
    monkeypatch.setattr(native, "failures", 0)


def found(record: KafkaRecord) -> _Found:
    return record.offset, record.timestamp, record.key, record.value


def read(answer: Any, position: int = 0, most: int = 1_000) -> tuple[list[list[_Found]], Exception | None]:
    """The runs of an answer, and the error that ends them."""
    whole = parsed(answer, position)
    runs = []
    try:
        while answer.has_next():
            runs += [[found(record) for record in run] for run in Unread(whole, most).runs()]
    except Exception as error:  # whichever: it must be the same
        return runs, error
    return runs, None


def one_by_one(data: bytes, position: int = 0) -> list[_Found]:
    """As aiokafka gives a log's records, until one is broken."""
    left, records = MemoryRecords(data), []
    try:
        while left.has_next():
            batch = left.next_batch()
            if not batch.validate_crc():
                break
            if not batch.is_control_batch:
                records += [found(each) for each in _until_broken(batch) if each.offset >= position]
    except Exception:  # compared elsewhere
        pass
    return records


def _until_broken(batch: Any) -> Iterator[Any]:
    records = iter(batch)
    while True:
        try:
            yield next(records)
        except Exception:  # the end, or a broken record
            return


def check(data: bytes, position: int = 0, most: int = 1_000) -> Exception | None:
    """Compares both ways; returns the error in which they end."""
    theirs, their_error = read(MemoryRecords(data), position, most)
    ours, our_error = read(Answer(data), position, most)
    flat, whole = (list(itertools.chain.from_iterable(runs)) for runs in (ours, theirs))
    expected = one_by_one(data, position)
    # Not the words: aiokafka may read beyond the end of a broken batch, and meets what is there.
    assert type(our_error) is type(their_error)
    # Whole batches before a broken one are given away too.
    assert flat[: len(whole)] == whole
    assert all(record in expected for record in flat[len(whole) :])
    if our_error is None:
        assert flat == whole
    return our_error


def some_records(rng: random.Random, count: int, base: int = 0) -> list[Record]:
    records, offset = [], base
    for _ in range(count):
        key = rng.choice((None, b"", b"site", rng.randbytes(rng.randrange(200))))
        value = rng.choice((None, b"", b"{}", rng.randbytes(rng.randrange(300))))
        stamp = rng.choice((-1, 0, 1_763_800_000_000, 1_763_800_000_000 + rng.randrange(-(10**6), 10**6)))
        records.append(Record(offset, stamp, key, value))
        offset += rng.choice((1, 1, 1, 2, 700))
    return records


def some_batch(rng: random.Random, base: int) -> tuple[bytes, int]:
    """A batch as a producer or a broker may leave it, and the offset after it."""
    records = some_records(rng, rng.choice((1, 1, 2, 5, 60)), base)
    headers = rng.choice(([], [], [("trace", b"1"), ("täg", None), ("", b"")]))
    batch = bytearray(batch_of(records, rng.choice(CODECS), headers))
    last = records[-1].offset - base
    if rng.random() < 0.2:  # append time
        batch[_ATTRIBUTES] |= 8
    if rng.random() < 0.2:  # compacted at its end
        last += rng.randrange(5)
    if rng.random() < 0.1:  # nothing is left
        batch = bytearray(batch_of(records, 0)[:61])
        batch[8:12] = (61 - 12).to_bytes(4, "big")
        batch[_COUNT : _COUNT + 4] = bytes(4)
    if rng.random() < 0.1:
        batch = bytearray(batch_of([Record(base, 5, b"\0\0\0\1", b"\0" * 6)]))
        batch[_ATTRIBUTES] |= 0x30
        last = 0
    batch[_LAST_DELTA : _LAST_DELTA + 4] = last.to_bytes(4, "big")
    return with_checksum(batch), base + last + 1


def some_log(rng: random.Random) -> tuple[list[bytes], int]:
    batches, at = [], 0
    for _ in range(rng.randrange(1, 6)):
        batch, at = some_batch(rng, at)
        batches.append(batch)
    return batches, at


def test_whatever_is_sound_gives_the_same_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every codec, gaps, no keys, no values, headers, append times, empty batches, ends of transactions, a cut end."""
    rng = random.Random(1)
    for _ in range(400):
        monkeypatch.setattr(fetched, "BATCH_RECORDS", rng.choice((1, 7, 50, 10_000)))
        batches, end = some_log(rng)
        data = b"".join(batches)
        data += batches[0][: rng.randrange(len(batches[0]))]
        position, most = rng.choice((0, 0, rng.randrange(end))), rng.choice((1, 10, 1_000))
        assert check(data, position, most) is None
        runs, _ = read(Answer(data), position, most)
        assert list(itertools.chain.from_iterable(runs)) == one_by_one(data, position)


def test_whatever_is_broken_ends_in_the_same_error() -> None:
    """Bytes are changed anywhere; with a checksum that is right again too, so that the records themselves are wrong."""
    rng = random.Random(2)
    errors = set()
    for n in range(3_000):
        batches, end = some_log(rng)
        place = rng.randrange(len(batches))
        broken = bytearray(batches[place])
        for _ in range(rng.choice((1, 1, 2, 4))):
            # Not its length: what follows would be read as a batch, and aiokafka reads beyond the end of one that is
            # too short. Not the format, which aiokafka looks at in the first batch only. Not the offsets of a batch,
            # by which later records would be passed over.
            at = rng.choice((*range(17, 23), *range(27, len(broken))))
            broken[at] = rng.choice((broken[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
        batches[place] = with_checksum(broken) if n % 2 else bytes(broken)
        error = check(b"".join(batches), rng.choice((0, rng.randrange(end))))
        errors.add(type(error).__name__)
    assert {"NoneType", "CorruptRecordException", "UnsupportedCodecError"} <= errors


def test_a_length_that_cannot_be_ends_in_the_same_error() -> None:
    first, second = batch_of([Record(0, 1, None, b"a")]), batch_of([Record(1, 1, None, b"b")])
    for length in (-(2**31), -13, -12, -1, 0, 13, 2**31 - 1):
        data = first + second[:8] + length.to_bytes(4, "big", signed=True) + second[12:]
        error = check(data)
        assert (error is None) == (length > 13)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, 1])
def test_old_formats_are_aiokafkas(magic: int, codec: int) -> None:
    old = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    for n in range(20):
        old.append(n, 1_000 + n, b"key", b"%d" % n)
    data = bytes(old.build())
    assert check(data) is None
    expected = one_by_one(data)
    assert len(expected) == 20
    # aiokafka fails where formats change within an answer: it looks only at the first batch's.
    runs, error = read(Answer(data + batch_of([Record(20, 5, None, b"new")]) + data))
    assert error is None
    assert list(itertools.chain.from_iterable(runs)) == [*expected, (20, 5, None, b"new"), *expected]


# For the others it wants libraries of its own.
@pytest.mark.parametrize("codec", [0, 1])
def test_batches_of_another_library_are_read_as_it_reads_them(codec: int) -> None:
    rng = random.Random(codec)
    builder = OtherBuilder(magic=2, compression_type=codec, batch_size=1 << 20)
    for n in range(300):
        headers = [("h", None), ("täg", b"x")] if n % 3 == 0 else []
        builder.append(rng.choice((1, 2**40 + n)), rng.choice((None, b"k%d" % n)), rng.randbytes(n), headers)
    builder.close()
    data = bytes(builder.buffer())
    expected = [found(record) for record in OtherParser(data).next_batch()]
    (run,) = Unread(parsed(Answer(data))).runs()
    assert [found(record) for record in run] == expected
    assert len(expected) == 300


def test_it_reads_them_without_aiokafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would compare aiokafka with itself."""
    data = b"".join(batch_of(some_records(random.Random(codec), 50, 50_000 * codec), codec) for codec in CODECS)
    expected = one_by_one(data)
    monkeypatch.delattr(fetched, "MemoryRecords")
    (run,) = Unread(parsed(Answer(data)), 10**6).runs()
    assert isinstance(run, MODULE.Records)
    assert [found(record) for record in run] == expected


def test_a_run_is_a_sequence() -> None:
    records = [
        record._replace(offset=n, timestamp=n % 7) for n, record in enumerate(some_records(random.Random(4), 300))
    ]
    run = natively(records, most=70)
    assert len(run) == 300
    assert bool(run)
    assert not run[5:5]
    same = [found(record) for record in records]
    assert [found(record) for record in run] == same
    assert found(run[-1]) == same[-1]
    assert [found(record) for record in run[100:200][10:-20]] == same[110:180]
    assert [found(record) for record in run[250:][:1000]] == same[250:]
    with pytest.raises(IndexError):
        run[300]
    with pytest.raises(IndexError):
        run[10:20][10]
    with pytest.raises(TypeError):
        run["1"]  # type: ignore[call-overload]  # refused


def test_the_smallest_append_time_is_known() -> None:
    run: Any = natively([Record(n, ms, None, b"") for n, ms in enumerate((5, 3, 9))])
    assert (run.smallest_timestamp(), run[2:].smallest_timestamp(), run[1:1].smallest_timestamp()) == (3, 9, None)


def test_the_engine_makes_the_same_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through apply, with its repeats of what was applied before, its caps at fixed offsets, and its dead letters."""
    monkeypatch.setattr(partition, "CAP_CHECK_RECORDS", 512)
    rng = random.Random(5)
    records = adversarial(6, 3_000)
    engines = [PartitionEngine(0, Policy(), reader=reader) for reader in (PythonReader(), NativeReader(MODULE))]
    start = 0
    while start < len(records):
        stop = start + rng.choice((1, 20, 300, 2_000))
        some = records[max(0, start - rng.choice((0, 0, 1, 500))) : stop]
        engines[0].apply(some)
        engines[1].apply(natively(some, rng.choice(CODECS), rng.choice((1, 60, 1_000))))
        start = stop
        checkpoints = [engine.checkpoint() for engine in engines]
        assert checkpoints[0].slots == checkpoints[1].slots
        assert checkpoints[0].manifest == checkpoints[1].manifest
        assert checkpoints[0].dead_letters == checkpoints[1].dead_letters
    assert engines[0].applied == records[-1].offset


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_panic_leaves_the_rest_to_aiokafka(failing: int, capfd: pytest.CaptureFixture[str]) -> None:
    """From the batch on at which it happens, in this process for good; no record is lost, none comes twice."""
    records = [Record(n, 5, b"k", b"%d" % n) for n in range(30)]
    data = b"".join(batch_of(records[n : n + 10]) for n in (0, 10, 20))
    unread = Unread(parsed(new_answer(data)))
    unread._batches[0].fail_after(failing)
    assert [found(record) for run in unread.runs() for record in run] == [found(record) for record in records]
    assert (native.failures, native.WHY_NOT) == (1, f"failed at offset {10 * failing}")
    assert "as a test asked for" in capfd.readouterr().err
    assert isinstance(new_answer(data), MemoryRecords)


def test_without_the_module_everything_is_aiokafkas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "MODULE", None)
    assert isinstance(new_answer(b""), MemoryRecords)


def test_aiokafkas_fetcher_makes_answers_by_the_name_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    fetched.keep_answers()
    assert fetcher.MemoryRecords is new_answer
    assert "records = MemoryRecords(part_data[-1])" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)


def test_an_answer_keeps_aiokafkas_view_for_other_consumers() -> None:
    """Of checkpoints, for one: they take batches one by one."""
    batches, _ = some_log(random.Random(7))
    data = b"".join(batches)
    ours, theirs = Answer(data), MemoryRecords(data)
    assert ours.size_in_bytes() == theirs.size_in_bytes() == len(data)
    while theirs.has_next():
        assert ours.has_next()
        one, other = ours.next_batch(), theirs.next_batch()
        assert one.validate_crc() == other.validate_crc()
        assert [found(record) for record in one] == [found(record) for record in other]
    assert not ours.has_next()
    assert ours.next_batch() is theirs.next_batch() is None


def test_a_wrong_checksum_is_found_before_any_record_is_given_away() -> None:
    broken = bytearray(batch_of([Record(1, 1, None, b"b")]))
    broken[-3] ^= 1
    with pytest.raises(CorruptRecordException, match="the records at offset 1 fail their checksum"):
        Unread(parsed(Answer(batch_of([Record(0, 1, None, b"a")]) + bytes(broken))))

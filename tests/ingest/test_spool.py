"""The spool: durable before it answers, full without losing anything, one owner."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.events import LabelSubmitted
from streams.ingest.ledger import Place, Remembered
from streams.ingest.spool import Flight, Spool, SpoolError, Transaction

PLACE = Place(1, 2)


def event(number: int, size: int = 10) -> LabelSubmitted:
    return LabelSubmitted(f"e-{number}", 1_795_390_531_355, "manila-1", "a-1", "1", "2", label="x" * size)


def remembered(agent: str = "a-1") -> Remembered:
    return Remembered(
        1_795_390_531_355_972, 1_795_390_531_356_002, 1_795_390_531_192_225, "manila-1", agent, "ok", 10_500
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "ingest.sqlite"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    spool = Spool(path, "ls")
    yield spool
    spool.close()


async def test_what_was_written_is_there_again(path: Path) -> None:
    spool = Spool(path, "ls")
    await spool.run(lambda file: file.enqueue([event(1), event(2)], 5.0))
    await spool.run(lambda file: file.put(7, PLACE, remembered()))
    identity = spool.identity
    spool.close()
    spool = Spool(path, "ls")
    try:
        assert [each.number for each in await spool.run(lambda file: file.waiting(9))] == [1, 2]
        assert await spool.run(lambda file: file.get(7)) == (PLACE, remembered())
        assert await spool.run(lambda file: file.of_task(PLACE)) == {7: remembered()}
        assert await spool.run(Transaction.backlog) == (2, 5.0, (await spool.run(Transaction.backlog)).bytes)
        assert spool.identity == identity
    finally:
        spool.close()


async def test_a_failure_undoes_its_own_work_alone(spool: Spool) -> None:
    def fails(file: Transaction) -> None:
        file.enqueue([event(1)], 0)
        raise ValueError("mine")

    others = [spool.run(_enqueue(number)) for number in (2, 3)]
    results = await asyncio.gather(others[0], spool.run(fails), others[1], return_exceptions=True)
    assert [type(each) for each in results] == [type(None), ValueError, type(None)]
    assert len(await spool.run(lambda file: file.waiting(9))) == 2


def _enqueue(number: int) -> Callable[[Transaction], None]:
    return lambda file: file.enqueue([event(number)], 0)


async def test_numbers_are_never_used_again(spool: Spool) -> None:
    """Else what is found of an old batch in Kafka would remove a new event."""
    await spool.run(lambda file: file.enqueue([event(1)], 0))
    await spool.run(lambda file: file.land(1))
    await spool.run(lambda file: file.enqueue([event(2)], 0))
    assert [each.number for each in await spool.run(lambda file: file.waiting(9))] == [2]


async def test_a_flight_is_kept_until_it_lands(spool: Spool) -> None:
    await spool.run(lambda file: file.enqueue([event(number) for number in range(1, 5)], 0))
    await spool.run(lambda file: file.begin_flight(Flight(3, {0: 17, 2: 5})))
    assert await spool.run(Transaction.flight) == Flight(3, {0: 17, 2: 5})
    await spool.run(lambda file: file.found([1, 3]))
    assert await spool.run(Transaction.flight) is None
    assert [each.number for each in await spool.run(lambda file: file.waiting(9))] == [2, 4]


async def test_a_full_spool_says_so_keeps_what_it_has_and_goes_on_when_there_is_room(path: Path) -> None:
    spool = Spool(path, "ls", bytes_max=40 * 4096)
    try:
        some = [event(number, 3000) for number in range(100)]
        results = [await _tried(spool, each) for each in some]
        kept = results.index(False)
        assert 5 < kept < 90
        assert not any(results[kept:])
        with pytest.raises(SpoolError, match=r"full.*make room"):
            await spool.run(lambda file: file.enqueue(some[:1], 0))
        # A small piece of work is not taken down by the large one beside it.
        large = spool.run(lambda file: file.enqueue([event(0, 1000)] * 500, 0))
        small = spool.run(lambda file: file.land(1))
        refused, done = await asyncio.gather(large, small, return_exceptions=True)
        assert isinstance(refused, SpoolError)
        assert done is None
        assert len(await spool.run(lambda file: file.waiting(1000))) == kept - 1
        await spool.run(lambda file: file.land(kept))
        await spool.run(lambda file: file.enqueue([event(kept, 3000)], 0))
    finally:
        spool.close()


async def _tried(spool: Spool, one: LabelSubmitted) -> bool:
    try:
        await spool.run(lambda file: file.enqueue([one], 0))
    except SpoolError:
        return False
    return True


def test_a_second_receiver_does_not_share_a_spool(spool: Spool) -> None:
    with pytest.raises(SpoolError, match="in use by another receiver"):
        Spool(spool.path, "ls")


def test_another_source_or_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    Spool(path, "ls").close()
    with pytest.raises(SpoolError, match="of source 'ls', not 'cvat'"):
        Spool(path, "cvat")
    other = tmp_path / "notes.txt"
    other.write_text("no database, but a text that is longer than a header of one would be\n" * 10)
    with pytest.raises(SpoolError, match="no spool, or damaged"):
        Spool(other, "ls")
    assert other.read_text().startswith("no database")
    with pytest.raises(SpoolError, match="cannot be opened"):
        Spool(other / "x", "ls")


def test_whatever_was_acknowledged_survives_a_kill(path: Path) -> None:
    """The process says each number when its event is durable, and is killed in the middle of writing."""
    writer = f"""
import asyncio, sys
from pathlib import Path
from streams.ingest.spool import Spool
from tests.ingest.test_spool import event
async def main():
    spool = Spool(Path({str(path)!r}), "ls")
    async def write(number):
        await spool.run(lambda file: file.enqueue([event(number)], 0))
        print(number, flush=True)
    for number in range(0, 100_000, 8):
        await asyncio.gather(*(write(number + each) for each in range(8)))
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().splitlines() if line]
    assert process.wait() == -signal.SIGKILL

    async def numbers() -> list[int]:
        spool = Spool(path, "ls")
        rows = await spool.run(lambda file: file.waiting(1_000_000))
        spool.close()
        return [int(each.value.split(b"e-")[1].split(b'"')[0]) for each in rows]

    found = asyncio.run(numbers())
    assert set(said) <= set(found)
    assert len(found) == len(set(found)) <= len(said) + 8


async def test_what_is_remembered_of_an_annotation_is_small(spool: Spool) -> None:
    before = (await spool.run(Transaction.backlog)).bytes

    def fill(file: Transaction) -> None:
        for number in range(5_000):
            file.put(number, Place(1, number), remembered(f"agent-{number % 50}"))

    await spool.run(fill)
    after = (await spool.run(Transaction.backlog)).bytes
    assert (after - before) / 5_000 < 120

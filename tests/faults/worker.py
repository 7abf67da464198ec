"""The worker that the faults are driven against: the real one, which tells how far it is and may be made to misbehave.

What it misbehaves in stands in the environment, so that nothing of it is in the worker itself.
"""

import asyncio
import errno
import json
import logging
import os
import resource
import struct
import sys
import time
from pathlib import Path
from typing import Any

from streams.engine import parts
from streams.engine.partition import Checkpoint, PartitionEngine
from streams.exporter import pseudonyms
from streams.runtime import checkpoints, consumer_thread, fetched, logs, partitions, transport, worker
from streams.runtime.partitions import Partitions
from streams.runtime.settings import Settings
from streams.runtime.worker import run

VARIABLE = "FAULTS"
PROGRAM = "from tests.faults.worker import main; main()"
_CELL = struct.Struct("<q")


class Progress:
    """What a worker has applied, in a file that outlives it: cells of the total, and by partition applied and cut.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)

    def set(self, cell: int, value: int) -> None:
        """Writes one cell; the page cache keeps it through a kill -9."""
        os.pwrite(self._file, _CELL.pack(value), cell * _CELL.size)

    def get(self, cell: int) -> int:
        """Reads one cell, 0 where nothing was written."""
        found = os.pread(self._file, _CELL.size, cell * _CELL.size)
        return int(_CELL.unpack(found)[0]) if len(found) == _CELL.size else 0

    @property
    def records(self) -> int:
        """Records applied in this life."""
        return self.get(0)

    def applied(self, partition: int) -> int:
        """One above the last applied offset; 0 for none."""
        return self.get(1 + 2 * partition)

    def cut(self, partition: int) -> int:
        """The same, as of the last checkpoint that was begun; 0 for none in this life."""
        return self.get(2 + 2 * partition)


def _tell_progress(progress: Progress) -> None:
    apply, checkpoint = PartitionEngine.apply, PartitionEngine.checkpoint
    total = 0

    def telling(self: PartitionEngine, records: Any) -> None:
        nonlocal total
        before = self.applied
        apply(self, records)
        total += sum(record.offset > before for record in records)
        progress.set(0, total)
        progress.set(1 + 2 * self.partition, self.applied + 1)

    def cutting(self: PartitionEngine) -> Checkpoint:
        taken = checkpoint(self)
        progress.set(2 + 2 * self.partition, taken.applied + 1)
        return taken

    PartitionEngine.apply = telling  # type: ignore[method-assign]  # the fault
    PartitionEngine.checkpoint = cutting  # type: ignore[method-assign]  # the fault


def _pace(seconds: float) -> None:
    pace = Partitions._pace

    async def slower(self: Partitions, owned: Any) -> None:
        await asyncio.sleep(seconds)
        await pace(self, owned)

    Partitions._pace = slower  # type: ignore[method-assign]  # the fault


def _slow_restore(seconds: float) -> None:
    restore = PartitionEngine.restore

    def slow(*positional: Any, **named: Any) -> PartitionEngine:
        time.sleep(seconds)
        return restore(*positional, **named)

    PartitionEngine.restore = slow  # type: ignore[method-assign]  # the fault


def _slow_body(seconds: float) -> None:
    apply = PartitionEngine.apply

    def slow(self: PartitionEngine, records: Any) -> None:
        time.sleep(seconds)
        apply(self, records)

    PartitionEngine.apply = slow  # type: ignore[method-assign]  # the fault


def _hang_after(records: int) -> None:
    apply = PartitionEngine.apply
    total = 0

    def hanging(self: PartitionEngine, batch: Any) -> None:
        nonlocal total
        total += len(batch)
        if total > records:
            time.sleep(600)
        apply(self, batch)

    PartitionEngine.apply = hanging  # type: ignore[method-assign,assignment]  # the fault


def _full_disk() -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pseudonyms.os.fsync = fsync  # type: ignore[attr-defined]  # the fault


def main() -> None:
    """Misbehaves as told, and runs the worker."""
    told = json.loads(os.environ[VARIABLE])
    fetched.BATCH_RECORDS = told.get("batch", fetched.BATCH_RECORDS)
    consumer_thread.FETCH_BYTES = told.get("fetch", consumer_thread.FETCH_BYTES)
    checkpoints._TRANSACTION_SECONDS = told.get("transaction_seconds", checkpoints._TRANSACTION_SECONDS)
    checkpoints._REQUEST_SECONDS = told.get("request_seconds", checkpoints._REQUEST_SECONDS)
    consumer_thread.REQUEST_SECONDS = told.get("request_seconds", consumer_thread.REQUEST_SECONDS)
    setattr(transport, "REQUEST_SECONDS", consumer_thread.REQUEST_SECONDS)  # noqa: B010 - a name that it imports
    partitions._WRITE_SECONDS = told.get("write_seconds", partitions._WRITE_SECONDS)
    parts.PEOPLE_MAX = told.get("people", parts.PEOPLE_MAX)
    _tell_progress(Progress(Path(told["progress"])))
    if "pace" in told:
        _pace(told["pace"])
    if "slow_restore" in told:
        _slow_restore(told["slow_restore"])
    if "slow_body" in told:
        _slow_body(told["slow_body"])
    if "hang_after" in told:
        _hang_after(told["hang_after"])
    if "full_disk" in told:
        _full_disk()
    if "log_bytes" in told:
        # A file, the log's too, that would grow beyond fails to be written, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (told["log_bytes"], told["log_bytes"]))
    if "debug" in told:
        configure = logs.configure

        def talkative() -> None:
            configure()
            logging.getLogger("aiokafka").setLevel(told["debug"])
            logging.getLogger("faust").setLevel(told["debug"])

        worker.logs.configure = talkative  # type: ignore[attr-defined]  # the fault
    while "go" in told and not Path(told["go"]).exists():
        time.sleep(0.01)
    sys.exit(run(Settings.resolve()))

"""`labelwatch dump`: the events topic as a file of JSON lines; whole, or the command fails and there is no file."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from aiokafka.errors import KafkaError

from schemas.topics import EVENTS
from streams.ops.errors import WRONG_USE, CommandError
from streams.ops.records import TopicReader, unreadable
from streams.runtime.settings import Settings


class Dumped(NamedTuple):
    """What a dump has written.

    Attributes:
        records: Lines, one a record.
        by_partition: Records of each partition.
        joined: Records with a line break, which stands as a space in the file: the same JSON, other bytes.
    """

    records: int
    by_partition: list[int]
    joined: int


def dump(path: Path, settings: Settings) -> Dumped:
    """Writes the committed records of the events topic, partition by partition, to where their logs end now.

    The file appears under its name when it is whole and on the disk.

    Raises:
        CommandError: Something could not be read or written, or there is nothing.
        SettingsError: A certificate or the password cannot be read.
    """
    if path.exists():
        raise CommandError(f"{path} is there already: give the name of a new file", WRONG_USE)
    try:
        with draft(path) as file:
            done = asyncio.run(_write(file, settings))
            if not done.records:
                raise CommandError(f"{EVENTS} at {settings.bootstrap} holds no record: nothing was written")
    except (KafkaError, TimeoutError, ConnectionError) as error:
        raise unreadable(EVENTS, settings, error, "nothing was written") from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; nothing was written") from error
    return done


@contextlib.contextmanager
def draft(path: Path) -> Iterator[BinaryIO]:
    """A file beside it, which is renamed to it where all went well, and removed otherwise."""
    part = path.with_name(f".{path.name}.part")
    try:
        # Events name people: for the owner alone.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


async def _write(file: BinaryIO, settings: Settings) -> Dumped:
    by_partition: list[int] = []
    joined = 0
    async with TopicReader(settings) as topic:
        for partition in range(topic.partitions):
            count = 0
            async for batch in topic.read(partition, None):
                for record in batch:
                    # As Kafka's own tool writes a record without a value.
                    value = b"null" if record.value is None else record.value
                    if b"\n" in value:
                        joined += 1
                        value = value.replace(b"\n", b" ")
                    file.write(value + b"\n")
                count += len(batch)
            by_partition.append(count)
    return Dumped(sum(by_partition), by_partition, joined)

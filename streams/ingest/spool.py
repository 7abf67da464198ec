"""What must survive: events that Kafka does not have yet, and what is remembered of annotations, in one SQLite file.

One thread owns the file. Whatever waits for it is done in one transaction, which one fsync ends: at 200 hooks a second
each waits for a part of one. Nobody is answered before that. The file is locked: a second receiver does not start.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from schemas.events import Event
from streams.ingest.ledger import Memory, Place, Remembered

#: Work of one transaction at most.
_GROUP_MAX = 256
_PAGE_BYTES = 4096
#: Refused bodies that are kept, the newest.
_REFUSED_MAX = 10_000
_FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS annotations(id INTEGER PRIMARY KEY, project INTEGER, task INTEGER, state BLOB);
CREATE INDEX IF NOT EXISTS annotations_by_task ON annotations(project, task);
CREATE TABLE IF NOT EXISTS outgoing(id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB, value BLOB, at REAL);
CREATE TABLE IF NOT EXISTS refused(id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, reason TEXT, detail TEXT, body BLOB);
"""

_T = TypeVar("_T")
_remembered = msgspec.msgpack.Decoder(Remembered)


class SpoolError(Exception):
    """The spool cannot be used or written; the message is one sentence that says what to do."""


class SpooledEvent(NamedTuple):
    """An event that Kafka does not have yet."""

    number: int
    key: bytes
    value: bytes


class Flight(NamedTuple):
    """A batch that may have reached Kafka.

    Attributes:
        through: The last number of it.
        positions: By partition, from which offset its records can be.
    """

    through: int
    positions: dict[int, int]


class Backlog(NamedTuple):
    """How much waits.

    Attributes:
        records: Events that Kafka does not have yet.
        oldest_at: When the oldest of them was received, epoch seconds; None: there is none.
        bytes: Size of the file.
    """

    records: int
    oldest_at: float | None
    bytes: int


class Transaction(Memory):
    """The file as one piece of work sees it; in the spool's thread alone."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, annotation: int) -> tuple[Place, Remembered] | None:
        """An annotation, with its place."""
        row = self._one("SELECT project, task, state FROM annotations WHERE id = ?", annotation)
        return None if row is None else (Place(row[0], row[1]), _remembered.decode(row[2]))

    def of_task(self, place: Place) -> dict[int, Remembered]:
        """All annotations of a task."""
        rows = self._database.execute("SELECT id, state FROM annotations WHERE project = ? AND task = ?", place)
        return {number: _remembered.decode(state) for number, state in rows}

    def put(self, annotation: int, place: Place, remembered: Remembered) -> None:
        """Keeps an annotation."""
        state = msgspec.msgpack.encode(remembered)
        self._database.execute("REPLACE INTO annotations VALUES (?, ?, ?, ?)", (annotation, *place, state))

    def want_sweep(self, project: int) -> None:
        """Keeps that a project is to be looked at whole."""
        name = f"sweep/{project}"
        # Counted, so that what is wanted while a sweep is under way is not taken for done.
        self.note(name, str(int(self.noted(name) or 0) + 1).encode())

    def tasks_of(self, project: int) -> dict[int, int]:
        """Tasks of a project with annotations that are not deleted, and when the newest of each changed."""
        newest: dict[int, int] = {}
        for task, state in self._database.execute("SELECT task, state FROM annotations WHERE project = ?", (project,)):
            remembered = _remembered.decode(state)
            if not remembered.deleted:
                newest[task] = max(newest.get(task, 0), remembered.updated_us)
        return newest

    def enqueue(self, events: Iterable[Event], at: float) -> None:
        """Adds events to what waits for Kafka."""
        rows = ((event.site_id.encode(), encoded(event), at) for event in events)
        self._database.executemany("INSERT INTO outgoing(key, value, at) VALUES (?, ?, ?)", rows)

    def refuse(self, at: float, reason: str, detail: str, body: bytes | None) -> None:
        """Keeps a refused body, without its secrets, or that there was one."""
        added = self._database.execute(
            "INSERT INTO refused(at, reason, detail, body) VALUES (?, ?, ?, ?)", (at, reason, detail, body)
        )
        self._database.execute("DELETE FROM refused WHERE id <= ?", ((added.lastrowid or 0) - _REFUSED_MAX,))

    def refused(self) -> list[tuple[str, str, bytes | None]]:
        """What was refused: reason, sentence and body, oldest first."""
        return list(self._database.execute("SELECT reason, detail, body FROM refused ORDER BY id"))

    # --- for the sender

    def waiting(self, limit: int) -> list[SpooledEvent]:
        """The oldest events that Kafka does not have yet."""
        rows = self._database.execute("SELECT id, key, value FROM outgoing ORDER BY id LIMIT ?", (limit,))
        return [SpooledEvent(*row) for row in rows]

    def begin_flight(self, flight: Flight) -> None:
        """Notes a batch before it is sent."""
        self.note("flight", msgspec.msgpack.encode(flight))

    def flight(self) -> Flight | None:
        """The batch of which it is not known whether Kafka has it; None: there is none."""
        noted = self.noted("flight")
        return None if noted is None else msgspec.msgpack.decode(noted, type=Flight)

    def land(self, through: int) -> None:
        """Removes what Kafka has acknowledged: all up to a number."""
        self._database.execute("DELETE FROM outgoing WHERE id <= ?", (through,))
        self.forget("flight")

    def found(self, numbers: Iterable[int]) -> None:
        """Removes what was found in Kafka of a flight: single numbers."""
        self._database.executemany("DELETE FROM outgoing WHERE id = ?", ((number,) for number in numbers))
        self.forget("flight")

    def backlog(self) -> Backlog:
        """How much waits."""
        first, last = self._database.execute("SELECT min(id), max(id) FROM outgoing").fetchone()
        pages = self._database.execute("PRAGMA page_count").fetchone()[0]
        if first is None:
            return Backlog(0, None, pages * _PAGE_BYTES)
        row = self._one("SELECT at FROM outgoing WHERE id = ?", first)
        return Backlog(last - first + 1, None if row is None else row[0], pages * _PAGE_BYTES)

    # --- small facts by name

    def note(self, name: str, value: bytes) -> None:
        """Keeps a small fact."""
        self._database.execute("REPLACE INTO facts VALUES (?, ?)", (name, value))

    def noted(self, name: str) -> bytes | None:
        """A small fact; None: it is not there."""
        row = self._one("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else row[0]

    def forget(self, name: str) -> None:
        """Removes a small fact."""
        self._database.execute("DELETE FROM facts WHERE name = ?", (name,))

    def forget_if(self, name: str, value: bytes | None) -> None:
        """Removes a small fact, unless it has changed since it was read."""
        if self.noted(name) == value:
            self.forget(name)

    def _one(self, query: str, value: int | str) -> Any:
        return self._database.execute(query, (value,)).fetchone()


class _Work(NamedTuple):
    body: Callable[[Transaction], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


class Spool:
    """The file and its thread.

    Args:
        path: Of the file; made where there is none.
        source: The tool's name; a file holds one tool.
        bytes_max: The file grows no further.

    Raises:
        SpoolError: It cannot be opened, is in use, or is of another source.
    """

    def __init__(self, path: Path, source: str, bytes_max: int = 4 << 30) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._database = self._open()
        try:
            #: Of this file, whatever its name: tells its records in Kafka from those of others.
            self.identity = self._identify(source)
        except BaseException:
            self._database.close()
            raise
        self._thread = threading.Thread(target=self._work, name="labelwatch-spool", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(f"{self.path} cannot be opened ({error}): give a path that can be written") from error
        try:
            # Exclusive before WAL: then there is no shared memory beside the file, and it is locked.
            for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                database.execute(f"PRAGMA {setting}")
            database.execute(f"PRAGMA max_page_count = {self._bytes_max // _PAGE_BYTES}")
            database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            database.close()
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise SpoolError(
                    f"{self.path} is in use by another receiver: stop that one, or give another path"
                ) from error
            raise SpoolError(
                f"{self.path} cannot be used ({error}): it is no spool, or damaged; give another path"
            ) from error
        return database

    def _identify(self, source: str) -> str:
        file = Transaction(self._database)
        wanted = {"format": str(_FORMAT), "source": source, "identity": uuid.uuid4().hex}
        try:
            for name, value in wanted.items():
                if file.noted(name) is None:
                    file.note(name, value.encode())
            known = {name: (file.noted(name) or b"").decode() for name in wanted}
        except sqlite3.Error as error:
            raise self._sentence(error) from error
        if known["format"] != wanted["format"]:
            raise SpoolError(
                f"{self.path} is of format {known['format']}, this build knows {_FORMAT}: give another path"
            )
        if known["source"] != source:
            raise SpoolError(
                f"{self.path} is of source {known['source']!r}, not {source!r}: give each source a spool of its own"
            )
        return known["identity"]

    @property
    def is_alive(self) -> bool:
        """Whether its thread works."""
        return self._thread.is_alive()

    async def run(self, body: Callable[[Transaction], _T]) -> _T:
        """Does a piece of work, with others in one transaction; it is durable when this returns.

        Args:
            body: Reads and writes; may be called again where another one's failure undid it.

        Raises:
            SpoolError: It cannot be written, the disk is full for example.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._queue.put(_Work(body, loop, future))
        return await future

    def close(self) -> None:
        """Ends the thread when what waits is done."""
        self._queue.put(None)
        self._thread.join()
        self._database.close()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group, is_last = [first], False
            with contextlib.suppress(queue.Empty):
                while len(group) < _GROUP_MAX and not is_last:
                    work = self._queue.get_nowait()
                    if work is None:
                        is_last = True
                    else:
                        group.append(work)
            if not self._commit(group) and len(group) > 1:
                # One that needs more room than there is must not take the others with it.
                for work in group:
                    self._commit([work])
            if is_last:
                return

    def _commit(self, group: list[_Work]) -> bool:
        """Does a group in one transaction; False: it was undone, and of several nobody has been answered."""
        answers: list[Callable[[], None]] = []
        file = Transaction(self._database)
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for work in group:
                self._database.execute("SAVEPOINT one")
                try:
                    answers.append(_answer(work, work.body(file)))
                except sqlite3.Error:
                    raise
                except Exception as error:  # the caller's own
                    self._database.execute("ROLLBACK TO one")
                    answers.append(_failure(work, error))
                self._database.execute("RELEASE one")
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            if len(group) > 1:
                return False
            answers = [_failure(group[0], self._sentence(error))]
        for answer in answers:
            answer()
        return True

    def _sentence(self, error: sqlite3.Error) -> SpoolError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return SpoolError(
                f"the spool is full ({self.path}: the disk, or its limit of {self._bytes_max:,} bytes): make room, or "
                "bring Kafka back so that it empties"
            )
        return SpoolError(f"the spool cannot be written ({self.path}: {error}): check the disk and the file's rights")


def encoded(event: Event) -> bytes:
    """An event as the topic has it: what is not given is left out."""
    return msgspec.json.encode(_given(msgspec.to_builtins(event)))


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _given(each) if isinstance(each, dict) else each for name, each in value.items() if each is not None}


def _answer(work: _Work, result: Any) -> Callable[[], None]:
    return lambda: _tell(work, lambda: work.future.set_result(result))


def _failure(work: _Work, error: Exception) -> Callable[[], None]:
    return lambda: _tell(work, lambda: work.future.set_exception(error))


def _tell(work: _Work, how: Callable[[], None]) -> None:
    def body() -> None:
        # Who asked may have hung up.
        if not work.future.done():
            how()

    # The loop may be closed by then: nobody waits.
    with contextlib.suppress(RuntimeError):
        work.loop.call_soon_threadsafe(body)

"""Seeded traffic without end, stamped with (producer, sequence), and the loader that writes it to Kafka."""

import math
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from confluent_kafka import Message, Producer

from schemas.topics import EVENTS
from tests.oracle.traffic import HOUR_MS, Place, _some

PRODUCERS = 2
FLUSH_SECONDS = 180
_EVENT_ID = re.compile(rb'("event_id"\s*:\s*")([0-9a-f]{8,})(")')
_CORRECT = re.compile(rb'("correct"\s*:\s*)true')
#: The broken site: it gets worse once so much of the traffic has come.
_WORSE_AFTER = 6_000


class Written(NamedTuple):
    """One record for the events topic."""

    producer: int
    partition: int
    key: bytes
    value: bytes | None


class Traffic:
    """Everything that the contract allows, and much that it does not, from a few sites of two partitions.

    Event ids are `<producer>-<sequence>`; a repeat has the id of its first. Each producer numbers its own.

    Args:
        seed: The same seed gives the same decisions.
        partitions: Of the events topic.
        backlog: So many records lie in the past; those after them are of now.
        span_ms: How far back the past goes.
    """

    def __init__(self, seed: int, partitions: int, backlog: int, span_ms: int) -> None:
        self._rng = random.Random(seed)
        self._partitions = partitions
        self._backlog = backlog
        self._span_ms = span_ms
        self._start_ms = int(time.time() * 1000) - span_ms
        self._stamps: dict[bytes, bytes] = {}
        self._sequences = [0] * PRODUCERS
        self._count = 0
        #: Partitions that get nothing for now.
        self.quiet: set[int] = set()
        #: Whether each record of a site goes to a partition of its own.
        self.splits = False
        #: Nothing but these, where given.
        self.only: list[bytes | None] = []
        self.places = [
            place
            for number in range(partitions)
            for place in (
                Place(f"large-{number}", [f"a-{n}" for n in range(400)], 0, 0.5),
                Place(f"上海-{number}", [f"标注员{n}" for n in range(40)], 200_000, 0.3),
                Place(f'sm"all\\{number}', ["José", "😀", "a-1", "x" * 128], -40_000, 0.2),
            )
        ]

    def _now_ms(self) -> int:
        if self._count >= self._backlog:
            return int(time.time() * 1000)
        return self._start_ms + self._span_ms * self._count // self._backlog

    def __iter__(self) -> Iterator[Written]:
        shares = [place.share for place in self.places]
        waiting: dict[str, list[bytes]] = {place.name: [] for place in self.places}
        while True:
            index = self._rng.choices(range(len(self.places)), shares)[0]
            place, partition = self.places[index], index * self._partitions // len(self.places)
            if partition in self.quiet:
                continue
            values = list(_some(self._rng, place, self._now_ms(), waiting[place.name]))
            if waiting[place.name] and self._rng.random() < 0.05:
                values.append(waiting[place.name].pop(0))
            if self.only:
                values = [self._rng.choice(self.only)]
            for value in values:
                if value is not None and self._rng.random() < 0.9:
                    place.recent.append(value)
                if self.splits:
                    partition = self._rng.randrange(self._partitions)
                yield self._stamped(index % PRODUCERS, partition, index, value)
            del place.recent[:-2_000]

    def _stamped(self, producer: int, partition: int, index: int, value: bytes | None) -> Written:
        self._count += 1

        def stamp(found: "re.Match[bytes]") -> bytes:
            known = self._stamps.get(found[2])
            if known is None:
                self._sequences[producer] += 1
                known = self._stamps[found[2]] = b"%d-%d" % (producer, self._sequences[producer])
            return found[1] + known + found[3]

        if value is not None:
            value = _EVENT_ID.sub(stamp, value)
            if index == 0 and self._count > _WORSE_AFTER and self._rng.random() < 0.5:
                value = _CORRECT.sub(rb"\1false", value)
        return Written(producer, partition, self.places[index].name.encode(), value)


class Undoing:
    """A transactional producer that rolls back every other transaction: wrong at first, then again and right.

    Args:
        settings: Of the producer.
        rng: Decides how long each transaction is.
    """

    def __init__(self, settings: dict[str, Any], rng: random.Random) -> None:
        self._producer = Producer(settings)
        self._producer.init_transactions(FLUSH_SECONDS)
        self._rng = rng
        self._written: list[Written] = []
        self._delivered: list[tuple[int, int]] = []
        self._rolls_back = False
        self._length = 0

    def send(self, record: Written) -> list[tuple[int, int]]:
        """Writes one record into the transaction of the moment; what was committed by that, by partition and offset."""
        if not self._written:
            self._producer.begin_transaction()
            self._rolls_back = not self._rolls_back
            self._length = self._rng.randrange(1, 60)
        value = _CORRECT.sub(rb"\1false", record.value) if self._rolls_back and record.value else record.value
        self._produce(record._replace(value=value))
        self._written.append(record)
        return self.end() if len(self._written) >= self._length else []

    def end(self) -> list[tuple[int, int]]:
        """Ends the transaction of the moment, if there is one; what was committed by that."""
        if not self._written:
            return []
        if self._rolls_back:
            self._flush()
            self._producer.abort_transaction(FLUSH_SECONDS)
            self._delivered.clear()
            self._producer.begin_transaction()
            for record in self._written:
                self._produce(record)
        self._flush()
        self._producer.commit_transaction(FLUSH_SECONDS)
        committed, self._delivered, self._written = self._delivered, [], []
        return committed

    def leave_open(self, records: list[Written]) -> None:
        """Begins a transaction and never ends it; nothing else is asked of this producer afterwards."""
        self._producer.begin_transaction()
        for record in records:
            self._produce(record)
        self._flush()

    def roll_back(self, records: list[Written]) -> None:
        """Writes and rolls back."""
        self.leave_open(records)
        self._producer.abort_transaction(FLUSH_SECONDS)

    def _flush(self) -> None:
        left = self._producer.flush(FLUSH_SECONDS)
        assert left == 0, f"{left} records were not acknowledged"

    def _produce(self, record: Written) -> None:
        self._producer.produce(
            EVENTS, value=record.value, key=record.key, partition=record.partition, on_delivery=self._note
        )
        self._producer.poll(0)

    def _note(self, error: object, message: Message) -> None:
        assert error is None, error
        self._delivered.append((message.partition(), message.offset()))


class Loader:
    """Writes traffic: a backlog at once, then at a rate, until told to stop. Keeps what the broker acknowledged.

    Args:
        bootstrap: The broker.
        traffic: What to write.
        enough: After so many records it goes on at a tenth of its rate: a busy machine, on which a round takes minutes,
            need not work through several times the records of an idle one.
    """

    def __init__(self, bootstrap: str, traffic: Iterable[Written], enough: float = math.inf) -> None:
        #: As the class that it is: each test asks its own.
        self.traffic: Any = traffic
        #: (partition, offset) of all that the broker acknowledged and that was not rolled back.
        self.acknowledged: set[tuple[int, int]] = set()
        self.failed = 0
        self._undoing: list[Undoing] = []
        self._rng = random.Random(0)
        self._records = iter(traffic)
        self._settings = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "message.max.bytes": 16 << 20,
            "message.timeout.ms": FLUSH_SECONDS * 1000,
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
        }
        self._producers = [Producer(self._settings) for _ in range(PRODUCERS)]
        self._rate = 0.0
        self._enough = enough
        self._sent = 0
        self._ended = False
        self._stopped = threading.Event()
        #: While set, nothing is written.
        self.held = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def undo(self, rng: random.Random) -> None:
        """From here on most records come from three transactional producers, beside the plain ones and in turns."""
        self._rng = rng
        self._undoing = [self.undoing(f"undoing-{codec}", codec) for codec in ("none", "gzip", "zstd")]

    def undoing(self, name: str, codec: str = "none", timeout_seconds: float = 60) -> Undoing:
        """A transactional producer; the broker ends what it leaves open after some time."""
        more = {"transactional.id": f"{name}-{id(self)}", "compression.type": codec}
        times = {"transaction.timeout.ms": int(timeout_seconds * 1000), "message.timeout.ms": 0}
        return Undoing({**self._settings, **more, **times}, self._rng)

    def some(self, count: int, partition: int) -> list[Written]:
        """Records that are of no sequence, for a partition."""
        values = [
            b'{"type":"label_reviewed","event_id":"undone-%d","at":%d,"site_id":"large-%d","agent_id":"a-1",'
            b'"project_id":"p","task_id":"t","correct":false}' % (n, int(time.time() * 1000), partition)
            for n in range(count)
        ]
        return [Written(0, partition, b"large", value) for value in values]

    @property
    def ends(self) -> dict[int, int] | None:
        """By partition, one above the last record that counts, where others follow it; else the log's end says it."""
        if not self._undoing:
            return None
        ends: dict[int, int] = {}
        for partition, offset in tuple(self.acknowledged):
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        return ends

    def write(self, count: int) -> None:
        """Writes so many records and returns once the broker has them."""
        for _ in range(count):
            self._send(next(self._records))
        self.flush()

    def start(self, rate: float) -> None:
        """From here on so many records a second."""
        self._rate = rate
        self._thread.start()

    def stop(self) -> None:
        """Ends the stream; the broker has all of it."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        for each in self._undoing:
            self.acknowledged |= set(each.end())
        assert self._ended or self._thread.ident is None, "the loader failed; see stderr"
        self.flush()
        assert not self.failed, f"{self.failed} records were not acknowledged"

    def flush(self) -> None:
        """Waits until the broker has acknowledged everything."""
        for producer in self._producers:
            left = producer.flush(FLUSH_SECONDS)
            assert left == 0, f"{left} records were not acknowledged"

    def _send(self, record: Written) -> None:
        self._sent += 1
        if self._undoing and self._rng.random() < 0.7:
            self.acknowledged |= set(self._rng.choice(self._undoing).send(record))
            return
        while True:
            try:
                self._producers[record.producer].produce(
                    EVENTS, value=record.value, key=record.key, partition=record.partition, on_delivery=self._delivered
                )
                return
            except BufferError:
                self._producers[record.producer].poll(0.05)

    def _delivered(self, error: object, message: Message) -> None:
        if error is None:
            self.acknowledged.add((message.partition(), message.offset()))
        else:
            self.failed += 1

    def _run(self) -> None:
        before, owed = time.monotonic(), 0.0
        while not self._stopped.wait(0.05):
            now = time.monotonic()
            rate = self._rate if self._sent < self._enough else self._rate / 10
            # A broker that is away must not be met by all that it missed at once.
            owed = min(owed + (now - before) * rate, rate / 5)
            before = now
            due = int(owed)
            for _ in range(0 if self.held.is_set() else due):
                self._send(next(self._records))
            owed -= due
            for producer in self._producers:
                producer.poll(0)
        self._ended = True


#: Default reach of the past.
SPAN_MS = 3 * HOUR_MS

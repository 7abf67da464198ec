"""Seeded traffic without end, stamped with (producer, sequence), and the loader that writes it to Kafka."""

import random
import re
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

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


class Loader:
    """Writes traffic: a backlog at once, then at a rate, until told to stop. Keeps what the broker acknowledged.

    Args:
        bootstrap: The broker.
        traffic: What to write.
    """

    def __init__(self, bootstrap: str, traffic: Traffic) -> None:
        self.traffic = traffic
        #: (partition, offset) of all that the broker acknowledged.
        self.acknowledged: set[tuple[int, int]] = set()
        self.failed = 0
        self._records = iter(traffic)
        self._producers = [
            Producer(
                {
                    "bootstrap.servers": bootstrap,
                    "enable.idempotence": True,
                    "linger.ms": 5,
                    "message.max.bytes": 16 << 20,
                    "message.timeout.ms": FLUSH_SECONDS * 1000,
                    "reconnect.backoff.max.ms": 500,
                    "log_level": 0,
                }
            )
            for _ in range(PRODUCERS)
        ]
        self._rate = 0.0
        self._ended = False
        self._stopped = threading.Event()
        #: While set, nothing is written.
        self.held = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

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
        assert self._ended or self._thread.ident is None, "the loader failed; see stderr"
        self.flush()
        assert not self.failed, f"{self.failed} records were not acknowledged"

    def flush(self) -> None:
        """Waits until the broker has acknowledged everything."""
        for producer in self._producers:
            left = producer.flush(FLUSH_SECONDS)
            assert left == 0, f"{left} records were not acknowledged"

    def _send(self, record: Written) -> None:
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
        began, sent = time.monotonic(), 0
        while not self._stopped.wait(0.02):
            # A broker that is away must not be met by all that it missed at once.
            due = min(int((time.monotonic() - began) * self._rate) - sent, int(self._rate / 5))
            began = max(began, time.monotonic() - (sent + due + 1) / self._rate)
            for _ in range(0 if self.held.is_set() else due):
                self._send(next(self._records))
            sent += due
            for producer in self._producers:
                producer.poll(0)
        self._ended = True


#: Default reach of the past.
SPAN_MS = 3 * HOUR_MS

"""`labelwatch bridge`: a dry run over a topic's newest records, and the process that turns it into events for good."""

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError
from kafka.admin import NewTopic
from kafka.errors import KafkaError as PlainKafkaError
from kafka.errors import TopicAlreadyExistsError
from prometheus_client import start_http_server

from schemas.text import visible
from schemas.topics import EVENTS, bridge_rejected_topic
from streams.exporter.own_page import OwnMetrics
from streams.ops.errors import WRONG_USE, CommandError
from streams.ops.import_files import counted
from streams.ops.records import TopicReader, unreadable
from streams.ops.topics import admin_of
from streams.runtime.broker import REPLICAS
from streams.runtime.crash_point import CrashPoint
from streams.runtime.settings import Settings
from streams.sources.bridge import Bridge, Bridged, BridgeOptions
from streams.sources.mapped_topic import MappedEvent, SourceRecord, TopicMapping
from streams.sources.mapping.errors import CellError
from streams.sources.sinks import KafkaTarget

log = logging.getLogger(__name__)

#: Of a dry run: records looked at in each partition, events shown, records named.
_RECORDS, _SHOWN, _NAMED = 1_000, 10, 20


# --- the dry run


@dataclass(slots=True)
class BridgeTrial:
    """What a topic's newest records would come to.

    Attributes:
        records: Looked at.
        passed: Of no event by the mapping.
        events: By type.
        sites: Events by site.
        bad: Records that cannot be used, by a few words of why.
        named: The first of them: place and sentence.
        shown: The first events.
    """

    records: int = 0
    passed: int = 0
    events: Counter[str] = field(default_factory=Counter)
    sites: Counter[bytes] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    shown: list[MappedEvent] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """What was found, for a person who decides whether to go on."""
        yield from (visible(event.value.decode()) for event in self.shown)
        passed = f", {self.passed:,} of no event by the mapping" if self.passed else ""
        bad = self.bad.total()
        used = self.records - self.passed - bad
        yield f"records: {self.records:,} of the newest read, {used:,} used, {bad:,} could not be used{passed}"
        yield f"events: {counted(self.events) or 'none'}"
        if self.sites:
            yield f"sites: {counted({key.decode(): count for key, count in self.sites.items()})}"
        if bad:
            yield f"to the dead letters would go: {counted(self.bad)}"
            yield from self.named


def trial(settings: Settings, source: str, mapping: TopicMapping) -> BridgeTrial:
    """Maps the newest records of each partition, and writes nothing.

    Raises:
        CommandError: The topic cannot be read.
    """
    try:
        return asyncio.run(_trial(settings, source, mapping))
    except (KafkaError, TimeoutError, ConnectionError) as error:
        raise unreadable(source, settings, error) from error


async def _trial(settings: Settings, source: str, mapping: TopicMapping) -> BridgeTrial:
    found = BridgeTrial()
    async with TopicReader(settings, source) as topic:
        for partition in range(topic.partitions):
            for record in await topic.newest(partition, _RECORDS):
                found.records += 1
                try:
                    events = mapping(SourceRecord(partition, record.offset, record.timestamp, record.key, record.value))
                except CellError as error:
                    found.bad[error.reason] += 1
                    if len(found.named) < _NAMED:
                        found.named.append(f"partition {partition} offset {record.offset}: {visible(str(error))}")
                    continue
                found.passed += not events
                for event in events:
                    found.events[event.type] += 1
                    found.sites[event.key] += 1
                found.shown += events[: _SHOWN - len(found.shown)]
    return found


# --- the process


class BridgeMetrics(OwnMetrics):
    """What a bridge counts; only of what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self._records = self.counter("labelwatch_bridge_records_total")
        for outcome in ("mapped", "passed", "rejected"):
            self._records.labels(outcome)
        self._events = self.counter("labelwatch_bridge_events_total")
        self._rejected = self.counter("labelwatch_bridge_rejected_total")
        self._transactions = self.counter("labelwatch_bridge_transactions_total")
        self._failures = self.counter("labelwatch_bridge_failures_total")
        self._waiting = self.gauge("labelwatch_bridge_waiting_records")
        self._commit = self.gauge("labelwatch_bridge_last_commit_timestamp_seconds")

    def committed(self, partition: int, done: Bridged, behind: int) -> None:
        """A transaction counts; so many records of the partition wait behind it."""
        self._transactions.inc()
        rejected = done.rejected.total()
        for outcome, count in (
            ("mapped", done.records - done.passed - rejected),
            ("passed", done.passed),
            ("rejected", rejected),
        ):
            self._records.labels(outcome).inc(count)
        for kind, count in done.events.items():
            self._events.labels(kind).inc(count)
        for reason, count in done.rejected.items():
            self._rejected.labels(reason).inc(count)
        self._waiting.labels(partition).set(behind)
        self._commit.labels(partition).set(time.time())

    def failed(self) -> None:
        """Kafka failed, and everything begins anew at the last commit."""
        self._failures.inc()

    def assigned(self, partitions: Iterable[int]) -> None:
        """These are read from now on, and no others."""
        self._waiting.clear()
        self._commit.clear()
        for partition in partitions:
            self._waiting.labels(partition).set(0)


def bridge(settings: Settings, options: BridgeOptions, mapping: TopicMapping) -> None:
    """Bridges until SIGTERM, SIGINT or SIGHUP.

    Raises:
        CommandError: A topic is missing, or the port of the metrics is taken.
    """
    prepare(settings, options)
    metrics = BridgeMetrics()
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host, metrics.registry)
    except OSError as error:
        raise CommandError(
            f"cannot serve metrics at {settings.metrics_host}:{settings.metrics_port}: {error.strerror}; choose "
            "another --metrics-port",
            WRONG_USE,
        ) from error
    log.info(
        "bridging %s to %s; metrics at http://%s:%d/metrics",
        options.source,
        options.target.topic,
        settings.metrics_host,
        server.server_port,
    )
    crash = CrashPoint.armed()

    def prepared() -> None:
        if crash is not None and crash.at("prepared"):
            crash.fire()

    try:
        asyncio.run(_run(Bridge(options, mapping, metrics, prepared)))
    finally:
        server.shutdown()


async def _run(running: Bridge) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await running.run(stop)


def prepare(settings: Settings, options: BridgeOptions) -> None:
    """Sees that the topics are there; the one of dead letters is made where it is not.

    Raises:
        CommandError: Source or target is missing, or no broker answers.
    """
    admin = admin_of(settings)
    try:
        found = set(admin.list_topics())
        for topic, remedy in (
            (options.source, "check --from"),
            (options.target.topic, "create it with `labelwatch topics create`"),
        ):
            if topic not in found:
                raise CommandError(f"topic {topic} does not exist at {settings.bootstrap}: {remedy}")
        if options.rejected not in found:
            brokers = len(admin.describe_cluster()["brokers"])
            wanted = bridge_rejected_topic()
            replicas = REPLICAS if brokers >= REPLICAS else 1
            admin.create_topics([NewTopic(options.rejected, 1, replicas, topic_configs=dict(wanted.config))])
            log.info("created topic %s for records that cannot be used", options.rejected)
    except TopicAlreadyExistsError:
        pass
    except PlainKafkaError as error:
        raise CommandError(f"the broker at {settings.bootstrap} refused: {error}; see docs/security.md") from error
    finally:
        admin.close()


def options_of(settings: Settings, source: str, rejected: str, target: KafkaTarget) -> BridgeOptions:
    """What a person asks for, checked.

    Raises:
        CommandError: The source is one of the topics written to.
    """
    if source in (EVENTS, rejected):
        raise CommandError(
            f"--from {source}: is written to; give the topic of the tool that people label with", WRONG_USE
        )
    group = f"labelwatch-bridge-{settings.id}"
    return BridgeOptions(source, target, rejected, group, settings.session_timeout_seconds)

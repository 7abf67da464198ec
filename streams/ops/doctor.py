"""`labelwatch doctor`: everything that a worker relies on, a line each: ok, or what to do."""

import asyncio
import contextlib
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError

from schemas.conditions import CERTIFICATE_ENDS
from schemas.events import ClockAdvanced, Event
from schemas.policy import Policy, PolicyError
from schemas.topics import EVENTS, checkpoints_topic, topics
from streams import native
from streams.engine.decode import decode
from streams.engine.times import AHEAD_MS, implausible
from streams.exporter.pseudonyms import (
    KEY_FILE,
    PLAIN,
    PseudonymKeyError,
    agent_names,
    fingerprint,
    key_source,
)
from streams.ops.errors import CommandError
from streams.ops.ports import is_free
from streams.ops.records import TopicReader
from streams.ops.transactions import FAILS_SECONDS, NOTED_SECONDS, OpenTransaction, described, oldest_open, whose
from streams.runtime.access import denied
from streams.runtime.broker import Findings, WorkerRefusal, examine, recreated
from streams.runtime.certificates import trust_only, when
from streams.runtime.checkpoint_layout import KEY_FINGERPRINT, MANIFEST_KEY, OWN_TOPIC_ID, TOPIC_ID
from streams.runtime.checkpoints import other_key
from streams.runtime.ends import LogEnds
from streams.runtime.settings import Settings, SettingsError, service_links
from streams.runtime.watchdog import clock_offset_seconds
from streams.sources.sinks import partition_of
from streams.views.http import Unreachable
from streams.views.samples import ONCE_SECONDS, read_worker

_PYTHON = (3, 11)
#: Newest records of a checkpoint topic looked at: each checkpoint ends with its manifest.
_MANIFESTS = 16
#: Newest records looked at in each partition.
_RECORDS = 1_000
#: Clocks further apart than this shift the windows visibly.
_SKEW_SECONDS = 5
#: A newest record older than this says nothing about the broker's clock.
_FRESH_SECONDS = 60
#: How long to wait for a record that does.
_NEWS_SECONDS = 3.0
#: Kafka's code for a timestamp that the broker gave.
_APPEND_TIME = 1
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:.*?==\s*([0-9.]+))?")


class CheckMark(StrEnum):
    """The result of a check; a worker starts in spite of a note."""

    OK = "ok"
    NOTE = "note"
    FAIL = "FAIL"


class Check(NamedTuple):
    """One check's outcome: what it is about, and what was found or what to do."""

    mark: CheckMark
    about: str
    text: str


def examine_all(settings: Settings) -> Iterator[Check]:
    """Makes every check, in the order in which a worker would fail."""
    yield _python()
    yield _packages()
    yield _reader()
    yield _policy(settings.policy)
    yield _data_dir(settings.data_dir)
    yield _key(settings)
    yield _port(settings)
    yield _readers(settings)
    yield from _certificates(settings)
    yield from (Check(CheckMark.NOTE, "environment", sentence) for sentence in service_links())
    yield from _broker(settings)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON:
        return Check(CheckMark.FAIL, "python", f"{version}: install Python {'.'.join(map(str, _PYTHON))} or newer")
    return Check(CheckMark.OK, "python", version)


def _packages() -> Check:
    try:
        required = importlib.metadata.requires("labelwatch") or []
    except importlib.metadata.PackageNotFoundError:
        return Check(
            CheckMark.NOTE, "packages", "labelwatch runs from its sources: its packages' versions are not checked"
        )
    wrong = []
    own = [each for each in required if "extra ==" not in each]
    for each in own:
        name, pinned = _REQUIREMENT.match(each).groups()  # type: ignore[union-attr]  # a requirement begins with a name
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        # Whose private members the transport uses: another version may do anything.
        if pinned and not version.startswith(pinned):
            wrong.append(f"{name} is {version} where {pinned} is needed")
    if wrong:
        return Check(CheckMark.FAIL, "packages", f"{', '.join(wrong)}: install labelwatch again")
    return Check(CheckMark.OK, "packages", f"{len(own)} there")


def _reader() -> Check:
    if native.MODULE is None:
        return Check(CheckMark.NOTE, "reader", f"Python's, which is slower: the native one is {native.WHY_NOT}")
    return Check(CheckMark.OK, "reader", "native")


def _policy(path: Path | None) -> Check:
    try:
        policy = Policy.load(path)
    except PolicyError as error:
        return Check(CheckMark.FAIL, "policy", str(error))
    if path is None:
        return Check(CheckMark.OK, "policy", "none given, every default applies")
    return Check(
        CheckMark.OK, "policy", f"{path} names {len(policy.sites())} sites and {len(policy.projects())} projects"
    )


def _data_dir(path: Path) -> Check:
    nearest = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not nearest.is_dir():
        return Check(CheckMark.FAIL, "data folder", f"{nearest} is a file: remove it, or give another --data-dir")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Check(
            CheckMark.FAIL, "data folder", f"{nearest} cannot be written: chown it, or give another --data-dir"
        )
    return Check(CheckMark.OK, "data folder", f"{path}" if path.exists() else f"{path} will be made at the first start")


def _key(settings: Settings) -> Check:
    if settings.agent_labels == "plain":
        return Check(CheckMark.OK, "agents' key", "not needed, agents appear by their plain ids")
    file, source = settings.data_dir / KEY_FILE, key_source(settings.data_dir)
    if source is None:
        return Check(
            CheckMark.OK,
            "agents' key",
            f"{file} will be made at the first start; every worker of a group needs the same",
        )
    try:
        names = agent_names(settings.agent_labels, settings.data_dir)
    except PseudonymKeyError as error:
        return Check(CheckMark.FAIL, "agents' key", str(error))
    if source == str(file) and file.stat().st_mode & 0o077:
        return Check(CheckMark.FAIL, "agents' key", f"{file} can be read by others: chmod 600 it")
    return Check(CheckMark.OK, "agents' key", f"{fingerprint(names)}, from {source}")


def _fingerprint(settings: Settings) -> str:
    """The fingerprint of a worker's key here; empty where it would make a new one, or none can be read."""
    if settings.agent_labels == "plain":
        return PLAIN
    if key_source(settings.data_dir) is None:
        return ""
    try:
        return fingerprint(agent_names(settings.agent_labels, settings.data_dir))
    except PseudonymKeyError:
        return ""  # said by the check of the key


def _port(settings: Settings) -> Check:
    host, port = settings.metrics_host, settings.metrics_port
    if is_free(port, host):
        return Check(CheckMark.OK, "metrics port", f"{port} is free" if port else "0 picks a free one")
    with contextlib.suppress(Unreachable, SettingsError, OSError):
        shown = f"[{host}]" if ":" in host else host
        scheme, trust = "http", None
        if settings.metrics_certfile is not None:
            scheme, trust = "https", trust_only(settings.metrics_certfile)
        worker, build = f"{scheme}://{shown}:{port}", "labelwatch_build_info"
        found = read_worker(worker, settings.metrics_login(), trust, names=[build], timeout_seconds=ONCE_SECONDS)
        if build in found.by_name:
            return Check(CheckMark.OK, "metrics port", f"a labelwatch worker answers at {port}")
    return Check(
        CheckMark.FAIL,
        "metrics port",
        f"{host}:{port} is in use by something else, or not allowed: give --metrics-port",
    )


def _certificates(settings: Settings) -> Iterator[Check]:
    """Until when our certificates are valid."""
    try:
        own = settings.metrics_certificate()
        if own is not None:
            yield _holds("metrics certificate", settings.metrics_certfile, own.expires_at_seconds)
    except SettingsError as error:
        yield Check(CheckMark.FAIL, "metrics certificate", str(error))
    # One that cannot be read is what the broker's check says.
    with contextlib.suppress(SettingsError):
        expiry_seconds = settings.kafka_certificate_expiry_seconds()
        if expiry_seconds is not None:
            yield _holds("kafka certificate", settings.ssl_certfile, expiry_seconds)


def _holds(about: str, file: Path | None, until_seconds: float) -> Check:
    left_seconds = until_seconds - time.time()
    if left_seconds < 0:
        return Check(CheckMark.FAIL, about, f"{file} ended at {when(until_seconds)}: renew it")
    mark = CheckMark.NOTE if left_seconds < CERTIFICATE_ENDS.limit else CheckMark.OK
    return Check(
        mark, about, f"{file} holds until {when(until_seconds)}{': renew it' if mark is CheckMark.NOTE else ''}"
    )


def _readers(settings: Settings) -> Check:
    """Who may read /metrics."""
    about = "metrics readers"
    try:
        if settings.metrics_exposed:
            text = (
                f"anyone who can connect to {settings.metrics_host} can read them: set LABELWATCH_METRICS_PASSWORD_FILE"
            )
            return Check(CheckMark.NOTE, about, text)
        if settings.metrics_login() is not None:
            how = f"user {settings.metrics_username!r} with the password"
            if settings.metrics_readable:
                return Check(CheckMark.NOTE, about, f"{how}, unencrypted: LABELWATCH_METRICS_CERTFILE gives it TLS")
            return Check(CheckMark.OK, about, how)
    except SettingsError as error:
        return Check(CheckMark.FAIL, about, str(error))
    return Check(CheckMark.OK, about, "this machine alone")


# --- what the broker tells


def _broker(settings: Settings) -> Iterator[Check]:
    try:
        findings = asyncio.run(examine(settings))
    except (WorkerRefusal, SettingsError) as error:
        yield Check(CheckMark.FAIL, "broker", str(error))
        return
    yield Check(CheckMark.OK, "broker", f"answers at {settings.bootstrap}")
    yield from _topics(settings, findings)
    if not findings.partitions:
        return
    if not findings.problems:
        yield from asyncio.run(_checkpoints(settings, findings.topic_ids))
    try:
        yield from asyncio.run(_records(settings))
    except (KafkaError, OSError, TimeoutError, CommandError) as error:
        why = denied(error, settings) or f"cannot read {EVENTS}: {error or type(error).__name__}; allow Read on it"
        yield Check(CheckMark.FAIL, "records", why)


def _topics(settings: Settings, findings: Findings) -> Iterator[Check]:
    missing = [sentence for sentence in findings.problems if "not exist" in sentence]
    for mark, sentences in ((CheckMark.FAIL, findings.problems), (CheckMark.NOTE, findings.warnings)):
        for sentence in sentences:
            yield Check(mark, "topics", sentence)
    for topic in topics(settings.id):
        if not missing and not any(each.startswith(topic.name) for each in (*findings.problems, *findings.warnings)):
            shown = [f"{k}={v}" for k, v in topic.config.items() if f"{topic.name} {k}" not in findings.not_shown]
            rest = "" if len(shown) == len(topic.config) else "the broker does not show all of its settings"
            yield Check(CheckMark.OK, "topics", f"{topic.name}: {', '.join([*shown, *([rest] if rest else [])])}")
    if missing:
        return
    yield Check(CheckMark.OK, "partitions", f"{findings.partitions} of {EVENTS}")
    if findings.problems:
        return
    if findings.transactional:
        yield Check(CheckMark.OK, "transactions", "offered: checkpoints are exactly once, workers may share the load")
    else:
        yield Check(
            CheckMark.NOTE, "transactions", "not offered: checkpoints take their plain form, for one worker only"
        )


async def _checkpoints(settings: Settings, topic_ids: Mapping[str, str]) -> list[Check]:
    """Whether the group's checkpoints are of this events topic, and name people by the key here."""
    about, topic = "checkpoints", checkpoints_topic(settings.id)
    try:
        async with TopicReader(settings, topic) as reader:
            newest = [await reader.newest(partition, _MANIFESTS) for partition in range(reader.partitions)]
            held = await oldest_open(settings, topic, await reader.ends())
    except (KafkaError, OSError, TimeoutError, CommandError) as error:
        why = denied(error, settings) or f"{error or type(error).__name__}"
        return [Check(CheckMark.NOTE, about, f"not looked at: {why}")]
    manifests = [
        dict(found.headers)
        for records in newest
        if (found := next((record for record in reversed(records) if record.key == MANIFEST_KEY), None)) is not None
    ]
    if not manifests:
        return [Check(CheckMark.OK, about, "none yet"), *await _hidden(settings, held)]
    keys = [headers.get(KEY_FINGERPRINT, b"").decode() for headers in manifests]
    lines = [
        Check(
            CheckMark.OK, about, f"of {len(manifests)} partitions{f', of this {EVENTS}' if EVENTS in topic_ids else ''}"
        )
    ]
    for each, header in ((EVENTS, TOPIC_ID), (topic, OWN_TOPIC_ID)):
        known = {headers.get(header, b"").decode() for headers in manifests} - {""}
        if each in topic_ids and known - {topic_ids[each]}:
            lines = [Check(CheckMark.FAIL, about, recreated(settings, each))]
    return [*lines, *await _hidden(settings, held), *_same_key(settings, sorted(set(keys) - {""}))]


async def _hidden(settings: Settings, held: Sequence[OpenTransaction]) -> list[Check]:
    """Whether an open transaction hides the newest checkpoints from who must read them back; silent where none does."""
    return await _long_open(settings, held, "checkpoints", time.time())


def _same_key(settings: Settings, keys: Sequence[str]) -> Iterator[Check]:
    """Whether all of the group's checkpoints are of one pseudonym key, and it is the one here."""
    about, here = "key of the group", _fingerprint(settings)
    if len(keys) > 1:
        text = (
            f"workers of this group have different pseudonym keys, {' and '.join(keys)}: give every worker the same "
            f"file {KEY_FILE}; one that finds another's checkpoints will not start"
        )
        yield Check(CheckMark.FAIL, about, text)
        return
    for key in keys:
        if here:
            sentence = other_key(settings, key, here)
            yield Check(CheckMark.FAIL, about, sentence) if sentence else Check(CheckMark.OK, about, key)
        elif key == PLAIN:
            yield Check(CheckMark.FAIL, about, "people appear by their plain ids: give --agent-labels plain here, too")
        else:
            text = f"it is {key}, and there is none here: a worker would make its own and refuse; copy {KEY_FILE} here"
            yield Check(CheckMark.FAIL, about, text)


async def _records(settings: Settings) -> list[Check]:
    began = time.time()
    async with TopicReader(settings) as events:
        newest = [await events.newest(partition, _RECORDS) for partition in range(events.partitions)]
        ends = await events.ends()
        clock = _skew([batch[-1] for batch in newest if batch], time.time()) or await _wait_for_news(
            events, newest, began
        )
    return [
        *await _open_transactions(settings, ends, time.time()),
        clock,
        *_producers(newest),
    ]


async def _open_transactions(settings: Settings, ends: Mapping[int, LogEnds], now_seconds: float) -> list[Check]:
    """Whether a producer's transaction holds a partition up, for every worker."""
    about = "open transactions"
    lines = await _long_open(settings, await oldest_open(settings, EVENTS, ends), about, now_seconds)
    return lines or [Check(CheckMark.OK, about, f"none is older than {NOTED_SECONDS:.0f} s")]


async def _long_open(
    settings: Settings, held: Sequence[OpenTransaction], about: str, now_seconds: float
) -> list[Check]:
    lines = []
    for each in held:
        age_seconds = now_seconds - each.since_ms / 1000
        if age_seconds >= NOTED_SECONDS:
            mark = CheckMark.FAIL if age_seconds >= FAILS_SECONDS else CheckMark.NOTE
            lines.append(Check(mark, about, described(each, await whose(settings, each), now_seconds)))
    return lines


async def _wait_for_news(events: TopicReader, newest: Sequence[Sequence[Any]], began: float) -> Check:
    """Compares clocks by a record that comes while we wait: it was appended after we began, whatever our clock shows.

    Args:
        events: The topic.
        newest: What was there, by partition.
        began: When we began to read it, by this machine's clock, epoch seconds.
    """
    known = [batch[-1].offset if batch else -1 for batch in newest]
    deadline = time.monotonic() + _NEWS_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(_NEWS_SECONDS / 10)
        for partition, offset in enumerate(known):
            (*_, record) = (None, *await events.newest(partition, 1))
            if record is not None and record.offset > offset and record.timestamp_type == _APPEND_TIME:
                return _compared(clock_offset_seconds(began, time.time(), record.timestamp / 1000))
    return Check(CheckMark.OK, "clock", f"unknown: no record was appended within {_NEWS_SECONDS:g} s")


def _compared(offset_seconds: float) -> Check:
    if abs(offset_seconds) <= _SKEW_SECONDS:
        return Check(CheckMark.OK, "clock", "this machine's and the broker's agree within seconds")
    direction = "ahead of" if offset_seconds > 0 else "behind"
    text = f"this machine's is {abs(offset_seconds):.0f} s {direction} the broker's: set both by NTP"
    return Check(CheckMark.FAIL, "clock", text)


def _skew(records: Sequence[Any], now_seconds: float) -> Check | None:
    """The broker's clock against this machine's, by the newest records' append times: nothing is written to know.

    None where the newest is old, or this machine's clock is ahead: those look the same.
    """
    appended = [each.timestamp / 1000 for each in records if each.timestamp_type == _APPEND_TIME]
    if not appended:
        return None
    age_seconds = now_seconds - max(appended)
    if age_seconds < -_SKEW_SECONDS:
        return Check(
            CheckMark.FAIL, "clock", f"the broker's is {-age_seconds:.0f} s ahead of this machine's: set both by NTP"
        )
    if age_seconds > _FRESH_SECONDS:
        return None
    return Check(CheckMark.OK, "clock", f"the newest record was appended {age_seconds:.0f} s ago")


def _producers(newest: Sequence[Sequence[Any]]) -> Iterator[Check]:
    """Whether sites are in the partitions of the Java partitioner, and their clocks are not ahead."""
    looked_at, astray, ahead = 0, "", ""
    odd: dict[tuple[str, str, str], str] = {}
    for partition, records in enumerate(newest):
        for record, event in zip(records, decode([record.value for record in records]), strict=True):
            # The end of a replay goes to every partition; what is no event has no site.
            if not isinstance(event, Event) or isinstance(event, ClockAdvanced):
                continue
            looked_at += 1
            site = event.site_id
            right = partition_of(site.encode(), len(newest))
            if right != partition and not astray:
                astray = (
                    f"site {site!r} is in partition {partition} and belongs in {right}: {_why_astray(record, site)}"
                )
            for field, reason in implausible(event):
                odd.setdefault((site, field, reason), event.event_id)
            lead_ms = event.at - record.timestamp
            if lead_ms > AHEAD_MS and record.timestamp >= 0 and not ahead:
                ahead = f"site {site!r} is {lead_ms / 1000:.0f} s ahead of the broker, so its events are rejected"
    if not looked_at:
        yield Check(CheckMark.OK, "partitioner", "unknown: no events yet")
        return
    yield Check(
        CheckMark.FAIL if astray else CheckMark.OK, "partitioner", astray or f"murmur2, by {looked_at:,} events"
    )
    yield _times(odd)
    yield Check(
        CheckMark.FAIL if ahead else CheckMark.OK,
        "sites' clocks",
        f"{ahead}: set its producer's clock, and check that `at` is in ms" if ahead else "none is ahead",
    )


#: So many implausible times are named; a careless producer may have one of each kind at every site.
_TIMES_SHOWN = 5


def _times(odd: Mapping[tuple[str, str, str], str]) -> Check:
    """Implausible times, each kind once, with an event that has it."""
    if not odd:
        return Check(CheckMark.OK, "times", "all can be meant")
    shown = [
        f"{field} of site {site!r} ({reason}, as in event {event_id!r})"
        for (site, field, reason), event_id in sorted(odd.items())[:_TIMES_SHOWN]
    ]
    more = f" and {len(odd) - _TIMES_SHOWN:,} more" if len(odd) > _TIMES_SHOWN else ""
    return Check(
        CheckMark.FAIL,
        "times",
        f"{', '.join(shown)}{more} cannot be meant and is left out of delays, holds and handling time: "
        "its producer must send times and durations in ms, and leave out what it does not know",
    )


def _why_astray(record: Any, site: str) -> str:
    if record.key is None:
        return "its records have no key; its producer must give the site's id as key"
    if record.key != site.encode():
        return f"its records have the key {record.key.decode(errors='replace')!r}; the key must be the site's id"
    return "its producer must use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)"

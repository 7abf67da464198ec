"""The worker: puts settings, policy, broker, engines, transport, checkpoints and exporter together, and runs them."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from schemas.policy import Policy, PolicyError
from streams import native
from streams.exporter import (
    Build,
    MetricsServer,
    MonitorState,
    PseudonymKeyError,
    ServerError,
    agent_names,
    fingerprint,
)
from streams.runtime import build, logs
from streams.runtime.broker import Findings, WorkerRefusal, examine
from streams.runtime.certificates import when
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.memory import keep_freed, limit_bytes
from streams.runtime.partitions import Partitions
from streams.runtime.settings import Settings, SettingsError, service_links
from streams.runtime.transport import App
from streams.runtime.watchdog import LogWatch

log = logging.getLogger(__name__)

DONE, FAILED, WRONG_USE = 0, 1, 2

_T = TypeVar("_T")


def tune_collector() -> None:
    """Makes the garbage collector run after hundreds of thousands of new objects, not after hundreds.

    A batch of 20,000 records is 40,000 objects without circular references, which are freed a moment later. Each run of
    the collector would take milliseconds, and find nothing.
    """
    gc.set_threshold(250_000, 10, 10)


def run(settings: Settings) -> int:
    """Runs a worker until a signal ends it (SIGTERM, SIGINT, SIGHUP) or it cannot go on; SIGUSR1 writes all stacks.

    Returns:
        0: stopped in good order. 1: failed or refused. 2: wrong settings. 70: a defect, or stuck.
    """
    logs.configure(
        form=settings.log_format, level=settings.log_level, group=settings.group, worker=settings.worker_name
    )
    logs.dump_on_signal()
    tune_collector()
    keep_freed()
    try:
        policy = Policy.load(settings.policy)
        settings.security()
        settings.metrics_login()
        settings.metrics_certificate()
    except (PolicyError, SettingsError) as error:
        log.error("%s", error)
        return WRONG_USE
    return asyncio.run(_Worker(settings, policy).run())


class _Worker:
    """One life of a worker, on one event loop."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self._code = DONE
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_at: float | None = None

    async def run(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_unhandled)
        # A closed terminal and some supervisors send SIGHUP.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._stop, signal.Signals(number).name)
        log.info("worker of group %s starts, broker %s", self._settings.group, self._settings.bootstrap)
        if native.is_stale():
            log.warning("the native reader is %s; Python's, which is slower, reads", native.WHY_NOT)
        for sentence in service_links():
            log.warning("%s", sentence)
        findings = await self._unless_ended(self._examine())
        if findings is None:
            return self._code
        try:
            names = agent_names(self._settings.agent_labels, self._settings.data_dir)
            key = fingerprint(names)
            state = MonitorState(
                clock=self._settings.clock,
                build=Build(build.version(), build.commit(), self._policy.fingerprint, key, native.name()),
            )
            server = MetricsServer(
                state,
                names,
                host=self._settings.metrics_host,
                port=self._settings.metrics_port,
                login=self._settings.metrics_login(),
                certificate=self._settings.metrics_certificate(),
            )
            server.start()
        except (ServerError, PseudonymKeyError) as error:
            self._end(FAILED, str(error))
            return self._code
        log.info("metrics at %s", server.url)
        if (memory_bytes := limit_bytes()) is not None:
            state.memory_limit(memory_bytes)
        if (expiry_seconds := self._settings.kafka_certificate_expiry_seconds()) is not None:
            state.certificate_expires("kafka", expiry_seconds)
        for sentence in _exposures(self._settings):
            log.warning("%s", sentence)
        try:
            await self._work(findings, state, key)
        finally:
            server.stop()
        log.info("ended with code %d", self._code)
        return self._code

    async def _examine(self) -> Findings | None:
        try:
            findings = await examine(self._settings)
        except WorkerRefusal as error:
            self._end(FAILED, str(error))
            return None
        for sentence in findings.warnings:
            log.warning("%s", sentence)
        for sentence in findings.problems:
            self._end(FAILED, sentence)
        if findings.problems:
            return None
        log.info(
            "%d partitions, checkpoints %s",
            findings.partitions,
            "in transactions" if findings.transactional else "without transactions, for one worker only",
        )
        return findings

    async def _work(self, findings: Findings, state: MonitorState, key: str) -> None:
        partitions = Partitions(
            self._settings,
            self._policy,
            state,
            partitions=findings.partitions,
            transactional=findings.transactional,
            new_store=functools.partial(
                CheckpointStore,
                self._settings,
                partitions=findings.partitions,
                transactional=findings.transactional,
                topic_ids=findings.topic_ids,
                key_fingerprint=key,
            ),
            fail=self._end_soon,
        )
        app = App(self._settings, partitions)
        partitions.attach(app.batches)
        watch = LogWatch(
            self._settings,
            partitions,
            partitions=findings.partitions,
            topic_ids=findings.topic_ids,
            exact_ends=findings.transactional,
            lag=state.lag,
            figures_lag=state.figures_lag,
            held_up=state.held_up,
            clock_offset=state.clock_offset,
            fail=self._end_soon,
        )
        watch.start()
        ticking = asyncio.ensure_future(partitions.tick())
        starting = asyncio.ensure_future(app.start())
        try:
            await self._until_over(app, starting)
        finally:
            watch.stop()
            await self._wind_up(app, partitions, starting)
            ticking.cancel()

    async def _until_over(self, app: App, starting: "asyncio.Future[None]") -> None:
        """Waits for a signal, a refusal, or Faust's end, whichever comes first."""
        ended = asyncio.ensure_future(self._ended.wait())
        faust = asyncio.ensure_future(app.wait_until_stopped())
        waiting: set[asyncio.Future[Any]] = {ended, faust, starting}
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if done == {starting} and starting.exception() is None:
            await asyncio.wait({ended, faust}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        faust.cancel()
        if not self._ended.is_set():
            reason = app.crash_reason or (starting.exception() if starting.done() else None)
            self._end(FAILED, f"The connection to Kafka ended for good: {reason!r}.")

    async def _wind_up(self, app: App, partitions: Partitions, starting: "asyncio.Future[None]") -> None:
        """Writes the last checkpoints, leaves the group, stops Faust; keeps the deadline even if something hangs."""
        written = False
        last_resort = threading.Timer(
            0.95 * self._deadline_seconds(), lambda: os._exit(self._code or (DONE if written else FAILED))
        )
        last_resort.daemon = True
        last_resort.start()
        written = await partitions.close(self._deadline_seconds() / 2)
        if not written:
            log.warning("not everything was written before the end: the next start reads those records again")
            self._code = self._code or FAILED
        await app.batches.leave()
        starting.cancel()
        # Nothing that Faust still waits for matters any more.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, self._deadline_seconds() / 2)):
                await app.stop()

    def _deadline_seconds(self) -> float:
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._settings.stop_seconds
        return max(0.1, self._stop_at - time.monotonic())

    async def _unless_ended(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """The result of some work, or None if the worker has to end first."""
        task = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            return None
        return task.result()

    def _stop(self, name: str) -> None:
        log.info("%s: stopping within %g s", name, self._settings.stop_seconds)
        self._deadline_seconds()
        self._ended.set()

    def _end(self, code: int, sentence: str) -> None:
        """Ends the worker with an exit code, and logs the sentence that says why."""
        log.error("%s", sentence)
        self._code = self._code or code
        self._deadline_seconds()
        self._ended.set()

    def _end_soon(self, code: int, sentence: str) -> None:
        """As `_end`, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end, code, sentence)


def _exposures(settings: Settings) -> Iterator[str]:
    """Sentences on what others on the network can read."""
    if settings.metrics_exposed:
        yield (
            f"anyone who can connect to {settings.metrics_host} can read the metrics: set "
            "LABELWATCH_METRICS_PASSWORD_FILE, or let only Prometheus connect"
        )
    if settings.metrics_readable:
        yield (
            "password and figures of /metrics can be read on the way: give it a certificate in "
            "LABELWATCH_METRICS_CERTFILE, or let it listen on loopback behind a proxy that speaks TLS"
        )
    certificate = settings.metrics_certificate()
    if certificate is not None and certificate.expires_at_seconds < time.time():
        yield (
            f"the certificate in {settings.metrics_certfile} ended at {when(certificate.expires_at_seconds)}: nobody "
            "reads /metrics until it is renewed, which takes no restart"
        )
    if settings.security_protocol == "SASL_PLAINTEXT":
        yield "LABELWATCH_SECURITY_PROTOCOL=SASL_PLAINTEXT encrypts nothing: login and data can be read on the way"


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs errors that nothing waited for; aiokafka's Kafka errors are left out, since it has reported them already."""
    error = context.get("exception")
    if not isinstance(error, KafkaError):
        log.error("unhandled in the event loop: %s", context.get("message"), exc_info=error)

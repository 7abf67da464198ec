"""The receiver as a process: settings, roster, spool, HTTP, sender and reconciler, put together and run."""

import asyncio
import contextlib
import functools
import logging
import signal

from streams.ingest.metrics import IngestMetrics
from streams.ingest.receiver import Receiver
from streams.ingest.reconcile import Reconciler
from streams.ingest.roster import Roster, RosterError, read_roster
from streams.ingest.sender import Sender
from streams.ingest.server import IngestServer, IngestServerError
from streams.ingest.settings import IngestSettings
from streams.ingest.spool import Spool, SpoolError
from streams.runtime import logs
from streams.runtime.access import why_not
from streams.runtime.crash_point import CrashPoint
from streams.sources.sinks import KafkaTarget

log = logging.getLogger(__name__)

DONE, FAILED, WRONG_USE = 0, 1, 2


def run(settings: IngestSettings) -> int:
    """Runs the receiver until it is asked to stop (SIGTERM, SIGINT).

    Returns:
        0: stopped in good order; what waits is in the spool. 1: address or spool cannot be had. 2: wrong settings.
    """
    logs.configure(
        form=settings.log_format, level=settings.log_level, group=settings.group, worker=settings.worker_name
    )
    try:
        people = {} if settings.ingest_roster is None else read_roster(settings.ingest_roster)
    except RosterError as error:
        log.error("%s", error)
        return WRONG_USE
    roster = Roster(people, settings.ingest_source, settings.ingest_site)
    try:
        spool = Spool(settings.ingest_spool, settings.ingest_source, settings.ingest_spool_bytes_max)
    except SpoolError as error:
        log.error("%s", error)
        return FAILED
    try:
        return asyncio.run(_serve(settings, roster, spool))
    finally:
        spool.close()


async def _serve(settings: IngestSettings, roster: Roster, spool: Spool) -> int:
    metrics = IngestMetrics()
    target = KafkaTarget(settings.bootstrap, security=settings.security(), why_not=functools.partial(why_not, settings))
    sender = Sender(spool, target, metrics, before_landing=lambda: _crash("landing"))
    receiver = Receiver(spool, settings.ingest_source, roster, settings.ingest_control, metrics, sender.wake)
    server = IngestServer(
        receiver,
        spool,
        metrics,
        secret=settings.secret(),
        secret_header=settings.ingest_secret_header,
        host=settings.ingest_host,
        port=settings.ingest_port,
        body_bytes_max=settings.ingest_body_bytes_max,
        login=settings.metrics_login(),
        certificate=settings.certificate(),
        before_answer=lambda: _crash("answer"),
    )
    try:
        await server.start()
    except IngestServerError as error:
        log.error("%s", error)
        return FAILED
    log.info("receives webhooks at %s", server.url)
    if settings.secret() is None:
        log.warning("no secret is set: any program of this machine may send")
    elif settings.is_readable_on_the_way:
        log.warning("the secret and the webhooks cross the network unencrypted: set --ingest-certfile")
    if settings.is_page_open:
        log.warning("anyone who can connect can read /metrics: set LABELWATCH_METRICS_PASSWORD_FILE")
    if not len(roster):
        log.warning("no roster: everyone counts at site %s, under the tool's number", settings.ingest_site)
    work = [asyncio.create_task(sender.run())]
    if settings.label_studio_url is not None:
        work.append(asyncio.create_task(_reconciler(settings, receiver, spool, metrics).run()))
    else:
        log.warning("no --label-studio-url: hooks that get lost on their way are not found")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    waiting = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([waiting, *work], return_when=asyncio.FIRST_COMPLETED)
    await server.stop()
    for task in (waiting, *work):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if task not in done:
                await task
    # One that has ended by itself has failed: its own error is the end of the process.
    for task in done - {waiting}:
        task.result()
    return DONE


def _reconciler(settings: IngestSettings, receiver: Receiver, spool: Spool, metrics: IngestMetrics) -> Reconciler:
    return Reconciler(
        settings.label_studio_url or "",
        settings.token() or "",
        settings.projects(),
        receiver,
        spool,
        metrics,
        settings.ingest_sweep_seconds,
        settings.ingest_sweep_all_hour,
    )


def _crash(point: str) -> None:
    """Ends this process where a fault test wants it."""
    crash = CrashPoint.armed()
    if crash is not None and crash.at(point):
        crash.fire()

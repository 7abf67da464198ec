"""The worker's log on stderr: what it did, in plain sentences, as text for people or as JSON for a log store.

Faust, mode and aiokafka log through the standard library, and so do we: structlog renders what arrives there, so that
every line has the same form, whoever wrote it.
"""

import faulthandler
import logging
import re
import signal
import sys
import time
from collections.abc import Sequence
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

#: Ours; every other logger is a library's.
_OWN = "streams"
_REPEAT_SECONDS = 30.0
#: How our sentences about a partition begin.
_PARTITION = re.compile(r"partition=(\d+) ")


class _Sparse(logging.Filter):
    """Lets a library say the same thing once in a while, without its traceback; ours passes untouched.

    A broker that is away makes aiokafka repeat itself ten times a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_own(record.name):
            return True
        key = (record.name, str(record.msg))
        now = time.monotonic()
        if now - self._said.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._said[key] = now
        record.exc_info = record.exc_text = None
        return True


class _Who:
    """Puts the worker's name into a line, and the partition that it speaks of."""

    def __init__(self, group: str, worker: str) -> None:
        self._names = {"group": group, "worker": worker}

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        line.update(self._names)
        if _is_own(str(line.get("logger", ""))) and (found := _PARTITION.match(str(line["event"]))):
            line["partition"] = int(found[1])
            line["event"] = line["event"][found.end() :]
        return line


def _text(logger: WrappedLogger, method: str, line: EventDict) -> str:
    """UTC time, level, worker, partition if it is about one, where from if it is a library, and the sentence."""
    top = str(line.get("logger", "")).split(".")[0]
    partition = f"partition={line['partition']} " if "partition" in line else ""
    origin = "" if top == _OWN else f"[{top}] "
    head = f"{line['time']} {str(line['level']).upper():7} {line['group']}/{line['worker']} "
    trace = f"\n{line['exception']}" if line.get("exception") else ""
    return f"{head}{partition}{origin}{line['event']}{trace}"


def _is_own(name: str) -> bool:
    return name.split(".")[0] == _OWN


def configure(
    stream: TextIO | None = None,
    *,
    form: Format = "text",
    level: LogLevel = "info",
    group: str = "labelwatch-main",
    worker: str = "worker",
) -> None:
    """Sends the process' log to a stream (stderr) and takes the noise out of the libraries.

    Args:
        stream: Where to.
        form: A line of text, or an object of JSON a line.
        level: The least that our own loggers say; with `debug` the libraries say their warnings, too.
        group: Of the worker.
        worker: Which of the group's workers this is.
    """
    shared: Sequence[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _Who(group, worker),
    ]
    json_names = structlog.processors.EventRenamer("message")
    render: list[Processor] = [json_names, structlog.processors.JSONRenderer()] if form == "json" else [_text]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *render,
            ],
        )
    )
    handler.addFilter(_Sparse())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(_OWN).setLevel(level.upper())
    # Their warnings are their daily business, and aiokafka's errors too: every rebalance, every reconnect. What
    # matters we say ourselves.
    for library in ("asyncio", "faust", "kafka", "mode"):
        logging.getLogger(library).setLevel(logging.WARNING if level == "debug" else logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.WARNING if level == "debug" else logging.CRITICAL)


def dump_on_signal() -> None:
    """From here on SIGUSR1 writes the stacks of all threads to stderr, also of a loop that hangs; so does a crash."""
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def dump() -> None:
    """Writes the stacks of all threads to stderr now."""
    faulthandler.dump_traceback(all_threads=True)

"""The worker's log on stderr: plain sentences on what it did, as text for people or as JSON for a log store.

Faust, mode and aiokafka log by the standard library, and so do we. structlog renders what arrives there, so that every
line has the same form, no matter who wrote it.
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

#: Our loggers' names begin with this; all others are of libraries.
_OWN = "streams"
_REPEAT_SECONDS = 30.0
#: The beginning of our sentences about a partition.
_PARTITION = re.compile(r"partition=(\d+) ")


class _Sparse(logging.Filter):
    """Lets a library log the same message only every 30 s, and without a traceback; our own messages pass unchanged.

    While a broker is away, aiokafka repeats the same message ten times a second.
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
    """Adds the worker's name to a line, and the number of the partition that it is about."""

    def __init__(self, group: str, worker: str) -> None:
        self._names = {"group": group, "worker": worker}

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        line.update(self._names)
        if _is_own(str(line.get("logger", ""))) and (found := _PARTITION.match(str(line["event"]))):
            line["partition"] = int(found[1])
            line["event"] = line["event"][found.end() :]
        return line


def _text(logger: WrappedLogger, method: str, line: EventDict) -> str:
    """A line of text: UTC time, level, worker, partition if it is about one, the library if it is of one, sentence."""
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
    """Sends the process's log to a stream, and keeps the libraries' noise out of it.

    Args:
        stream: The stream; None: stderr.
        form: Lines of text, or one JSON object a line.
        level: The least level of our own loggers; with `debug` warnings of libraries are logged too.
        group: Name of the worker's group.
        worker: Name of this worker within the group.
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
    # Libraries warn at every rebalance and every reconnect, and aiokafka even logs errors then. What matters we log
    # ourselves.
    for library in ("asyncio", "faust", "kafka", "mode"):
        logging.getLogger(library).setLevel(logging.WARNING if level == "debug" else logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.WARNING if level == "debug" else logging.CRITICAL)


def dump_on_signal() -> None:
    """Makes SIGUSR1, and a crash, write the stacks of all threads to stderr; this works even while the loop hangs."""
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def dump() -> None:
    """Writes the stacks of all threads to stderr now."""
    faulthandler.dump_traceback(all_threads=True)

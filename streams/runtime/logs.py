"""The worker's log on stderr: what it did, in plain sentences with key=value where a number matters."""

import logging
import sys
import time
from typing import TextIO

#: Ours; every other logger is a library's.
_OWN = "streams"
_REPEAT_SECONDS = 30.0


class _Sparse(logging.Filter):
    """Lets a library say the same thing once in a while, without its traceback; ours passes untouched.

    A broker that is away makes aiokafka repeat itself ten times a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] == _OWN:
            return True
        key = (record.name, str(record.msg))
        now = time.monotonic()
        if now - self._said.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._said[key] = now
        record.exc_info = record.exc_text = None
        return True


class _Line(logging.Formatter):
    """UTC time, level, where from if it is a library, and the sentence."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(origin)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        top = record.name.split(".")[0]
        record.origin = "" if top == _OWN else f"[{top}] "
        return super().format(record)


def configure(stream: TextIO | None = None) -> None:
    """Sends the process' log to a stream (stderr) and takes the noise out of the libraries."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Line())
    handler.addFilter(_Sparse())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(_OWN).setLevel(logging.INFO)
    # Their warnings are their daily business, and aiokafka's errors too: every rebalance, every reconnect. What
    # matters we say ourselves.
    for library in ("asyncio", "faust", "kafka", "mode"):
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

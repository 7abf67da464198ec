"""A receiver as a process of its own, that tests start, ask and kill."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WAIT_SECONDS = 60.0
SECRET = "a secret of the webhook"
_RUN = "from streams.cli import main; main()"
_ROOT = Path(__file__).parents[2]


class IngestProcess:
    """One receiver; ends with the block that opened it.

    Args:
        folder: For its log and spool; receivers that follow each other share one.
        bootstrap: The broker.
        environ: More environment, a crash point for example.
        settings: Of `IngestSettings`, by their names.
    """

    def __init__(self, folder: Path, bootstrap: str, environ: Mapping[str, str] | None = None, **settings: Any) -> None:
        self._log = folder / f"ingest-{time.monotonic_ns()}.log"
        values = {
            "bootstrap": bootstrap,
            "ingest_port": 0,
            "ingest_secret": SECRET,
            "ingest_spool": folder / "ingest.sqlite",
            **settings,
        }
        given = {f"LABELWATCH_{name.upper()}": str(value) for name, value in values.items()}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _RUN, "ingest"],
                env={**os.environ, **given, **(environ or {})},
                cwd=_ROOT,
                stdout=log,
                stderr=log,
            )
        self.port = int(self.wait_for_log(r"receives webhooks at https?://127.0.0.1:(\d+)/")[1])

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text("utf-8")

    def wait_for_log(self, pattern: str) -> "re.Match[str]":
        """Waits until it says so."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            if (found := re.search(pattern, self.log())) is not None:
                return found
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def post(self, body: bytes) -> int | None:
        """Sends a hook; the status, or None where it was not answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            connection.request("POST", "/label-studio", body, {"X-Labelwatch-Secret": SECRET})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def figure(self, name: str) -> float:
        """A figure of its page, by name and labels as written there; 0 where it is not there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", text)
        return float(found[1]) if found else 0.0

    def wait_until_sent(self) -> None:
        """Waits until nothing waits in the spool."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.figure("labelwatch_ingest_spool_records"):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def wait_for_end(self) -> int:
        """Its exit code."""
        return self.process.wait(WAIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

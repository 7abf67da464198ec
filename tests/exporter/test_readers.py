"""Readers that are slow or many: probes and scrapers get their answers, and memory does not grow with the readers."""

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from streams.engine.figures import Figures
from streams.exporter import MetricsServer, connections
from streams.exporter.pseudonyms import plain
from tests.support.exporter import FakeEngine, showing

#: More than a connection's buffers take: 6 MB.
SERIES = 80_000
SLOW_READERS = 40


@pytest.fixture(scope="module")
def figures() -> Figures:
    large = Figures()
    for n in range(SERIES):
        large.add("labelwatch_site_labels", (f"site-{n}-{'x' * 20}", "1h"), n)
    return large


@pytest.fixture
def server(figures: Figures) -> Iterator[MetricsServer]:
    with MetricsServer(showing(FakeEngine(figures)), plain, port=0) as server:
        yield server


def ask(server: MetricsServer, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


class SlowReader:
    """Asks for a page and reads next to nothing of it; what it gets is its own business."""

    def __init__(self, server: MetricsServer, path: str = "/metrics") -> None:
        self.connection = socket.socket()
        # Little is on the way, so that the server's writing waits for the reading.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.settimeout(60)
        self.connection.connect(("127.0.0.1", server.port))
        self.connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())

    def first_bytes(self) -> bytes:
        return self.connection.recv(12)

    def close(self) -> None:
        self.connection.close()


def test_slow_readers_keep_neither_probes_nor_prometheus_out(server: MetricsServer) -> None:
    with ExitStack() as stack:
        readers = []
        for _ in range(SLOW_READERS):
            readers.append(SlowReader(server))
            stack.callback(readers[-1].close)
            if len(readers) % 8 == 0:
                # More at once would wait for one rendering, and a reader that waits is not slow.
                answered = [reader.first_bytes() for reader in readers[-8:]]
                assert answered == [b"HTTP/1.0 200"] * 8, "they are in the middle of their page"
        probes = [ask(server, path)[0] for _ in range(15) for path in ("/healthz", "/readyz")]
        assert probes == [200] * 30
        scrapes = [ask(server, "/metrics") for _ in range(3)]
        assert [status for status, _ in scrapes] == [200] * 3
        assert all(body.count(b"labelwatch_site_labels{") == SERIES for _, body in scrapes)


def test_many_who_wait_for_one_rendering_keep_prometheus_out_no_more_than_those_who_read(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, release = server._sources[0], threading.Event()
    render = source._render

    def held() -> Any:
        assert release.wait(60)
        return render()

    monkeypatch.setattr(source, "_render", held)
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        for _ in range(SLOW_READERS):
            stack.callback(SlowReader(server).close)
        while source._waiting < SLOW_READERS - 1:
            time.sleep(0.001)
        scrape = pool.submit(ask, server, "/metrics")
        assert [ask(server, path)[0] for path in ("/healthz", "/readyz")] == [200] * 2
        while source._waiting < SLOW_READERS:
            time.sleep(0.001)
        release.set()
        status, body = scrape.result(60)
        assert status == 200
        assert body.count(b"labelwatch_site_labels{") == SERIES
        # The slow ones give way as soon as it is known how slow they are.
        while (reading := sum(visit.body is not None for visit in list(server._connections._visits.values()))) > 17:
            time.sleep(0.01)
        assert reading


def cut_off(server: MetricsServer) -> dict[str, int]:
    # By its line: a parser takes a second for such a page.
    found = re.findall(rb'labelwatch_page_readers_cut_off_total{reason="(\w+)"} (\d+)', ask(server, "/metrics")[1])
    return {reason.decode(): int(count) for reason, count in found}


def read_to_the_end(connection: socket.socket) -> int:
    """What still comes, and whether the connection ended as one that was cut off may."""
    count = 0
    try:
        while received := connection.recv(1 << 16):
            count += len(received)
    except ConnectionError:
        pass
    return count


def test_the_slowest_reader_gives_way_to_the_next_one_and_is_counted(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READERS_MAX", 2)
    with ExitStack() as stack:
        slow = [SlowReader(server) for _ in range(3)]
        for reader in slow:
            stack.callback(reader.close)
            assert reader.first_bytes() == b"HTTP/1.0 200"
        whole = len(ask(server, "/metrics")[1])
        while not cut_off(server)["place"]:
            time.sleep(0.05)
        assert ask(server, "/metrics")[0] == 200
        assert min(read_to_the_end(reader.connection) for reader in slow) < whole / 2


def test_a_reader_without_progress_is_cut_off_and_a_steady_one_gets_everything(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PROGRESS_SECONDS", 1.0)
    steady, stuck = SlowReader(server), SlowReader(server)
    with closing(steady.connection), closing(stuck.connection):
        assert stuck.first_bytes() == b"HTTP/1.0 200"
        got, began = 0, time.monotonic()
        # Slower than the stuck one is given, in all; each second brings more than is asked for.
        while received := steady.connection.recv(1 << 16):
            got += len(received)
            if time.monotonic() - began < 4:
                time.sleep(0.02)
        assert got > len(ask(server, "/metrics")[1]), "the head, and the page whole"
        while not cut_off(server)["slow"]:
            time.sleep(0.05)
        assert read_to_the_end(stuck.connection) < got / 2


def test_older_pages_in_memory_are_bounded_however_many_read(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader asks when the one before has its page, so that each has a rendering of its own: 6 MB by reader."""
    monkeypatch.setattr(connections, "OLDER_BYTES_MAX", 1)
    with ExitStack() as stack:
        for _ in range(8):
            reader = SlowReader(server)
            stack.callback(reader.close)
            assert reader.first_bytes() == b"HTTP/1.0 200"
            bodies = {id(visit.body) for visit in list(server._connections._visits.values()) if visit.body}
            assert len(bodies) <= 2, "the newest and one older"
        assert cut_off(server)["memory"] >= 6


def test_readers_at_the_same_time_share_one_rendering(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        source, release = server._sources[0], threading.Event()
        render = source._render

        def held() -> Any:
            assert release.wait(60)
            return render()

        monkeypatch.setattr(source, "_render", held)
        readers = [SlowReader(server) for _ in range(10)]
        for reader in readers:
            stack.callback(reader.close)
        while source._waiting < 9:
            time.sleep(0.001)
        release.set()
        assert [reader.first_bytes() for reader in readers] == [b"HTTP/1.0 200"] * 10
        bodies = {id(visit.body) for visit in list(server._connections._visits.values()) if visit.body}
        assert len(bodies) <= 2, "that of the first one, and that of all who came meanwhile"

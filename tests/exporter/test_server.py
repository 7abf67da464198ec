import gzip
import http.client
import select
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing

import pytest

from streams.engine.figures import Figures
from streams.exporter import MetricsServer, MonitorState, ServerError, connections
from streams.exporter import server as server_module
from streams.exporter.pseudonyms import plain
from streams.exporter.server import accepts_gzip
from streams.exporter.text import CONTENT_TYPE
from tests.support.exporter import FOREVER, BrokenEngine, Clocks, FakeEngine, series, values
from tests.support.ports import free_port
from tests.support.serving import PAGES, ask, engine, in_thread, raw, waiting_engine


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"])
def test_pages_are_text_0_0_4_whatever_is_asked_for(server: MetricsServer, path: str, accept: str) -> None:
    status, headers, body = ask(server, path, headers={"Accept": accept})
    assert status == 200
    assert headers["Content-Type"] == CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Encoding" not in headers
    assert series(body)


def test_the_pages_show_what_they_are_for(server: MetricsServer) -> None:
    _, _, sites = ask(server, "/metrics")
    _, _, people = ask(server, "/metrics/agents")
    assert values(sites, "labelwatch_site_labels") == {frozenset({("site", "质检 <b>"), ("window", "1h")}): 7}
    assert list(values(people, "labelwatch_agent_labels").values()) == [3]
    assert values(sites, "process_resident_memory_bytes")
    assert values(sites, "python_gc_collections_total")


@pytest.mark.parametrize("path", PAGES)
def test_gzip_is_used_when_allowed_and_changes_nothing(server: MetricsServer, path: str) -> None:
    def names(page: bytes) -> set[str]:
        return {name for name, _ in series(page)}

    ask(server, path)
    _, headers, body = ask(server, path, headers={"Accept-Encoding": "deflate, gzip;q=0.9"})
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Vary"] == "Accept-Encoding"
    assert names(gzip.decompress(body)) == names(ask(server, path)[2])


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("gzip", True),
        ("GZIP ; q=0.5", True),
        ("br, gzip", True),
        ("gzip;q=1", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_accept_encoding(header: str, allowed: bool) -> None:
    assert accepts_gzip(header) is allowed


@pytest.mark.parametrize("path", [*PAGES, "/", "/healthz", "/readyz"])
def test_head_has_no_body(server: MetricsServer, path: str) -> None:
    status, headers, body = ask(server, path, "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Type"] == ask(server, path)[1]["Content-Type"]


def test_the_index_links_to_every_page(server: MetricsServer) -> None:
    status, headers, body = ask(server, "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    for path in (*PAGES, "/healthz", "/readyz"):
        assert f'href="{path}"'.encode() in body
        assert ask(server, path)[0] == 200


@pytest.mark.parametrize("path", ["/metric", "/metrics/", "/favicon.ico", "/../etc/passwd", "/%2e%2e", "http://a/b"])
def test_other_paths_are_not_found(server: MetricsServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_a_query_is_ignored(server: MetricsServer) -> None:
    assert ask(server, "/readyz?verbose=1")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(server: MetricsServer, method: str) -> None:
    status, headers, _ = ask(server, "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_readiness_follows_the_state(server: MetricsServer, state: MonitorState) -> None:
    assert ask(server, "/readyz")[::2] == (200, b"ready\n")
    state.dropped(0)
    status, _, body = ask(server, "/readyz")
    assert status == 503
    assert body.decode().splitlines() == [
        "restored: state not restored yet: partition 0",
        "caught_up: not at the log end seen at assignment yet: partition 0",
    ]


def test_health_follows_the_event_loop() -> None:
    clocks = Clocks()
    state = MonitorState(monotonic=clocks.monotonic, now_ms=clocks.now_ms)
    with MetricsServer(state, plain, port=0) as server:
        assert ask(server, "/healthz")[::2] == (200, b"ok\n")
        clocks.seconds += 45
        assert ask(server, "/healthz")[::2] == (503, b"the event loop has not turned for 45 s\n")
        assert ask(server, "/metrics")[0] == 200, "a hanging loop does not stop the scrape"
        state.loop_turned()
        assert ask(server, "/healthz")[0] == 200


def test_membership_that_runs_out_takes_partitions_off_the_pages_and_leaves_the_process(
    state: MonitorState, server: MetricsServer
) -> None:
    assert values(ask(server, "/metrics")[2], "labelwatch_site_labels")
    state.prove_membership(time.monotonic() - 1)
    sites, people = ask(server, "/metrics")[2], ask(server, "/metrics/agents")[2]
    assert values(sites, "labelwatch_site_labels") == {}
    assert people == b""
    assert set(values(sites, "labelwatch_partition_owned").values()) == {0}
    assert values(sites, "labelwatch_build_info")


def test_a_page_rendered_before_membership_ran_out_is_not_sent_after(
    state: MonitorState, server: MetricsServer
) -> None:
    with waiting_engine(state) as (_, entered, leave):
        answer = in_thread(lambda: ask(server, "/metrics"))
        assert entered.acquire(timeout=60)
        state.prove_membership(time.monotonic() - 1)
        leave.release()
        status, _, body = answer()
    assert status == 200
    assert values(body, "labelwatch_site_labels") == {}
    assert set(values(body, "labelwatch_partition_owned").values()) == {0}


def test_requests_that_come_during_a_rendering_share_the_next_one(state: MonitorState, server: MetricsServer) -> None:
    with waiting_engine(state) as (waiting, entered, leave):
        first = in_thread(lambda: ask(server, "/metrics"))
        assert entered.acquire(timeout=60)
        late = [in_thread(lambda: ask(server, "/metrics")) for _ in range(5)]
        source = server._sources[0]
        while source._waiting < 5:
            time.sleep(0.001)
        leave.release(100)
        answers = [first(), *(join() for join in late)]
    assert [status for status, _, _ in answers] == [200] * 6
    assert len(waiting.asked_at_ms) == 2
    assert source._newest is None, "no page is kept in memory"


def test_a_rendering_that_fails_is_a_500_for_all_who_wait_and_the_next_one_may_succeed(
    state: MonitorState, server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    figures = Figures()
    figures.add("labelwatch_site_labels", ("a label is missing",), 7)
    state.restored(0, FakeEngine(figures))
    state.caught_up(0)
    status, _, body = ask(server, "/metrics")
    assert (status, body) == (500, b"This page could not be rendered; the worker's log says why.\n")
    assert "/metrics could not be rendered" in caplog.text
    state.restored(0, engine())
    state.caught_up(0)
    status, _, body = ask(server, "/metrics")
    assert status == 200
    assert values(body, "labelwatch_render_errors_total")[frozenset({("page", "/metrics")})] == 1


def test_a_broken_engine_leaves_the_page(state: MonitorState, server: MetricsServer) -> None:
    state.restored(0, BrokenEngine())
    state.caught_up(0)
    status, _, body = ask(server, "/metrics")
    assert status == 200
    assert values(body, "labelwatch_build_info")


def test_render_durations_are_told_by_page(server: MetricsServer) -> None:
    for path in PAGES:
        ask(server, path)
    durations = values(ask(server, "/metrics")[2], "labelwatch_render_duration_seconds")
    assert {dict(labels)["page"] for labels in durations} == set(PAGES)
    assert all(seconds > 0 for seconds in durations.values())


# Bad clients.


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 100_000, b"414"),
        (b"GET /metrics HTTP/1.0\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.0\r\n" + b"X: a\r\n" * 4_000 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
        (b"\x16\x03\x01 nothing of http\r\n\r\n", b"400"),
        (b"BREW /metrics HTTP/1.0\r\n\r\n", b"501"),
    ],
)
def test_a_senseless_request_is_refused_in_few_words(server: MetricsServer, request_bytes: bytes, status: int) -> None:
    try:
        answer = raw(server, request_bytes)
    except ConnectionError:
        answer = b""  # closed on unread bytes: the kernel may reset before the answer is read
    assert not answer or status in answer.split(b"\r\n")[0] or status in answer
    assert len(answer) < 2_000
    assert ask(server, "/healthz")[0] == 200


def test_a_client_that_hangs_up_harms_nobody(server: MetricsServer) -> None:
    for request in (b"", b"GET", b"GET /metrics HTTP/1.0\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request)
    assert ask(server, "/metrics")[0] == 200


def test_a_request_that_drips_is_cut_off(state: MonitorState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with (
        MetricsServer(state, plain, port=0) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as drip,
    ):
        # Each byte is in time for a time-out by read, and the request never ends.
        while not select.select([drip], [], [], 0.02)[0]:
            drip.sendall(b"X")
        assert drip.recv(1) == b""


def test_readers_who_wait_for_their_page_keep_their_place_and_more_are_refused(
    state: MonitorState, server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAITERS_MAX", 2)
    with waiting_engine(state) as (_, entered, leave):
        busy = [in_thread(lambda: ask(server, "/metrics")) for _ in range(2)]
        assert entered.acquire(timeout=60)
        while server._sources[0]._waiting < 1:
            time.sleep(0.001)
        status, headers, body = ask(server, "/metrics")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert body == b"Too many readers wait for this page; ask again.\n"
        assert ask(server, "/healthz")[0] == 200, "probes have places of their own"
        leave.release(100)
        assert [status for status, _, _ in (join() for join in busy)] == [200, 200]
    page = ask(server, "/metrics")[2]
    assert values(page, "labelwatch_page_readers_cut_off_total")[frozenset({("reason", "full")})] == 1


def test_whoever_says_nothing_keeps_nobody_out(state: MonitorState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow loris: all places held by clients that owe their request, for ever and again."""
    monkeypatch.setattr(connections, "ASKERS_MAX", 4)
    with MetricsServer(state, plain, port=0) as server:
        silent = []
        for _ in range(5):
            for _ in range(4):
                silent.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
                silent[-1].sendall(b"GET /metrics HTTP/1.0\r\nX-Slow: ")
            assert ask(server, "/metrics")[0] == 200
        assert silent[0].recv(1) == b"", "the oldest gave way"
        assert threading.active_count() < 40
        for each in silent:
            each.close()


# Logging in.

LOGIN = ("prometheus", "geheim: ключ")


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"}


@pytest.fixture
def closed(state: MonitorState, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricsServer]:
    monkeypatch.setattr(server_module, "WRONG_PASSWORD_SECONDS", 0.01)
    with MetricsServer(state, plain, port=0, login=LOGIN) as server:
        yield server


@pytest.mark.parametrize("path", PAGES)
def test_with_a_login_the_pages_need_it(closed: MetricsServer, path: str) -> None:
    status, headers, body = ask(closed, path)
    assert status == 401
    assert headers["WWW-Authenticate"] == 'Basic realm="labelwatch", charset="UTF-8"'
    assert b"labelwatch_" not in body
    assert ask(closed, path, headers=basic(*LOGIN))[0] == 200
    assert ask(closed, path, "HEAD", headers=basic(*LOGIN))[0] == 200
    assert ask(closed, path, "HEAD")[0] == 401


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
def test_probes_need_no_login(closed: MetricsServer, path: str) -> None:
    assert ask(closed, path)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("prometheus", "geheim"),
        basic("prometheus", "geheim: ключ "),
        basic("prometheu", "sgeheim: ключ"),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ==="},
        {"Authorization": "Basic é"},
        {"Authorization": "Bearer cHJvbWV0aGV1czpnZWhlaW0="},
        {"Authorization": ""},
    ],
)
def test_any_other_login_is_refused(closed: MetricsServer, headers: dict[str, str]) -> None:
    assert ask(closed, "/metrics", headers={k: v.encode() for k, v in headers.items()})[0] == 401


def test_the_scheme_has_no_case(closed: MetricsServer) -> None:
    header = basic(*LOGIN)["Authorization"].replace("Basic", "bAsIc")
    assert ask(closed, "/metrics", headers={"Authorization": header})[0] == 200


def test_wrong_passwords_wait_and_keep_nobody_out(state: MonitorState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "WRONG_PASSWORD_SECONDS", 30.0)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60.0)
    monkeypatch.setattr(connections, "ASKERS_MAX", 3)
    wrong = f"GET /metrics HTTP/1.0\r\nAuthorization: {basic('prometheus', 'x')['Authorization']}\r\n\r\n".encode()
    with MetricsServer(state, plain, port=0, login=LOGIN) as server:
        guesses = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(3)]
        for each in guesses:
            each.sendall(wrong)
        while len(server._connections) < 3:
            time.sleep(0.001)
        assert ask(server, "/metrics", headers=basic(*LOGIN))[0] == 200
        assert guesses[0].recv(1_000) == b"", "the oldest guess gave way, without an answer"
        assert not select.select(guesses[1:], [], [], 0)[0], "the others still wait"
        for each in guesses:
            each.close()


def test_no_page_takes_more_than_half_of_a_core(state: MonitorState) -> None:
    """However many ask: the time between renderings is as long as they work."""

    class Slow(FakeEngine):
        def figures(self, at_ms: int) -> Figures:
            spans.append(time.monotonic())
            worked = time.thread_time() + 0.05
            while time.thread_time() < worked:
                pass
            spans.append(time.monotonic())
            return super().figures(at_ms)

    spans: list[float] = []
    state.restored(0, Slow(engine().site_figures))
    state.caught_up(0)
    with MetricsServer(state, plain, port=0) as server:
        for join in [in_thread(lambda: [ask(server, "/metrics")[0] for _ in range(4)]) for _ in range(4)]:
            assert join() == [200] * 4
    pauses = [begin - end for end, begin in zip(spans[1::2], spans[2::2], strict=False)]
    assert pauses
    assert min(pauses) >= 0.05


# What browsers must not do with it.


def test_errors_are_plain_text_with_the_same_headers(server: MetricsServer) -> None:
    answer = raw(server, b"<script>alert(1)</script> / HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: text/plain" in head
    assert b"X-Frame-Options: DENY" in head
    assert b"<script>" not in body


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz", "/nothing"])
def test_a_browser_runs_loads_and_frames_nothing(server: MetricsServer, path: str) -> None:
    headers = ask(server, path)[1]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "labelwatch", "no versions"


# Start and stop.


def test_a_port_in_use_is_named_with_the_flag(state: MonitorState, server: MetricsServer) -> None:
    with pytest.raises(ServerError, match=rf"^port {server.port} on 127\.0\.0\.1 is in use .* --metrics-port"):
        MetricsServer(state, plain, port=server.port).start()
    assert ask(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70_000, "port 70000 does not exist.*--metrics-port"),
        ("192.0.2.1", 0, r"192\.0\.2\.1 cannot be listened on \(.+\).*--metrics-host"),
        ("no such host", 0, r"no such host cannot be listened on \(.+\).*--metrics-host"),
    ],
)
def test_an_address_that_cannot_be_served_is_named_with_the_flag(
    state: MonitorState, host: str, port: int, message: str
) -> None:
    with pytest.raises(ServerError, match=message):
        MetricsServer(state, plain, host=host, port=port).start()


def test_a_stopped_server_frees_its_port_and_can_start_again(state: MonitorState) -> None:
    port = free_port()
    server = MetricsServer(state, plain, port=port)
    server.stop()
    for _ in range(2):
        server.start()
        assert server.port == port
        assert server.url == f"http://127.0.0.1:{port}"
        assert ask(server, "/healthz")[0] == 200
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            ask(server, "/healthz")


def test_loopback_is_the_default(state: MonitorState) -> None:
    with MetricsServer(state, plain, port=0) as server:
        assert server._server is not None
        assert server._server.server_address[0] == "127.0.0.1"


def test_ipv6_is_served_too(state: MonitorState) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return  # a machine without IPv6 has nothing to serve
    with MetricsServer(state, plain, host="::1", port=0) as server:
        assert server.url == f"http://[::1]:{server.port}"
        with closing(http.client.HTTPConnection("::1", server.port, timeout=30)) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200


def test_scrapes_beside_a_changing_state_are_always_whole(state: MonitorState, server: MetricsServer) -> None:
    stop = threading.Event()
    wrong: list[bytes | Exception] = []

    def scrape() -> None:
        while not stop.is_set():
            try:
                page = ask(server, "/metrics")[2]
                counts = values(page, "labelwatch_checkpoint_seconds_count")
                if list(counts.values()) != list(values(page, "labelwatch_checkpoints_total").values()):
                    wrong.append(page)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=scrape) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        state.assign([0, 1], 2)
        state.restored(0, engine())
        state.caught_up(0)
        state.committed(0, 0.05)
        state.event_delays(0, [0.1])
        state.assign([1], 2)
        state.revoke()
        state.prove_membership(FOREVER)
        time.sleep(0.002)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []

"""Samples for the views: from a worker's page, from a Prometheus, and the sentence where neither answers."""

import json
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from streams.exporter import MetricsServer, MonitorState
from streams.exporter.pseudonyms import plain
from streams.views import http
from streams.views.http import Unreachable
from streams.views.samples import Samples, read_prometheus, read_worker

PAGE = """# HELP labelwatch_site_reviews Reviews.
# TYPE labelwatch_site_reviews gauge
labelwatch_site_reviews{site="lima-1",role="agent",window="1h"} 40.0
labelwatch_site_reviews{site="li\\"ma\\\\2",role="agent",window="1h"} 2.0
# HELP labelwatch_events_total Events.
# TYPE labelwatch_events_total counter
labelwatch_events_total{type="label_submitted",topic="t",partition="0"} 7.0
labelwatch_events_total{type="label_submitted",topic="t",partition="1"} 5.0
"""


@contextmanager
def serving(answer: Callable[[str], tuple[int, str]]) -> Iterator[str]:
    """A server that answers a path with a status and a text; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answer(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_workers_page_is_read_by_name_and_labels() -> None:
    with serving(lambda path: (200, PAGE) if path == "/metrics" else (404, "")) as url:
        samples = read_worker(f"{url}/")
    assert samples.value("labelwatch_site_reviews", site="lima-1", window="1h") == 40
    assert samples.value("labelwatch_site_reviews", site='li"ma\\2') == 2
    assert samples.total("labelwatch_events_total", type="label_submitted") == 12
    assert [labels["partition"] for labels, _ in samples.select("labelwatch_events_total")] == ["0", "1"]


def test_only_the_wanted_metrics_are_read_and_parsed() -> None:
    with serving(lambda _: (200, PAGE + "labelwatch_site_info{no sample at all\n")) as url:
        samples = read_worker(url, names=["labelwatch_events_total", "labelwatch_no_such"])
    assert list(samples.by_name) == ["labelwatch_events_total"]
    assert samples.total("labelwatch_events_total") == 12
    with serving(lambda _: (200, PAGE)) as url:
        assert read_worker(url, names=["labelwatch_no_such"]).by_name == {}
    with serving(lambda _: (200, "<html>hello</html>")) as url, pytest.raises(Unreachable, match="not a metrics page"):
        read_worker(url, names=["labelwatch_events_total"])


def test_what_is_not_there_is_none_and_adds_up_to_nothing() -> None:
    samples = Samples({"a": [({"site": "x"}, 1.0)]})
    assert samples.value("a", site="y") is None
    assert samples.value("b") is None
    assert samples.total("b") == 0


def test_an_empty_label_and_one_that_prometheus_left_out_are_the_same() -> None:
    kept, left_out = ({"site": "x", "project": ""}, 1.0), ({"site": "x"}, 2.0)
    for sample in (kept, left_out):
        samples = Samples({"a": [sample]})
        assert samples.value("a", site="x", project="") == sample[1]
        assert samples.value("a", site="x", project="p") is None


def test_of_two_workers_the_larger_value_is_taken() -> None:
    assert Samples({"a": [({"site": "x"}, 1.0), ({"site": "x"}, 3.0)]}).value("a", site="x") == 3


def test_a_prometheus_is_asked_once_and_its_own_labels_are_taken_off() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, str]:
        asked.append(path)
        metric = {"__name__": "labelwatch_site_reviews", "site": "lima-1", "instance": "h:9464", "job": "labelwatch"}
        return 200, json.dumps({"status": "success", "data": {"result": [{"metric": metric, "value": [1.5, "40"]}]}})

    with serving(answer) as url:
        samples = read_prometheus(url)
    assert samples.by_name == {"labelwatch_site_reviews": [({"site": "lima-1"}, 40.0)]}
    (path,) = asked
    ((query,),) = urllib.parse.parse_qs(path.partition("?")[2]).values()
    assert query == '{__name__=~"labelwatch_.*",__name__!~"labelwatch_(agent|reviewer)_.*|.*_bucket"}'
    with serving(answer) as url:
        read_prometheus(url, names=["labelwatch_site_reviews", "labelwatch_site_info"])
    ((query,),) = urllib.parse.parse_qs(asked[1].partition("?")[2]).values()
    assert query == '{__name__=~"labelwatch_site_info|labelwatch_site_reviews"}'


@pytest.mark.parametrize(
    ("reader", "status", "text", "said"),
    [
        (read_worker, 500, "", "no answer from .*500|no answer from .*Internal"),
        (read_worker, 200, "<html>hello</html>", "is not a metrics page"),
        (read_prometheus, 200, "<html>hello</html>", "does not answer as a Prometheus does"),
        (read_prometheus, 200, '{"status": "error"}', "does not answer as a Prometheus does"),
        (read_prometheus, 404, "", "no answer from"),
    ],
)
def test_an_answer_that_is_none_is_called_so(
    reader: Callable[[str], Samples], status: int, text: str, said: str
) -> None:
    with serving(lambda _: (status, text)) as url, pytest.raises(Unreachable, match=said) as caught:
        reader(url)
    assert url in str(caught.value)


@pytest.mark.parametrize("reader", [read_worker, read_prometheus])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1"])
def test_an_address_where_nobody_is_fails_by_name(reader: Callable[[str], Samples], url: str) -> None:
    with pytest.raises(Unreachable, match="no answer from"):
        reader(url)


@pytest.mark.parametrize("reader", [read_worker, read_prometheus])
@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:1", "localhost:9464", "http://", "http://:9464", "ftp:/x", "http://h:65536", "http://h:0",
     "http://h:\uff19464", "http://\uff48:9464", "http://[::1:9464", "http://h:port", "file:///etc/passwd"],
)  # fmt: skip
def test_what_is_no_address_is_called_so(reader: Callable[[str], Samples], url: str) -> None:
    with pytest.raises(Unreachable, match="is no address: write http://HOST:PORT"):
        reader(url)


def test_what_answers_without_http_is_called_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match="does not answer in HTTP"):
            read_worker(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


@pytest.mark.parametrize("reader", [read_worker, read_prometheus])
def test_a_proxy_is_asked_only_for_what_lies_beyond_this_machine(
    reader: Callable[[str], Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied: list[str] = []
    empty = json.dumps({"data": {"result": []}}) if reader is read_prometheus else PAGE

    def proxy(path: str) -> tuple[int, str]:
        proxied.append(path.partition("/")[2].partition("/")[2].partition("/")[0])
        return 200, empty

    with serving(proxy) as proxy_url, serving(lambda _: (200, empty)) as url:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy_url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "inside.example,10.1.0.0/16")
        port = url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "127.9.9.9", "0.0.0.0", "[::ffff:127.0.0.1]"):
            if host == "127.9.9.9":  # the server listens on one address alone
                with pytest.raises(Unreachable, match="refused"):
                    reader(f"http://{host}:{port}")
            else:
                reader(f"http://{host}:{port}")
        assert proxied == []
        reader("http://prometheus.example:9090")
        reader("http://10.2.0.7:9090")
        assert proxied == ["prometheus.example:9090", "10.2.0.7:9090"]
        with pytest.raises(Unreachable, match="no answer from"):
            reader("http://inside.example:9090")
        assert len(proxied) == 2


@pytest.mark.parametrize(("host", "excepted"), [("10.1.2.3", True), ("10.2.0.7", False), ("::1", False), ("a", False)])
def test_no_proxy_may_name_a_network(host: str, excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "inside.example, 10.1.0.0/16,nonsense/99")
    assert http._excepted(host) is excepted


def test_a_workers_password_is_given_to_the_worker_alone() -> None:
    login = ("prometheus", "geheim: \u20ac")
    with MetricsServer(MonitorState(), plain, port=0, login=login) as server:
        assert read_worker(server.url, login).by_name["labelwatch_build_info"]
        with pytest.raises(Unreachable, match=r"needs a password: set LABELWATCH_METRICS_USERNAME and LABELWATCH_METR"):
            read_worker(server.url)
        with pytest.raises(Unreachable, match="does not take this user name and password") as caught:
            read_worker(server.url, ("prometheus", "wr0ng"))
        assert "wr0ng" not in str(caught.value)


def test_a_password_does_not_follow_to_another_address() -> None:
    seen: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
            else:
                seen.append(self.headers.get("Authorization"))
                self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        read_worker(f"http://127.0.0.1:{server.server_port}", ("prometheus", "s3cret"))
        server.shutdown()
    assert seen == [None]

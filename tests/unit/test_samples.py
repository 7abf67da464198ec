"""Samples for the views: from a worker's page, from a Prometheus, and the sentence where neither answers."""

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from streams.exporter import MetricsServer, MonitorState
from streams.exporter.pseudonyms import plain
from streams.views.samples import Samples, Unreachable, read_prometheus, read_worker

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


@pytest.mark.parametrize(
    ("reader", "status", "text", "said"),
    [
        (read_worker, 500, "", "nobody answers at .*500|nobody answers at .*Internal"),
        (read_worker, 200, "<html>hello</html>", "is not a metrics page"),
        (read_prometheus, 200, "<html>hello</html>", "does not answer as a Prometheus does"),
        (read_prometheus, 200, '{"status": "error"}', "does not answer as a Prometheus does"),
        (read_prometheus, 404, "", "nobody answers at"),
    ],
)
def test_an_answer_that_is_none_is_called_so(
    reader: Callable[[str], Samples], status: int, text: str, said: str
) -> None:
    with serving(lambda _: (status, text)) as url, pytest.raises(Unreachable, match=said) as caught:
        reader(url)
    assert url in str(caught.value)


@pytest.mark.parametrize("reader", [read_worker, read_prometheus])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "http://", "ftp:/x"])
def test_an_address_where_nobody_is_fails_by_name(reader: Callable[[str], Samples], url: str) -> None:
    with pytest.raises(Unreachable, match="nobody answers at"):
        reader(url)


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

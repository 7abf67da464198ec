"""A Prometheus with fixed answers, over HTTP: what a test asks for is what a board gets."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

#: A series: its labels, and its value at any time or a value for each step.
Series = tuple[Mapping[str, str], float | Sequence[float | None]]


class FakePrometheus:
    """Answers by query.

    Attributes:
        answers: The series of a query, as the board's expression stands after variables are put in.
        labels: The values of a label.
        asked: Every query that was asked, in order.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Sequence[Series]] = {}
        self.labels: dict[str, Sequence[str]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def answer(self, path: str, parameters: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append((path, parameters))
        if path.startswith("/api/v1/label/"):
            return 200, {"status": "success", "data": list(self.labels.get(unquote(path.split("/")[4]), ()))}
        query = parameters["query"]
        if query not in self.answers:
            return 400, {"status": "error", "errorType": "bad_data", "error": f"no answer for {query}"}
        if path == "/api/v1/query":
            at = float(parameters["time"])
            result = [
                {"metric": dict(labels), "value": [at, _text(value if isinstance(value, (int, float)) else value[-1])]}
                for labels, value in self.answers[query]
            ]
            return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}
        start, end, step = (float(parameters[key]) for key in ("start", "end", "step"))
        result = []
        for labels, value in self.answers[query]:
            moments = [start + step * number for number in range(int((end - start) // step) + 1)]
            values = [value] * len(moments) if isinstance(value, (int, float)) else list(value)
            # Fixed values are spread over the whole time, None is a gap.
            spread = [values[number * len(values) // len(moments)] for number in range(len(moments))]
            points = [[at, _text(each)] for at, each in zip(moments, spread, strict=True) if each is not None]
            result.append({"metric": dict(labels), "values": points})
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}

    def queries(self) -> list[str]:
        """Every query so far."""
        return [parameters["query"] for _, parameters in self.asked if "query" in parameters]


def _text(value: float | None) -> str:
    return "NaN" if value is None or value != value else repr(value)


@contextmanager
def serving(fake: FakePrometheus) -> Iterator[FakePrometheus]:
    """Serves it on a free port; sets its `url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._reply(parts.path, parts.query)

        def do_POST(self) -> None:
            self._reply(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _reply(self, path: str, encoded: str) -> None:
            parameters = {key: values[-1] for key, values in parse_qs(encoded).items()}
            status, answer = fake.answer(path, parameters)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

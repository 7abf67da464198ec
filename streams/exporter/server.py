"""The pages over HTTP from threads of their own: /metrics, /metrics/agents, /healthz, /readyz.

The standard library's threading server: rendering blocks, so it needs threads in any case, and a second
event loop would only hand the work to them. A connection carries one request (HTTP/1.0).

Anyone who can connect to the port can ask, so nobody may take what others need. Places are few, those of probes and of
readers of pages apart, and who is slow gives way (`connections`). A page is rendered for all who wait, and takes half
of a core at most (`pages`). With a certificate the port speaks TLS alone.
"""

import binascii
import errno
import hashlib
import hmac
import http.client
import logging
import socket
import socketserver
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from types import TracebackType
from typing import Any, Protocol, Self

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from schemas.metrics import Page
from streams.exporter.collector import MAX_SERIES, PeopleCollector, SitesCollector
from streams.exporter.connections import ASKERS_MAX, WAITERS_MAX, Connections, Visit
from streams.exporter.pages import PageSource
from streams.exporter.pseudonyms import AgentNames
from streams.exporter.state import MonitorState
from streams.exporter.text import CONTENT_TYPE

REQUEST_BYTES_MAX = 16 << 10
#: For one read or one write.
SOCKET_SECONDS = 10.0
#: How long the answer to a wrong password takes: what can be guessed in a second is bounded by the connections.
WRONG_PASSWORD_SECONDS = 1.0
#: Written at once: so often a reader's progress is seen.
_WRITE_BYTES = 16 << 10
#: How long a stop, or the end of an overdue connection, may take.
_POLL_SECONDS = 0.1
_PLAIN = "text/plain; charset=utf-8"

logger = logging.getLogger(__name__)


class ServerError(Exception):
    """The address cannot be served; the message says which flag to change."""


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for choice in header.lower().split(","):
        name, _, parameters = choice.partition(";")
        if name.strip() == "gzip":
            quality = parameters.replace(" ", "").removeprefix("q=")
            return not quality or quality.strip("0.") != ""
    return False


class Certificate(Protocol):
    """What readers are shown over TLS."""

    @property
    def context(self) -> ssl.SSLContext:
        """For new connections."""
        ...

    @property
    def expires_at_seconds(self) -> float:
        """When it ends, epoch seconds."""
        ...

    def refresh(self) -> None:
        """Takes a renewed one; called several times a second."""
        ...


class Login:
    """Who may read the pages: one user name and one password (HTTP basic authentication).

    Args:
        username: Without a colon.
        password: Any text.
    """

    def __init__(self, username: str, password: str) -> None:
        self._wanted = hashlib.sha256(f"{username}:{password}".encode()).digest()

    def accepts(self, header: str) -> bool:
        """Whether an Authorization header has both; takes as long whatever is wrong with it."""
        scheme, _, encoded = header.partition(" ")
        try:
            given = b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            given = b""
        # Digests, since a comparison tells the length.
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._wanted)


class _Head:
    """The request's head, up to a limit."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._left = REQUEST_BYTES_MAX

    def readline(self, limit: int = -1) -> bytes:
        line = self._file.readline(self._left + 1 if limit < 0 else min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("request head")
        return line

    def close(self) -> None:
        self._file.close()


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    timeout = SOCKET_SECONDS
    error_content_type = _PLAIN
    error_message_format = "%(code)d %(message)s\n"

    def setup(self) -> None:
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self._shake_hands(self.connection)
        self.rfile = _Head(self.rfile)  # type: ignore[assignment]  # only readline and close are ever called

    @staticmethod
    def _shake_hands(connection: ssl.SSLSocket) -> None:
        """Here, in the connection's own thread, since the other side may take its time.

        Raises:
            ssl.SSLError: It speaks no TLS, or does not like the certificate.
        """
        try:
            connection.do_handshake()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                # In the clear, as the question: the socket's own methods. Unread bytes would reset the connection.
                socket.socket.recv(connection, REQUEST_BYTES_MAX)
                socket.socket.sendall(connection, _SPEAKS_TLS)
            raise

    def handle(self) -> None:
        try:
            super().handle()
        except http.client.LineTooLong:
            self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if source := self.server.sources.get(path):
            if self._may_read():
                self._page(source)
        elif answer := self.server.answers.get(path):
            self._send(*answer())
        else:
            self._send(HTTPStatus.NOT_FOUND, _PLAIN, [b"Not found; / lists the pages.\n"])

    do_HEAD = do_GET

    def _may_read(self) -> bool:
        login = self.server.login
        given = self.headers.get("Authorization")
        if login is None or (given is not None and login.accepts(given)):
            return True
        if given is not None:
            self._wait_or_give_way(WRONG_PASSWORD_SECONDS)
        message = [b"This page needs a user name and a password.\n"]
        headers = {"WWW-Authenticate": 'Basic realm="labelwatch", charset="UTF-8"'}
        self._send(HTTPStatus.UNAUTHORIZED, _PLAIN, message, headers)
        return False

    def _wait_or_give_way(self, seconds: float) -> None:
        """Waits, and ends early when the connection is closed, by whichever side."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.connection.settimeout(left)
            try:
                if not self.connection.recv(1024):
                    break
            except TimeoutError:
                break
        self.connection.settimeout(SOCKET_SECONDS)

    def _refuse(self) -> None:
        message = [b"Only GET and HEAD are answered.\n"]
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, message, {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _page(self, source: PageSource) -> None:
        if self.command == "HEAD":
            self._send(HTTPStatus.OK, CONTENT_TYPE, None)
            return
        visit = self.server.connections.wants_page(self.connection)
        if visit is None:
            message = [b"Too many readers wait for this page; ask again.\n"]
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, message, {"Retry-After": "1"})
            return
        zipped = accepts_gzip(self.headers.get("Accept-Encoding", ""))
        headers = {"Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if zipped else {})
        while True:
            try:
                rendering = source.rendering()
            except RuntimeError:
                message = [b"This page could not be rendered; the worker's log says why.\n"]
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, _PLAIN, message)
                return
            body = rendering.body(zipped)
            # A worker stopped between rendering and here may have lost its partitions to another one.
            if rendering.holds:
                # While it is read slowly, the other form of it is not kept.
                del rendering
                self.server.connections.begin(visit, body)
                self._send(HTTPStatus.OK, CONTENT_TYPE, body, headers, visit)
                return

    def _send(
        self,
        status: HTTPStatus,
        content_type: str,
        body: list[bytes] | None,
        headers: dict[str, str] | None = None,
        visit: Visit | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Cache-Control", "no-store")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(sum(map(len, body))))
        self.end_headers()
        if body is not None and self.command != "HEAD":
            for piece in body:
                for start in range(0, len(piece), _WRITE_BYTES):
                    written = piece[start : start + _WRITE_BYTES]
                    self.wfile.write(written)
                    if visit is not None:
                        visit.sent += len(written)

    def end_headers(self) -> None:
        # Here, since the errors of the base class pass here too.
        for name, value in _SAFE.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "labelwatch"

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


HttpResponse = tuple[HTTPStatus, str, list[bytes]]

#: What a browser must not do with our answers: guess a type, run or load anything, show them in somebody's frame.
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SPEAKS_TLS = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis port speaks TLS: write https://\n"
)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not http.server.HTTPServer: it asks the name service for the host's name before it serves.
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = ASKERS_MAX + WAITERS_MAX

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[Any, ...],
        sources: Iterable[PageSource],
        answers: dict[str, Callable[[], HttpResponse]],
        login: Login | None,
        connections: Connections,
        certificate: Certificate | None,
        tend: Callable[[], None],
    ) -> None:
        self.address_family = family
        self.login = login
        self.sources = {source.page.value: source for source in sources}
        self.answers = answers
        self.connections = connections
        self._certificate = certificate
        self._tend = tend
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[Any, Any]:
        request, address = super().get_request()
        if self._certificate is not None:
            request = self._certificate.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.arrived(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.left(request)

    def service_actions(self) -> None:
        self.connections.tend()
        self._tend()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Called from the except clause: a scraper that hangs up is its business, anything else ours.
        logger.debug("A connection ended early", exc_info=True)


class MetricsServer:
    """Serves a worker's state; start it before joining the group, so that probes are answered from the first second.

    Args:
        state: What to show.
        names: How agents are called; see `agent_names`.
        host: Address to listen on. Beyond loopback, mind who can reach it, or give a login.
        port: TCP port, 0 for a free one.
        max_series: Series on the people's page at most; keep it below the scrape's `sample_limit`.
        login: User name and password that the two pages ask for; the probes never do.
        certificate: With it the port speaks TLS alone, for pages and probes.
    """

    def __init__(
        self,
        state: MonitorState,
        names: AgentNames,
        *,
        host: str = "127.0.0.1",
        port: int = 9464,
        max_series: int = MAX_SERIES,
        login: tuple[str, str] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self._state = state
        self._certificate = certificate
        self._connections = Connections(state.reader_cut_off)
        self._login = None if login is None else Login(*login)
        self._host = host
        self._port = port
        sites, people = CollectorRegistry(), CollectorRegistry()
        sites.register(SitesCollector(state, names))  # type: ignore[arg-type]  # a Family has what theirs has
        ProcessCollector(registry=sites)
        GCCollector(registry=sites)
        people.register(PeopleCollector(state, names, max_series))  # type: ignore[arg-type]  # as above
        self._sources = [PageSource(state, Page.SITES, sites), PageSource(state, Page.AGENTS, people)]
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, the real one once started."""
        return self._port

    @property
    def url(self) -> str:
        """Where the pages are, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._certificate is None else 'https'}://{host}:{self._port}"

    def start(self) -> None:
        """Binds and serves.

        Raises:
            ServerError: The address cannot be had.
        """
        # Not left to the resolver, which takes a port of 70000 for 4464.
        if not 0 <= self._port <= 65_535:
            raise ServerError(f"port {self._port} does not exist: choose 0 to 65535 with --metrics-port")
        answers = {"/": self._index, "/healthz": self._health, "/readyz": self._readiness}
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            self._server = _Server(
                family,
                address,
                self._sources,
                answers,
                self._login,
                self._connections,
                self._certificate,
                self._refresh_certificate,
            )
        except OSError as error:
            raise ServerError(self._reason(error)) from error
        self._port = self._server.server_address[1]
        self._refresh_certificate()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="labelwatch-metrics", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Closes the port; a page on its way out may be cut. Does nothing when not started."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _reason(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {self._port} on {self._host} is in use by another program: "
                "stop it, or choose another port with --metrics-port (0 takes a free one)"
            )
        if error.errno == errno.EACCES:
            return f"port {self._port} may not be used by this user: choose one above 1023 with --metrics-port"
        return (
            f"{self._host} cannot be listened on ({error.strerror}): "
            "choose an address of this machine with --metrics-host"
        )

    def _refresh_certificate(self) -> None:
        if self._certificate is not None:
            self._certificate.refresh()
            self._state.certificate_expires("metrics", self._certificate.expires_at_seconds)

    def _health(self) -> HttpResponse:
        age = self._state.loop_age_seconds
        if self._state.is_alive:
            return HTTPStatus.OK, _PLAIN, [b"ok\n"]
        return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, [f"the event loop has not turned for {age:.0f} s\n".encode()]

    def _readiness(self) -> HttpResponse:
        missing = self._state.not_ready()
        if not missing:
            return HTTPStatus.OK, _PLAIN, [b"ready\n"]
        lines = "".join(f"{reason}: {sentence}\n" for reason, sentence in missing.items())
        return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, [lines.encode()]

    def _index(self) -> HttpResponse:
        return HTTPStatus.OK, "text/html; charset=utf-8", [_INDEX]


_INDEX = b"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>labelwatch</title>
<h1>labelwatch</h1>
<ul>
<li><a href="/metrics">/metrics</a>: sites, drift, pipeline
<li><a href="/metrics/agents">/metrics/agents</a>: people
<li><a href="/readyz">/readyz</a>: are the figures complete, and if not, why
<li><a href="/healthz">/healthz</a>: does the worker live
</ul>
</html>
"""

"""The receiver's HTTP: `POST /label-studio`, and for operators /healthz, /readyz and /metrics. On loopback by default.

Label Studio sends within its user's request and waits a second: a hook is answered as soon as it is on disk. It does
not look at the answer, so a status is for people and for the log.
"""

import asyncio
import errno
import hashlib
import hmac
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from streams.exporter.server import Certificate, Login
from streams.ingest.connections import IDLE_SECONDS, Listener
from streams.ingest.facts import Refused
from streams.ingest.metrics import IngestMetrics
from streams.ingest.receiver import Receiver
from streams.ingest.spool import Spool, SpoolError, Transaction

PATH = "/label-studio"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: A body must have come within this time: a tool sends at once.
BODY_SECONDS = 10.0
#: Bodies in memory, all together.
_BODIES_BYTES_MAX = 128 << 20

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class IngestServerError(Exception):
    """The address cannot be served; the message says which setting to change."""


class IngestServer:
    """Serves the receiver.

    Args:
        receiver: Takes bodies.
        spool: For health.
        metrics: For the page, and what is refused before a body is read.
        secret: What the header must have; None: anyone may send.
        secret_header: The header's name.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        body_bytes_max: Of one body.
        login: User name and password that /metrics asks for; None: anyone who can connect may read it.
        certificate: With it the port speaks TLS alone.
        before_answer: Called when a hook is durable, before it is answered; for tests of what happens then.
    """

    def __init__(
        self,
        receiver: Receiver,
        spool: Spool,
        metrics: IngestMetrics,
        *,
        secret: str | None,
        secret_header: str,
        host: str = "127.0.0.1",
        port: int = 9470,
        body_bytes_max: int = 16 << 20,
        login: tuple[str, str] | None = None,
        certificate: Certificate | None = None,
        before_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._receiver = receiver
        self._spool = spool
        self._metrics = metrics
        self._wanted = None if secret is None else hashlib.sha256(secret.encode()).digest()
        self._secret_header = secret_header
        self._host = host
        self.port = port
        self._body_bytes_max = body_bytes_max
        self._before_answer = before_answer
        self._bodies_bytes = 0
        self._spool_error: SpoolError | None = None
        self._login = None if login is None else Login(*login)
        self._certificate = certificate
        app = web.Application(client_max_size=body_bytes_max, middlewares=[self._around])
        app.router.add_post(PATH, self._hook)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_page)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_SECONDS, handle_signals=False)
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Binds and serves.

        Raises:
            IngestServerError: The address cannot be had.
        """
        await self._runner.setup()
        handler = self._runner.server
        assert handler is not None, "the runner is set up"
        self._listener = Listener(handler, None if self._certificate is None else self._context)
        try:
            self.port = await self._listener.start(self._host, self.port)
        except OSError as error:
            await self._runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise IngestServerError(
                    f"port {self.port} on {self._host} is in use by another program: choose another with --ingest-port"
                ) from error
            raise IngestServerError(
                f"{self._host} port {self.port} cannot be listened on ({error.strerror}): check --ingest-host and "
                "--ingest-port"
            ) from error

    @property
    def url(self) -> str:
        """Where hooks go."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._certificate is None else 'https'}://{host}:{self.port}{PATH}"

    async def stop(self) -> None:
        """Takes no more, and answers what is under way."""
        if self._listener is not None:
            self._listener.stop()
        await self._runner.cleanup()

    def _context(self) -> ssl.SSLContext:
        assert self._certificate is not None, "asked for with one alone"
        # A renewed certificate is taken with the next connection.
        self._certificate.refresh()
        return self._certificate.context

    # --- requests

    @web.middleware
    async def _around(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Errors as one sentence of text; and until the answer is written, nobody closes the connection."""
        assert self._listener is not None, "it serves"
        with self._listener.busy(request.transport):
            answer: web.StreamResponse
            try:
                answer = await handler(request)
            except web.HTTPException as error:
                answer = _text(error.status, f"{error.status} {error.reason}: hooks go to POST {PATH}")
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("a request failed")
                answer = _text(500, "the receiver failed: its log says why")
            await answer.prepare(request)
            await answer.write_eof()
        return answer

    async def _hook(self, request: web.Request) -> web.Response:
        if not self._may_send(request):
            self._metrics.refused.labels("secret").inc()
            name = self._secret_header
            self._receiver.say_now_and_then(
                "secret", f"a webhook from {request.remote} had no or a wrong {name}: set it in the tool's webhook"
            )
            return _text(401, f"the header {name} is missing or wrong: set it in the webhook's headers")
        room = min(request.content_length or self._body_bytes_max, self._body_bytes_max)
        if self._bodies_bytes + room > _BODIES_BYTES_MAX:
            return await self._refused(503, Refused("busy", "too many large bodies at once: later again"))
        self._bodies_bytes += room
        try:
            return await self._take(request)
        except SpoolError as error:
            self._spool_error = error
            self._metrics.refused.labels("spool").inc()
            self._receiver.say_now_and_then("spool", f"a webhook was refused: {error}")
            return _text(503, str(error))
        finally:
            self._bodies_bytes -= room

    async def _take(self, request: web.Request) -> web.Response:
        too_large = Refused(
            "too_large", f"the body has more than {self._body_bytes_max:,} bytes: --ingest-body-bytes-max"
        )
        if (request.content_length or 0) > self._body_bytes_max:
            return await self._refused(413, too_large)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return await self._refused(413, too_large)
        except TimeoutError:
            return await self._refused(408, Refused("too_slow", f"the body took more than {BODY_SECONDS:g} s"))
        began = time.perf_counter()
        try:
            events = await self._receiver.hook(body)
        except Refused as refused:
            return _text(400, str(refused))
        except SpoolError:
            raise
        except Exception:
            # Ours: the sweep finds what it said, the log has the traceback.
            await self._receiver.refuse(Refused("defect", "the receiver failed at it: please report the log"), body)
            raise
        self._spool_error = None
        self._before_answer()
        self._metrics.answer_seconds.observe(time.perf_counter() - began)
        return web.json_response({"events": events})

    async def _refused(self, status: int, refused: Refused) -> web.Response:
        await self._receiver.refuse(refused, None)
        answer = _text(status, str(refused))
        # What is still to come of the body is not read.
        answer.force_close()
        return answer

    def _may_send(self, request: web.Request) -> bool:
        if self._wanted is None:
            return True
        given = request.headers.get(self._secret_header, "")
        # Digests, since a comparison tells the length.
        return hmac.compare_digest(hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest(), self._wanted)

    async def _healthz(self, request: web.Request) -> web.Response:
        if self._spool.is_alive:
            return _text(200, "ok")
        return _text(503, "the spool's thread has ended: restart the receiver")

    async def _readyz(self, request: web.Request) -> web.Response:
        if self._spool_error is None:
            return _text(200, "ready")
        return _text(503, str(self._spool_error))

    async def _metrics_page(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if self._login is not None and not self._login.accepts(given):
            answer = _text(401, "This page needs a user name and a password.")
            answer.headers["WWW-Authenticate"] = 'Basic realm="labelwatch", charset="UTF-8"'
            return answer
        backlog = await self._spool.run(Transaction.backlog)
        return web.Response(body=self._metrics.page(backlog), headers={"Content-Type": CONTENT_TYPE})


def _text(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, text=f"{sentence}\n")

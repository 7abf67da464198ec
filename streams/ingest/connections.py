"""Connections of the receiver's port: taken from the kernel's queue as places get free; who owes a request is closed.

A connection with a request under way, or with bytes that nobody has read yet, is never closed by us: anyone who sent a
hook gets an answer. Where all places are taken, connections that owe a request for a second give way, and new ones wait
in the kernel's queue.
"""

import asyncio
import contextlib
import logging
import select
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

#: A new connection, or one that has begun a request's head, is closed without a whole head for so long.
HEAD_SECONDS = 10.0
#: After an answer: longer than proxies keep their side of a connection, which else send into a closing one.
IDLE_SECONDS = 75.0
#: So long it may owe a request before it gives way: a tool sends at once.
GIVE_WAY_SECONDS = 1.0
CONNECTIONS_MAX = 512
_TEND_SECONDS = 0.25
#: A connection cannot be taken, for want of a file descriptor for example: tried again after so long.
_RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One connection, between its transport and the handler that speaks HTTP.

    Args:
        handler: Speaks HTTP.
        made: Called when its transport is there.
        lost: Called when it is closed.
    """

    def __init__(
        self, handler: asyncio.Protocol, made: Callable[["Connection"], None], lost: Callable[["Connection"], None]
    ) -> None:
        self._handler = handler
        self._made = made
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        #: Whether a request is being worked on: from its head to its answer.
        self.is_busy = False
        #: Whether bytes have come since the last answer.
        self._has_begun = False
        self._has_answered = False
        #: Since when it owes a whole request.
        self._since = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self.transport = cast(asyncio.Transport, transport)
        self._made(self)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if not self._has_begun:
            self._has_begun, self._since = True, self._loop.time()
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """The other side sends no more."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """The other side reads too slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whichever side."""
        self._lost(self)
        self._handler.connection_lost(exc)

    def answered(self) -> None:
        """The answer is written."""
        self.is_busy = self._has_begun = False
        self._has_answered, self._since = True, self._loop.time()

    def owing_seconds(self) -> float:
        """How long it owes a whole request; 0 while one is worked on, or has bytes that were not read yet."""
        if self.is_busy or self._has_unread():
            return 0.0
        return self._loop.time() - self._since

    def is_overdue(self) -> bool:
        """Whether it owes a request for too long."""
        return self.owing_seconds() > (IDLE_SECONDS if self._has_answered and not self._has_begun else HEAD_SECONDS)

    def close(self) -> None:
        """Closes it at once."""
        if self.transport is not None:
            self.transport.abort()

    def _has_unread(self) -> bool:
        """Whether the kernel has bytes of it: a loop that is behind has not seen them."""
        if self.transport is None or self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))


class Listener:
    """Takes connections of one address.

    Args:
        handler: Makes what speaks HTTP on a connection.
        context: Gives the TLS context for a new connection; None: plain.
    """

    def __init__(
        self, handler: Callable[[], asyncio.Protocol], context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._handler = handler
        self._context = context
        self._connections: dict[asyncio.BaseTransport, Connection] = {}
        #: Places that are taken; by those, too, whose TLS handshake is not over.
        self._taken = 0
        self._freed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None

    async def start(self, host: str, port: int) -> int:
        """Binds and takes connections.

        Returns:
            The port.

        Raises:
            OSError: The address cannot be had.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        self._socket = socket.create_server(address[:2], family=family, backlog=CONNECTIONS_MAX)
        self._socket.setblocking(False)
        self._begin(self._accept(self._socket))
        self._begin(self._tend())
        return int(self._socket.getsockname()[1])

    def stop(self) -> None:
        """Takes no more connections; those that are there go on."""
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            self._socket.close()

    @contextlib.contextmanager
    def busy(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a request of a connection is worked on, its answer included."""
        connection = None if transport is None else self._connections.get(transport)
        if connection is not None:
            connection.is_busy = True
        try:
            yield
        finally:
            if connection is not None:
                connection.answered()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._taken >= CONNECTIONS_MAX:
                self._freed.clear()
                self._make_room()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), _TEND_SECONDS)
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("a connection cannot be taken, and waits: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._taken += 1
            self._begin(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self._handler(), self._made, self._lost)
        context = None if self._context is None else self._context()
        seconds = None if context is None else HEAD_SECONDS
        try:
            await loop.connect_accepted_socket(lambda: connection, client, ssl=context, ssl_handshake_timeout=seconds)
        except OSError as error:
            # Anyone who speaks no TLS, hangs up, or takes its time.
            log.debug("A connection ended early: %s", error)
        finally:
            if connection.transport is None:
                client.close()
                self._free()

    def _made(self, connection: Connection) -> None:
        if connection.transport is not None:
            self._connections[connection.transport] = connection

    def _lost(self, connection: Connection) -> None:
        if connection.transport is not None:
            self._connections.pop(connection.transport, None)
        self._free()

    def _free(self) -> None:
        self._taken -= 1
        self._freed.set()

    def _make_room(self) -> None:
        """Closes the connection that owes a request for longest, if for long enough."""
        longest = max(self._connections.values(), key=Connection.owing_seconds, default=None)
        if longest is not None and longest.owing_seconds() > GIVE_WAY_SECONDS:
            longest.close()

    async def _tend(self) -> None:
        while True:
            for connection in list(self._connections.values()):
                if connection.is_overdue():
                    connection.close()
            await asyncio.sleep(_TEND_SECONDS)

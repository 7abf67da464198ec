"""Who is connected to the pages, who gives way to whom, and how much of the pages is in memory; for the server.

Two kinds of places. Each connection begins among the **askers**, who owe a request: when those places are taken, the
oldest asker gives way. Probes are answered there. Who has asked for a page moves to the **readers**. They wait together
for one rendering, which costs little; when more than there are places for are in the midst of their page, the slowest
gives way. So no reader of pages, however slow, can keep a probe or a scraper out.
"""

import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

ASKERS_MAX = 32
#: In the midst of their page. More may begin at the same time: how slow one is shows after a second.
READERS_MAX = 16
#: Who wait for a rendering share it, and each takes a thread.
WAITERS_MAX = 64
#: For the whole request, however slowly it drips: a scraper sends it at once.
HEAD_SECONDS = 5.0
#: Who reads less than this over PROGRESS_SECONDS is cut off.
READER_BYTES_PER_SECOND_MIN = 16 << 10
PROGRESS_SECONDS = 5.0
#: What is still being read of a page's older renderings, all together; one of them may be larger.
OLDER_BYTES_MAX = 64 << 20
#: A rate over less says nothing yet.
_RATE_SECONDS_MIN = 1.0

logger = logging.getLogger(__name__)


class CutOff(StrEnum):
    """Why a reader of a page does not get it whole."""

    SLOW = "slow"
    PLACE = "place"
    MEMORY = "memory"
    FULL = "full"


@dataclass(slots=True, eq=False)
class Visit:
    """One connection.

    Attributes:
        head_until: Until when it may send its request, monotonic seconds.
        reads: Whether it has asked for a page, and has a reader's place.
        sent: Bytes of the page that it has taken.
    """

    head_until: float
    reads: bool = False
    sent: int = 0
    _body: list[bytes] | None = None
    #: The window in which its progress is measured: since when, from how many bytes; and the rate of the one before.
    _since: float = field(default=0.0)
    _from: int = 0
    _rate: float = math.inf

    @property
    def body(self) -> list[bytes] | None:
        """The page that is being sent; None before."""
        return self._body

    def begin(self, body: list[bytes], now: float) -> None:
        """The page begins to go out."""
        self._body, self._since = body, now

    def rate(self, now: float) -> float:
        """Bytes a second, lately; infinite where it is too early to say."""
        seconds = now - self._since
        return (self.sent - self._from) / seconds if seconds >= _RATE_SECONDS_MIN else self._rate

    def is_too_slow(self, now: float) -> bool:
        """Whether its window is over, and it took too little in it; begins the next one."""
        if self._body is None or now - self._since < PROGRESS_SECONDS:
            return False
        self._rate, self._since, self._from = self.rate(now), now, self.sent
        return self._rate < READER_BYTES_PER_SECOND_MIN


class Connections:
    """All connections of the server; safe from any thread.

    Args:
        cut_off: Called for each reader that does not get its page.
    """

    def __init__(self, cut_off: Callable[[CutOff], None]) -> None:
        self._cut_off = cut_off
        self._lock = threading.Lock()
        #: In the order in which they came.
        self._visits: dict[socket.socket, Visit] = {}

    def __len__(self) -> int:
        return len(self._visits)

    def arrived(self, request: socket.socket) -> None:
        """A new connection: where the askers' places are taken, the oldest gives way."""
        with self._lock:
            askers = [other for other, visit in self._visits.items() if not visit.reads]
            if len(askers) >= ASKERS_MAX:
                self._close(askers[0])
            self._visits[request] = Visit(time.monotonic() + HEAD_SECONDS)

    def left(self, request: socket.socket) -> None:
        """A connection is over."""
        with self._lock:
            self._visits.pop(request, None)

    def wants_page(self, request: socket.socket) -> Visit | None:
        """A connection has asked for a page, as it should: it becomes a reader.

        Returns:
            Its visit; None where too many wait already.
        """
        with self._lock:
            visit = self._visits.get(request)
            if visit is None:
                return None
            if sum(each.reads and each.body is None for each in self._visits.values()) >= WAITERS_MAX:
                self._cut_off(CutOff.FULL)
                return None
            visit.reads = True
            return visit

    def begin(self, visit: Visit, body: list[bytes]) -> None:
        """A page begins to go out: readers of older ones give way, oldest first, where those take too much memory."""
        with self._lock:
            visit.begin(body, time.monotonic())
            # By identity: readers who share a rendering share its bytes.
            older = {id(each.body): each.body for each in self._visits.values() if each.body and each.body is not body}
            total = sum(len(piece) for other in older.values() for piece in other)
            while len(older) > 1 and total > OLDER_BYTES_MAX:
                oldest = older.pop(next(iter(older)))
                total -= sum(map(len, oldest))
                for request in [request for request, each in self._visits.items() if each.body is oldest]:
                    self._close(request, CutOff.MEMORY)
            self._make_places()

    def tend(self) -> None:
        """Closes connections that send no request for too long or read too slowly; called several times a second."""
        now = time.monotonic()
        with self._lock:
            for request, visit in list(self._visits.items()):
                if not visit.reads and now > visit.head_until:
                    self._close(request)
                elif visit.is_too_slow(now):
                    self._close(request, CutOff.SLOW)
            self._make_places()

    def _make_places(self) -> None:
        """Where more read than there are places for, the slowest give way, once it is known how fast they are."""
        now = time.monotonic()
        sending = [request for request, visit in self._visits.items() if visit.body is not None]
        known = [(rate, n) for n, request in enumerate(sending) if (rate := self._visits[request].rate(now)) < math.inf]
        for _, n in sorted(known)[: max(len(sending) - READERS_MAX, 0)]:
            self._close(sending[n], CutOff.PLACE)

    def _close(self, request: socket.socket, reason: CutOff | None = None) -> None:
        """Takes a connection's place, and wakes its thread, which then closes it."""
        del self._visits[request]
        if reason is not None:
            self._cut_off(reason)
        try:
            # The socket's own: that of TLS would forget the encryption first, while another thread writes.
            socket.socket.shutdown(request, socket.SHUT_RDWR)
        except OSError as error:
            logger.debug("A connection was gone: %s", error)

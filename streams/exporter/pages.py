"""One page: rendered once at a time, shared by all who ask meanwhile, and never sent when it is out of date."""

import logging
import threading
import time
import zlib

from prometheus_client import CollectorRegistry

from schemas.metrics import Page
from streams.exporter.state import MonitorState
from streams.exporter.text import render

#: 100,000 series: 29 ms, where the default level 9 takes 207 ms and saves little.
_GZIP_LEVEL = 1
_GZIP_FORMAT = 31
#: The rest after a rendering: a scraper that comes right after another one waits no longer.
_REST_SECONDS_MAX = 1.0

logger = logging.getLogger(__name__)


class Rendering:
    """A rendered page; compressed at most once."""

    def __init__(self, pieces: list[bytes], state: MonitorState, member: bool) -> None:
        self._pieces = pieces
        self._state = state
        self._member = member
        self._zipped: list[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def holds(self) -> bool:
        """Whether it may still go out: partitions' series only while membership is proven."""
        return not self._member or self._state.is_member

    def body(self, zipped: bool) -> list[bytes]:
        """The bytes in pieces."""
        if not zipped:
            return self._pieces
        with self._lock:
            if self._zipped is None:
                packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
                self._zipped = [*filter(None, map(packer.compress, self._pieces)), packer.flush()]
            return self._zipped


class PageSource:
    """Renders one page, once at a time; requests that come meanwhile share the next rendering.

    A rendering is shared only if it starts after the request came, so nobody gets figures from
    before the question (a partition may have left between). After each one there is a rest of as much
    time as it worked: however many ask however often, rendering takes half of a core at most.
    """

    def __init__(self, state: MonitorState, page: Page, registry: CollectorRegistry) -> None:
        self.page = page
        self._state = state
        self._registry = registry
        self._changed = threading.Condition()
        self._busy = False
        self._waiting = 0
        self._started = self._finished = 0
        self._rested_at = 0.0
        self._newest: Rendering | Exception | None = None

    def rendering(self) -> Rendering:
        """A rendering that began after the call; raises what rendering raised."""
        with self._changed:
            wanted = self._started + 1
            self._waiting += 1
            self._changed.wait_for(lambda: self._finished >= wanted or not self._busy)
            self._waiting -= 1
            mine = self._finished < wanted
            if mine:
                self._busy = True
            newest = self._newest
            # A page is tens of megabytes: kept only while somebody is about to take it.
            if not self._waiting:
                self._newest = None
        if mine:
            if (rest := self._rested_at - time.monotonic()) > 0:
                time.sleep(rest)
            with self._changed:
                self._started += 1
            began = time.thread_time()
            newest = self._render()
            # As long as it worked, not as long as it took: who waits for events to be applied takes nothing meanwhile.
            self._rested_at = time.monotonic() + min(time.thread_time() - began, _REST_SECONDS_MAX)
            with self._changed:
                self._busy, self._finished = False, self._started
                self._newest = newest if self._waiting else None
                self._changed.notify_all()
        if not isinstance(newest, Rendering):
            raise RuntimeError(f"rendering {self.page.value} failed") from newest
        return newest

    def _render(self) -> Rendering | Exception:
        started = time.perf_counter()
        member = self._state.is_member
        try:
            pieces = render(self._registry.collect())
        except Exception as error:
            logger.exception("%s could not be rendered", self.page.value)
            self._state.render_failed(self.page)
            return error
        self._state.rendered(self.page, time.perf_counter() - started)
        # Proven before or after: either way partitions may be on the page.
        return Rendering(pieces, self._state, member or self._state.is_member)

"""A webhook's body through translation into the spool; what HTTP is, and what Kafka is, others know."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from schemas.events import Event, LabelRevised, LabelSubmitted
from streams.ingest import label_studio
from streams.ingest.facts import Fact, Refused
from streams.ingest.ledger import Ledger
from streams.ingest.metrics import IngestMetrics
from streams.ingest.roster import Roster
from streams.ingest.spool import Spool, Transaction

#: A sweep that is wanted since a body could not be used; of any project.
ANY_PROJECT = 0
_SAID_SECONDS = 30.0
#: Text of a refused body is kept up to here: names and times, and no content.
_KEPT_TEXT = 40

log = logging.getLogger(__name__)


class Receiver:
    """Takes bodies and listings of one tool.

    Args:
        spool: Where to.
        source: The tool's name.
        roster: Who its users are.
        control: The control whose results are the label; None: all of them.
        metrics: Counts.
        wake: Called when there is something to send.
    """

    def __init__(
        self,
        spool: Spool,
        source: str,
        roster: Roster,
        control: str | None,
        metrics: IngestMetrics,
        wake: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._source = source
        self._roster = roster
        self.control = control
        self._metrics = metrics
        self._wake = wake
        self._said: dict[str, float] = {}

    async def hook(self, body: bytes) -> int:
        """Takes a webhook's body; when this returns it is durable.

        Returns:
            How many events were made of it.

        Raises:
            Refused: The body cannot be used; it is noted.
            SpoolError: Nothing can be kept now.
        """
        try:
            action, facts = label_studio.read(body, self.control)
        except Refused as refused:
            await self.refuse(refused, body)
            raise
        self._metrics.hooks.labels(action if label_studio.is_known(action) else "other").inc()
        if not facts:
            return 0
        events = await self.take(facts)
        if not events:
            self._metrics.repeated.inc()
        return len(events)

    async def take(self, facts: Sequence[Fact]) -> list[Event]:
        """Takes facts; when this returns, what they change is durable.

        Raises:
            SpoolError: Nothing can be kept now.
        """
        seen_seconds = time.time()

        def body(file: Transaction) -> list[Event]:
            ledger = Ledger(file, self._source, self._roster.person)
            events = [event for fact in facts for event in ledger.take(fact, int(seen_seconds * 1e6))]
            file.enqueue(events, seen_seconds)
            return events

        events = await self._spool.run(body)
        for event in events:
            self._metrics.events.labels(event.__struct_config__.tag).inc()
        self._metrics.unknown_people.set(len(self._roster.unknown))
        if events:
            self._wake()
        return events

    async def refuse(self, refused: Refused, body: bytes | None) -> None:
        """Notes a body that cannot be used, and that a sweep must find what it said.

        Raises:
            SpoolError: Nothing can be kept now.
        """
        self._metrics.refused.labels(refused.reason).inc()
        self.say_now_and_then(refused.reason, f"a webhook was refused: {refused}")
        kept = None if body is None else sketch(body)

        def note(file: Transaction) -> None:
            file.refuse(time.time(), refused.reason, str(refused), kept)
            file.want_sweep(ANY_PROJECT)

        await self._spool.run(note)

    def say_now_and_then(self, about: str, sentence: str) -> None:
        """Writes to the log, at most every 30 s about one thing."""
        now = time.monotonic()
        if now - self._said.get(about, -_SAID_SECONDS) >= _SAID_SECONDS:
            self._said[about] = now
            log.warning("%s", sentence)


def missing_kind(event: Event) -> str | None:
    """What a sweep found that no hook had reported; None for what follows from it."""
    if isinstance(event, LabelSubmitted):
        return "created"
    if isinstance(event, LabelRevised):
        return "deleted" if event.cause == "deleted" else "updated"
    return None


def sketch(body: bytes) -> bytes | None:
    """What is kept of a body that cannot be used: ids, flags and times, without secrets and content.

    Returns:
        JSON; None where the body is none.
    """
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(whole, dict):
        return msgspec.json.encode({"body": type(whole).__name__})
    kept: dict[str, Any] = {"action": _scalar(whole.get("action"))}
    for name in ("annotation", "annotations"):
        if name in whole:
            kept[name] = _scalars(whole[name])
    for name in ("task", "tasks", "project"):
        if name in whole:
            kept[name] = _ids(whole[name])
    return msgspec.json.encode(kept)


def _scalars(value: Any) -> Any:
    if isinstance(value, list):
        return [_scalars(each) for each in value[:100]]
    if isinstance(value, dict):
        return {str(name)[:_KEPT_TEXT]: _scalar(each) for name, each in list(value.items())[:100]}
    return _scalar(value)


def _ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_ids(each) for each in value[:100]]
    if isinstance(value, dict):
        return {"id": _scalar(value.get("id")), "created_at": _scalar(value.get("created_at"))}
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_KEPT_TEXT]
    return value if value is None or isinstance(value, (bool, int, float)) else type(value).__name__

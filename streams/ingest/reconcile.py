"""Compares the tool with what is remembered, by its API: hooks that were lost become events then, each exactly once.

A listing goes through the same ledger as a hook, so what a hook has reported changes nothing. What is so new that
its hook may still be on its way is left to the next sweep.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from streams.ingest import label_studio
from streams.ingest.facts import Refused, TaskDeleted, TaskListed
from streams.ingest.metrics import IngestMetrics
from streams.ingest.receiver import ANY_PROJECT, Receiver, missing_kind
from streams.ingest.spool import Spool, SpoolError, Transaction

_PAGE_SIZE = 100
#: A hook comes within the request that causes it; the tool gives up on one after a second.
GRACE_SECONDS = 30.0
#: So much of what was swept is swept again: the tool's clock may be set back a little.
_OVERLAP_SECONDS = 60.0
_ALL_SECONDS = 24 * 3600.0
_REQUEST_SECONDS = 60.0

log = logging.getLogger(__name__)


class SweepError(Exception):
    """A sweep cannot be made; the message is one sentence that says what to do."""


class Reconciler:
    """Sweeps a tool's projects.

    Args:
        url: The tool's address.
        token: Of a user who may read the projects.
        projects: Their numbers.
        receiver: Takes listings.
        spool: Keeps what was swept when.
        metrics: Counts.
        every_seconds: Between two sweeps.
        all_hour_utc: The hour of the day, in UTC, after which all of a project is compared.
        grace_seconds: What changed since is left to the next sweep.
    """

    def __init__(
        self,
        url: str,
        token: str,
        projects: Sequence[int],
        receiver: Receiver,
        spool: Spool,
        metrics: IngestMetrics,
        every_seconds: float = 60.0,
        all_hour_utc: int = 2,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._projects = list(projects)
        self._receiver = receiver
        self._spool = spool
        self._metrics = metrics
        self._every_seconds = every_seconds
        self._all_hour_utc = all_hour_utc
        self._grace_us = int(grace_seconds * 1e6)

    async def run(self) -> None:
        """Sweeps until it is cancelled; what goes wrong is said, and tried again."""
        while True:
            await self.sweep_all()
            await asyncio.sleep(self._every_seconds)

    async def sweep_all(self) -> None:
        """One sweep of each project: of what changed, or of all where that is due or wanted."""
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Token {self._token}"}, timeout=aiohttp.ClientTimeout(_REQUEST_SECONDS)
        ) as session:
            any_wanted = await self._spool.run(lambda file: file.noted(f"sweep/{ANY_PROJECT}"))
            failed = False
            for project in self._projects:
                try:
                    await self._sweep(session, project, any_wanted is not None)
                except (SweepError, SpoolError) as error:
                    failed = True
                    self._metrics.sweep_failures.labels(project).inc()
                    self._receiver.say_now_and_then(f"sweep/{project}", f"project {project} was not swept: {error}")
            if any_wanted is not None and not failed:
                await self._spool.run(lambda file: file.forget_if(f"sweep/{ANY_PROJECT}", any_wanted))

    async def _sweep(self, session: aiohttp.ClientSession, project: int, is_wanted: bool) -> None:
        swept_us = _number(await self._spool.run(lambda file: file.noted(f"swept/{project}")))
        swept_all_us = _number(await self._spool.run(lambda file: file.noted(f"swept-all/{project}")))
        wanted = await self._spool.run(lambda file: file.noted(f"sweep/{project}"))
        now_us = int(time.time() * 1e6)
        is_due = (swept_all_us or 0) < _last_hour_us(now_us, self._all_hour_utc)
        is_all = swept_us is None or is_wanted or wanted is not None or is_due
        since_us = None if is_all else (swept_us or 0)
        # What was there before the first sweep, or came by an import, has no hook that could be lost.
        counts = swept_us is not None and wanted is None
        listing = _Listing(session, self._url, project, self._receiver.control)
        listed: set[int] = set()
        async for page in listing.pages(since_us):
            listed.update(task.task for _, task in page)
            until_us = self._until_us(listing)
            old = [replace(task, until_us=until_us) for updated_us, task in page if updated_us <= until_us]
            await self._take(old, counts)
        until_us = self._until_us(listing)
        if is_all:
            await self._take_deleted(listing, project, listed, until_us, counts)

        def note(file: Transaction) -> None:
            # A listing that changed while it was read may lack a task: then the next sweep begins where this one did.
            if listing.is_whole:
                file.note(f"swept/{project}", str(until_us - int(_OVERLAP_SECONDS * 1e6)).encode())
                if is_all:
                    file.note(f"swept-all/{project}", str(now_us).encode())
                    file.forget_if(f"sweep/{project}", wanted)

        await self._spool.run(note)
        self._metrics.last_sweep.labels(project, "all" if is_all else "changed").set(now_us / 1e6)

    def _until_us(self, listing: "_Listing") -> int:
        """The time from which on a hook may still be on its way."""
        return listing.server_us - self._grace_us

    async def _take_deleted(
        self, listing: "_Listing", project: int, listed: set[int], until_us: int, counts: bool
    ) -> None:
        """Tasks that are remembered and were not listed: asked for one by one, since pages move while they are read."""
        remembered = await self._spool.run(lambda file: file.tasks_of(project))
        for task, updated_us in remembered.items():
            if task not in listed and updated_us <= until_us and not await listing.has_task(task):
                await self._take([TaskDeleted(project, task)], counts)

    async def _take(self, facts: Sequence[TaskListed | TaskDeleted], counts: bool) -> None:
        events = await self._receiver.take(facts)
        kinds = Counter(kind for event in events if (kind := missing_kind(event)) is not None)
        if kinds and counts:
            found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            log.warning("project %d: a sweep found annotations without a webhook: %s", facts[0].project, found)
            for kind, count in kinds.items():
                self._metrics.missing.labels(kind).inc(count)


class _Listing:
    """The pages of `GET /api/tasks/` of one project."""

    def __init__(self, session: aiohttp.ClientSession, url: str, project: int, control: str | None) -> None:
        self._session = session
        self._url = url
        self._project = project
        self._control = control
        #: The tool's clock when the first page was asked for.
        self.server_us = int(time.time() * 1e6)
        self.is_whole = True

    async def pages(self, since_us: int | None) -> AsyncIterator[list[tuple[int, TaskListed]]]:
        """Tasks that changed after a time, or all, each with when it changed; a page at a time.

        Raises:
            SweepError: The tool does not answer as it should.
        """
        query: dict[str, object] = {"ordering": ["tasks:id"]}
        if since_us is not None:
            item = {
                "filter": "filter:tasks:updated_at",
                "operator": "greater",
                "type": "Datetime",
                "value": _iso(since_us),
            }
            query["filters"] = {"conjunction": "and", "items": [item]}
        totals: set[int] = set()
        page = 0
        while not totals or page * _PAGE_SIZE < max(totals):
            page += 1
            parameters = {
                "project": str(self._project),
                "page": str(page),
                "page_size": str(_PAGE_SIZE),
                "fields": "all",
                "query": json.dumps(query),
            }
            status, body = await self._get("/api/tasks/", parameters, first=page == 1)
            if status == 404 and page > 1:
                self.is_whole = False
                break
            self._check(status)
            try:
                tasks, total = label_studio.read_page(self._project, body, self._control)
            except Refused as refused:
                raise SweepError(f"page {page} of its tasks cannot be used: {refused}") from refused
            totals.add(total)
            self.is_whole &= len(totals) == 1
            yield tasks

    async def has_task(self, task: int) -> bool:
        """Whether a task is there, and of this project.

        Raises:
            SweepError: The tool does not answer as it should.
        """
        status, body = await self._get(f"/api/tasks/{task}/", {})
        if status == 404:
            return False
        self._check(status)
        try:
            # Its number may be of another project's task by now.
            return bool(json.loads(body)["project"] == self._project)
        except (ValueError, KeyError, TypeError) as error:
            raise SweepError(f"task {task} is no JSON object with its project") from error

    async def _get(self, path: str, parameters: dict[str, str], first: bool = False) -> tuple[int, bytes]:
        try:
            async with self._session.get(f"{self._url}{path}", params=parameters, allow_redirects=False) as answer:
                if first and (date := answer.headers.get("Date")):
                    self.server_us = int(parsedate_to_datetime(date).timestamp() * 1e6)
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SweepError(
                f"{self._url} does not answer ({str(error) or type(error).__name__}): check --label-studio-url"
            ) from error

    def _check(self, status: int) -> None:
        if status in (401, 403):
            raise SweepError(
                f"{self._url} does not take the token ({status}): check LABELWATCH_LABEL_STUDIO_TOKEN_FILE"
            )
        if status == 404:
            raise SweepError(f"{self._url} has no such project: check --label-studio-projects")
        if status != 200:
            raise SweepError(f"{self._url} answers {status}: its log says why")


def _iso(us: int) -> str:
    # With a fraction and Z; the tool answers 500 to anything else.
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06d}Z"


def _last_hour_us(now_us: int, hour: int) -> int:
    """When it last was this hour of the day, in UTC."""
    shift_us = hour * 3_600_000_000
    day_us = int(_ALL_SECONDS * 1e6)
    return (now_us - shift_us) // day_us * day_us + shift_us


def _number(noted: bytes | None) -> int | None:
    return None if noted is None else int(noted)

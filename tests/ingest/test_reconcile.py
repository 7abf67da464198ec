"""Hooks that got lost are found by comparing with the tool, each once; figures are its own export's."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio

from schemas.events import AnyEvent, LabelRevised, LabelSubmitted
from streams.ingest.metrics import IngestMetrics
from streams.ingest.receiver import ANY_PROJECT, Receiver
from streams.ingest.reconcile import Reconciler
from streams.ingest.roster import Roster
from streams.ingest.spool import Spool
from tests.ingest.bodies import body
from tests.ingest.label_studio import TOKEN, LabelStudio


class Compared:
    """A receiver beside a Label Studio, without Kafka."""

    def __init__(self, path: Path) -> None:
        self.tool = LabelStudio()
        self.spool = Spool(path / "ingest.sqlite", "ls")
        self.metrics = IngestMetrics()
        self.receiver = Receiver(self.spool, "ls", Roster({}, "ls", "unassigned"), None, self.metrics, lambda: None)

    async def start(self) -> None:
        self.sweeper = self.reconciler(await self.tool.start())

    async def sweep(self) -> None:
        """Once everything is so old that its hook has come or never will."""
        self.tool.pass_time(100)
        await self.sweeper.sweep_all()

    def reconciler(self, url: str, token: str = TOKEN) -> Reconciler:
        return Reconciler(url, token, [1], self.receiver, self.spool, self.metrics)

    def missing(self) -> dict[str, float]:
        kinds = ("created", "updated", "deleted")
        return {kind: self.metrics.missing.labels(kind)._value.get() for kind in kinds}

    async def figures(self) -> dict[str, tuple[int, int, int]]:
        """Labels, skips and milliseconds by agent after every event, each of which is there once."""
        rows = await self.spool.run(lambda file: file.waiting(1_000_000))
        events = [msgspec.json.decode(row.value, type=AnyEvent) for row in rows]
        assert max(Counter(event.event_id for event in events).values(), default=1) == 1
        found: dict[str, tuple[int, int, int]] = {}
        for event in events:
            assert isinstance(event, LabelSubmitted | LabelRevised)
            changes = [(event, 1)] if isinstance(event, LabelSubmitted) else [(event.old, -1), (event.new, 1)]
            for version, weight in changes:
                if version is not None:
                    labels, skips, ms = found.get(event.agent_id, (0, 0, 0))
                    skipped = bool(version.skipped)
                    found[event.agent_id] = (
                        labels + weight * (not skipped),
                        skips + weight * skipped,
                        ms + weight * (version.handle_ms or 0),
                    )
        return {agent: figures for agent, figures in found.items() if any(figures)}


@pytest_asyncio.fixture
async def compared(tmp_path: Path) -> AsyncIterator[Compared]:
    compared = Compared(tmp_path)
    await compared.start()
    yield compared
    await compared.tool.stop()
    compared.spool.close()


async def worked(compared: Compared) -> list[bytes]:
    """250 tasks, three people, and hooks of which some do not arrive; those are returned."""
    tool, lost = compared.tool, []
    for number in range(1, 251):
        tool.make_task(number)
    await compared.sweep()
    for number in range(1, 251):
        # Every tenth is a skip; the 28 of an outage get lost.
        hook = tool.create(number, number % 3 + 1, 4.5 + number, None if number % 10 == 0 else "ok")
        if 100 <= number < 128:
            lost.append(hook)
        else:
            await compared.receiver.hook(hook)
    for number in range(20, 40):
        hook = tool.update(number, 300.0 + number, "violating")
        if number < 26:
            lost.append(hook)
        else:
            await compared.receiver.hook(hook)
    for number in (50, 60, 70):
        hook = tool.delete(number)
        if number == 60:
            lost.append(hook)
        else:
            await compared.receiver.hook(hook)
    return lost


async def test_lost_hooks_are_found_once_and_figures_are_the_tools_own(compared: Compared) -> None:
    lost = await worked(compared)
    assert await compared.figures() != compared.tool.export()
    await compared.sweep()
    assert await compared.figures() == compared.tool.export()
    assert compared.missing() == {"created": 28, "updated": 6, "deleted": 1}
    # Of what changed alone, not of everything.
    assert "filters" in json.loads(compared.tool.requests[-1]["query"])
    count = len(await compared.spool.run(lambda file: file.waiting(10_000)))
    await compared.sweep()
    # And if the hooks come after all.
    for hook in lost:
        assert await compared.receiver.hook(hook) == 0
    assert len(await compared.spool.run(lambda file: file.waiting(10_000))) == count
    assert compared.missing() == {"created": 28, "updated": 6, "deleted": 1}


async def test_deleted_tasks_are_found_by_a_sweep_of_all(compared: Compared) -> None:
    await worked(compared)
    compared.tool.delete_task(7)
    compared.tool.delete_task(250)
    await compared.sweep()
    assert compared.missing()["deleted"] == 1
    await compared.spool.run(lambda file: file.forget("swept-all/1"))
    await compared.sweep()
    assert compared.missing()["deleted"] == 3
    assert await compared.figures() == compared.tool.export()


async def test_what_was_there_before_is_counted_and_not_as_lost(compared: Compared) -> None:
    for number in range(1, 6):
        compared.tool.make_task(number)
        compared.tool.create(number, 1, 2.0, "ok")
    await compared.sweep()
    assert await compared.figures() == compared.tool.export() == {"ls-1": (5, 0, 10_000)}
    assert compared.missing() == {"created": 0, "updated": 0, "deleted": 0}


async def test_an_import_with_annotations_is_looked_at_and_counts_as_no_loss(compared: Compared) -> None:
    await compared.sweep()
    compared.tool.make_task(32)
    compared.tool.create(32, 1, 2.0, "ok")
    await compared.receiver.hook(body("TASKS_CREATED_with_annotation"))
    await compared.sweep()
    assert await compared.figures() == compared.tool.export()
    assert compared.missing()["created"] == 0
    assert await compared.spool.run(lambda file: file.noted("sweep/1")) is None


async def test_what_a_refused_hook_said_is_found(compared: Compared) -> None:
    await compared.sweep()
    compared.tool.make_task(1)
    hook = compared.tool.create(1, 1, 2.0, "ok")
    try:
        await compared.receiver.hook(hook[:-50])
    except ValueError:
        refused = True
    assert refused
    await compared.sweep()
    assert await compared.figures() == compared.tool.export()
    assert compared.missing()["created"] == 1
    assert await compared.spool.run(lambda file: file.noted(f"sweep/{ANY_PROJECT}")) is None


async def test_a_tool_that_does_not_answer_is_asked_again_from_the_same_time(compared: Compared) -> None:
    await worked(compared)
    for compared.tool.status in (500, 403, 404):
        await compared.sweep()
    assert compared.missing()["created"] == 0
    await compared.reconciler("http://127.0.0.1:1").sweep_all()
    compared.tool.status = 200
    assert compared.metrics.sweep_failures.labels(1)._value.get() == 4
    await compared.sweep()
    assert await compared.figures() == compared.tool.export()


async def test_what_is_so_new_that_its_hook_may_still_come_is_left(compared: Compared) -> None:
    await compared.sweep()
    compared.tool.make_task(1)
    hook = compared.tool.create(1, 1, 2.0, "ok")
    compared.tool.pass_time(5)
    await compared.sweeper.sweep_all()
    assert await compared.receiver.hook(hook) == 1
    compared.tool.create(1, 2, 3.0, "ok")
    compared.tool.pass_time(5)
    await compared.sweeper.sweep_all()
    assert compared.missing()["created"] == 0
    await compared.sweep()
    assert compared.missing()["created"] == 1
    assert await compared.figures() == compared.tool.export()


async def test_a_hook_that_comes_while_a_listing_is_on_its_way_is_not_taken_for_deleted(compared: Compared) -> None:
    compared.tool.make_task(1)

    async def label() -> None:
        compared.tool.on_the_way = None
        assert await compared.receiver.hook(compared.tool.create(1, 1, 2.0, "ok")) == 1

    compared.tool.on_the_way = label
    await compared.sweep()
    assert await compared.figures() == compared.tool.export() == {"ls-1": (1, 0, 2000)}
    await compared.sweep()
    assert await compared.figures() == compared.tool.export()
    assert compared.missing() == {"created": 0, "updated": 0, "deleted": 0}

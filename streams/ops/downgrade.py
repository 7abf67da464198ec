"""`labelwatch downgrade`: a group's checkpoints in the format before, so that the build before goes on from there."""

import asyncio
from collections.abc import Iterator

from aiokafka.errors import KafkaError

from streams.engine.downgrade import OLDER, downgraded
from streams.engine.partition import FORMATS, Checkpoint, FormatError, PartitionEngine
from streams.ops.errors import CommandError
from streams.runtime.access import denied
from streams.runtime.broker import Findings, WorkerRefusal, examine
from streams.runtime.checkpoints import CheckpointStore, Fenced
from streams.runtime.settings import Settings


def downgrade(settings: Settings) -> Iterator[str]:
    """Rewrites each partition's checkpoint, in a transaction where the broker has them; a sentence for each.

    A worker that owns a partition is fenced. Running it again does no harm.

    Raises:
        CommandError: The broker or a checkpoint refuses; partitions that were said to be done are done.
    """
    try:
        findings = asyncio.run(examine(settings))
        if findings.problems:
            raise CommandError(findings.problems[0])
        for partition in range(findings.partitions):
            yield f"partition {partition}: {asyncio.run(_downgrade(settings, findings, partition))}"
    except (WorkerRefusal, FormatError) as error:
        raise CommandError(str(error)) from error
    except Fenced as error:
        raise CommandError(f"a worker took the partition meanwhile: stop all workers of {settings.group}") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise CommandError(denied(error, settings) or f"the broker failed ({error!r}): try again") from error


async def _downgrade(settings: Settings, findings: Findings, partition: int) -> str:
    store = CheckpointStore(
        settings,
        partition,
        partitions=findings.partitions,
        transactional=findings.transactional,
        topic_ids=findings.topic_ids,
    )
    try:
        await store.start()
        restored = await store.restore()
        if restored.manifest is None:
            return "no checkpoint yet"
        # Refuses what a newer build wrote, before anything of it is touched.
        applied = PartitionEngine.manifest_offset(restored.manifest)
        older = downgraded(restored.slots, restored.manifest)
        if older is None:
            return f"of format {OLDER} or older already"
        slots, manifest = older
        await store.write(Checkpoint(applied, slots, manifest))
    finally:
        await store.close()
    return f"written in format {OLDER}, for build {FORMATS[OLDER]}, at offset {applied + 1}"

"""Partitions that could not be opened or written: what is tried again, how soon, and what the log says."""

import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError

from schemas.topics import checkpoints_topic
from streams.runtime.broker import why_unwritten
from streams.runtime.checkpoints import CheckpointsHidden, DeadLettersRefused, transactional_id
from streams.runtime.settings import Settings, option_of

log = logging.getLogger(__name__)

#: Errors that come and go with brokers and networks; what failed by them is tried again.
TRANSIENT = (KafkaError, OSError, TimeoutError)
_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 15.0


def longer(delay_seconds: float) -> float:
    """How long to wait before the next attempt, given the delay before the one that failed; 0 for the first one."""
    return min(max(2 * delay_seconds, _FIRST_RETRY_SECONDS), _LAST_RETRY_SECONDS)


class PartitionFailures:
    """Counts failures in a row by partition, and logs their causes.

    Args:
        settings: The worker's settings.
        fail: Ends the worker, given an exit code and a sentence.
    """

    def __init__(self, settings: Settings, fail: Callable[[int, str], None]) -> None:
        self._settings = settings
        self._fail = fail
        #: By partition, how many checkpoints in a row were not written, and the delay before the next attempt.
        self._in_a_row: dict[int, tuple[int, float]] = {}

    def add(self, partition: int) -> float:
        """Counts a checkpoint that was not written; returns seconds until the next attempt, twice as long each time."""
        failures, delay = self._in_a_row.get(partition, (0, 0.0))
        self._in_a_row[partition] = failures + 1, longer(delay)
        return self._in_a_row[partition][1]

    def over(self, partition: int) -> None:
        """Notes that a checkpoint was written: failures are over."""
        failures, _ = self._in_a_row.pop(partition, (0, 0.0))
        if failures:
            log.info("partition=%d checkpoints are written again, after %d failures", partition, failures)

    def say_fenced(self, partition: int) -> None:
        """Logs that the partition was fenced; the second time in a row, that another program may use its id."""
        failures, _ = self._in_a_row[partition]
        what = "fenced: its state is dropped and restored if it is still ours"
        if failures == 1:
            log.warning("partition=%d %s", partition, what)
            return
        own = transactional_id(self._settings, partition)
        log.error(
            "partition=%d %s; %d times in a row: no checkpoint is written, since another program writes with "
            "the transactional id %s, or this worker stands still for long: end the other one, often a "
            "worker with the same --id that is not of this group; `kafka-transactions.sh --bootstrap-server "
            "%s describe --transactional-id %s` shows when it last began.",
            *(partition, what, failures, own, self._settings.bootstrap, own),
        )

    async def say_unrestored(self, partition: int, delay: float, error: BaseException) -> None:
        """Logs why a partition could not be opened."""
        what = f"partition {partition} of {checkpoints_topic(self._settings.id)}"
        if isinstance(error, CheckpointsHidden):
            log.warning("partition=%d not restored, tried again in %.1f s: %s", partition, delay, error)
            return
        if isinstance(error, TimeoutError):
            bound = self._settings.restore_seconds
            what = f"reading {what} took longer than {option_of('restore_seconds')} {bound:g}, which may be raised"
        why = await why_unwritten(error, what, self._settings)
        log.warning("partition=%d not restored, tried again in %.1f s: %s", partition, delay, why)

    async def say_unwritten(self, what: str, topic: str, delay: float, error: BaseException) -> None:
        """Logs why a checkpoint could not be written; if its topic is gone, the worker ends.

        Args:
            what: Which partition it is, and what follows for it.
            topic: The topic that could not be written.
            delay: Seconds until the next attempt.
            error: The error.
        """
        why = await why_unwritten(
            error.__cause__ if isinstance(error, DeadLettersRefused) else error, topic, self._settings
        )
        if topic == checkpoints_topic(self._settings.id) and "not exist" in why:
            # A topic created anew would only get what changes from now on, and that would count for the whole state.
            self._fail(1, f"{why} It was deleted while this worker ran; with a new one the group counts the log anew.")
            return
        log.error("%s, tried again in %.1f s: %s", what, delay, why)

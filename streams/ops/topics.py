"""`labelwatch topics`: creates missing topics and says which settings differ."""

import asyncio
import time
from collections.abc import Iterator

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from schemas.topics import topics
from streams.ops.errors import CommandError
from streams.runtime.access import why_not
from streams.runtime.broker import IN_SYNC, REPLICAS, Findings, WorkerRefusal, examine
from streams.runtime.settings import Settings

#: A broker that has not answered by then is not there; the library's own is 30 s.
_ANSWER_MS = 5_000
#: A busy broker shows a topic a moment after it has created it.
_SHOWN_SECONDS = 10.0


def create(settings: Settings, partitions: int) -> Iterator[str]:
    """Creates the topics that are missing.

    Args:
        settings: Where and as whom.
        partitions: Of each new topic; where the events topic exists already, its own number is taken.

    Yields:
        A line a topic.

    Raises:
        CommandError: No broker answers, or it refuses.
        SettingsError: A certificate or the password cannot be read.
    """
    admin = admin_of(settings)
    try:
        found = {each["name"]: len(each["partitions"]) for each in admin.describe_topics()}
        brokers = len(admin.describe_cluster()["brokers"])
        replicas = REPLICAS if brokers >= REPLICAS else 1
        wanted = topics(settings.id)
        count = found.get(wanted[0].name, partitions)
        for topic in wanted:
            if topic.name in found:
                yield f"{topic.name}: exists with {found[topic.name]} partitions"
                continue
            config = dict(topic.config)
            if replicas >= REPLICAS:
                config["min.insync.replicas"] = str(IN_SYNC)
            new = NewTopic(
                name=topic.name,
                num_partitions=count if topic.copartitioned else partitions,
                replication_factor=replicas,
                topic_configs=config,
            )
            try:
                admin.create_topics([new])
            except TopicAlreadyExistsError:
                yield f"{topic.name}: exists"
                continue
            yield f"{topic.name}: created with {new.num_partitions} partitions, {replicas} of {REPLICAS} replicas"
        _await_shown(admin, {topic.name for topic in wanted})
        if replicas < REPLICAS:
            yield f"{brokers} of {REPLICAS} brokers: topics have {replicas} replica, so a lost broker loses data"
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError) as error:
        raise CommandError(
            f"this user may not create topics at {settings.bootstrap}: the rules for it are in docs/security.md"
        ) from error
    except KafkaError as error:
        raise CommandError(f"the broker at {settings.bootstrap} refused: {error}") from error
    finally:
        admin.close()


def admin_of(settings: Settings) -> KafkaAdminClient:
    """A connection for creating and listing topics; the caller closes it.

    Raises:
        CommandError: No broker answers, or it does not let this user in.
        SettingsError: A certificate or the password cannot be read.
    """
    try:
        return KafkaAdminClient(
            bootstrap_servers=settings.bootstrap.split(","), bootstrap_timeout_ms=_ANSWER_MS, **settings.security()
        )
    except (KafkaError, OSError, ValueError) as error:
        raise CommandError(
            asyncio.run(why_not(settings))
            or f"no Kafka broker answers at {settings.bootstrap} ({error}); check the address and that the broker runs"
        ) from error


def _await_shown(admin: KafkaAdminClient, names: set[str]) -> None:
    """Waits until the broker shows new topics: a worker started at once would find them missing."""
    deadline = time.monotonic() + _SHOWN_SECONDS
    while not names <= set(admin.list_topics()) and time.monotonic() < deadline:
        time.sleep(0.05)


def check(settings: Settings) -> Findings:
    """What a worker would refuse, what it would warn about, and what the broker does not tell.

    Raises:
        CommandError: No broker answers.
        SettingsError: A certificate or the password cannot be read.
    """
    try:
        return asyncio.run(examine(settings))
    except WorkerRefusal as error:
        raise CommandError(str(error)) from error

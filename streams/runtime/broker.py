"""Checks the broker before anything is consumed: its topics, their settings, and whether it has transactions."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError as OtherKafkaError

from schemas.topics import DEAD_LETTER_HEADROOM_BYTES, EVENTS, REJECTED, checkpoints_topic, topics
from streams.runtime.access import denied, why_not
from streams.runtime.settings import Settings

#: A broker that has not answered after this time counts as absent.
ANSWER_SECONDS = 15.0
_REQUEST_SECONDS = 5.0
#: Topic settings without which the worker's promises do not hold; the others are the operator's choice.
_BINDING = ("cleanup.policy", "message.timestamp.type")
#: With at least `REPLICAS` brokers: copies of each partition, and how many of them must have a record.
REPLICAS, IN_SYNC = 3, 2
_CREATE = "create the topics with `labelwatch topics create`"


class WorkerRefusal(Exception):
    """The worker must not start or go on; the message is one sentence that says why and what to do."""


@dataclass(slots=True)
class Findings:
    """What a broker offers.

    Attributes:
        partitions: Number of partitions of the events topic.
        transactional: Whether checkpoints can be transactions; else they are written in the plain form.
        problems: Sentences, each a reason to refuse to start.
        warnings: Sentences for the log.
        not_shown: Settings that the broker does not show, each as `topic setting`; they were not checked.
        topic_ids: Ids of the events topic and of the group's checkpoint topic, by name, as far as the broker shows
            them. A topic that is deleted and created anew has another id.
    """

    partitions: int = 0
    transactional: bool = True
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)
    topic_ids: dict[str, str] = field(default_factory=dict)


async def examine(settings: Settings) -> Findings:
    """Asks the broker for everything that the worker relies on.

    Raises:
        WorkerRefusal: There is no broker, or it does not let this client in.
        SettingsError: A certificate or password file cannot be read.
    """
    security = settings.security()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            findings = await _examine_topics(settings, security)
            if not findings.problems:
                findings.topic_ids = await asyncio.to_thread(_topic_ids, settings, findings)
                findings.transactional = await _offers_transactions(settings, security)
    except (KafkaError, OSError, TimeoutError) as error:
        raise WorkerRefusal(
            denied(error, settings)
            or await why_not(settings)
            or f"No Kafka broker answers at {settings.bootstrap} ({settings.security_protocol}): {_text(error)}; "
            "check the address, that the broker runs, and the security settings."
        ) from error
    return findings


def recreated(settings: Settings, topic: str = EVENTS) -> str:
    """A sentence for a topic that was deleted and created anew since the group counted it, or wrote to it."""
    checkpoints = checkpoints_topic(settings.id)
    if topic == checkpoints:
        return (
            f"{checkpoints} was deleted and created under the group: what it has now is not the group's whole state; "
            "start a new group with --id and replay."
        )
    return (
        f"{EVENTS} is not the topic that {checkpoints} was written for, it was deleted and created since: "
        "the topic was recreated or cut; start a new group with --id and replay."
    )


class TopicIds:
    """Asks for the ids of the events topic and the group's checkpoint topic, by kafka-python since aiokafka cannot.

    Its methods block.

    Args:
        settings: The worker's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: KafkaAdminClient | None = None

    def ask(self) -> dict[str, str]:
        """Name to id, of the topics that exist and have an id.

        Raises:
            KafkaError: Of kafka-python, or an OSError or ValueError: the broker does not answer, or not this question.
        """
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._settings.bootstrap.split(","),
                bootstrap_timeout_ms=int(_REQUEST_SECONDS * 1000),
                **self._settings.security(),
            )
        found = self._admin.describe_topics([EVENTS, checkpoints_topic(self._settings.id)])
        return {
            each["name"]: str(each["topic_id"]) for each in found if not each["error_code"] and each.get("topic_id")
        }

    def close(self) -> None:
        """Ends the connection; `ask` makes a new one."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None


def _topic_ids(settings: Settings, findings: Findings) -> dict[str, str]:
    asking = TopicIds(settings)
    why = "it has none"
    try:
        found = asking.ask()
    except (OtherKafkaError, OSError, ValueError) as error:
        found, why = {}, _text(error)
    finally:
        asking.close()
    if EVENTS not in found:
        findings.warnings.append(
            f"{EVENTS} does not say its id ({why}), so that nobody would see if it were recreated."
        )
    return found


async def why_unwritten(error: BaseException | None, what: str, settings: Settings) -> str:
    """Why something could not be written to, or read from, the broker, and what to do: one sentence.

    Args:
        error: The error; None where it is not known.
        what: What was written or read: a topic's name, or a phrase with it.
        settings: The worker's settings.
    """
    error = error or KafkaError()
    if forbidden := denied(error, settings):
        return forbidden
    about = [topic.name for topic in topics(settings.id) if topic.name in what]
    too_large = isinstance(error, MessageSizeTooLargeError) and what in about
    # For a topic that is gone there is first a time-out, since clients wait for the topic to appear.
    if about and (too_large or isinstance(error, (TimeoutError, KafkaTimeoutError, UnknownTopicOrPartitionError))):
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                problems = (await _examine_topics(settings, settings.security())).problems
        except (KafkaError, OSError, TimeoutError):
            problems = []
        if named := [sentence for sentence in problems if any(topic in sentence for topic in about)]:
            return named[0]
    if too_large:
        return f"{what} takes no record of this size: raise its max.message.bytes."
    return f"{what}: {_text(error)}; `labelwatch doctor` says what is wrong with the brokers and the topics."


def _text(error: BaseException) -> str:
    """An error's message without the class name in front, or the class name where there is no message."""
    words = str(error).removeprefix(f"{type(error).__name__}: ").strip().rstrip(".")
    return words or type(error).__name__


async def _examine_topics(settings: Settings, security: Mapping[str, Any]) -> Findings:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap, request_timeout_ms=int(_REQUEST_SECONDS * 1000), **security
    )
    try:
        await admin.start()
        # All topics: asking for one by name would create it, on brokers with auto.create.topics.enable.
        found = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
        brokers = len((await admin.describe_cluster())["brokers"])
        wanted = topics(settings.id)
        config = await _topic_config(admin, [topic.name for topic in wanted if topic.name in found])
    finally:
        with contextlib.suppress(KafkaError, OSError):
            await admin.close()
    return _judge(settings, found, config, brokers)


async def _topic_config(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Each topic's settings as far as the broker shows them; none where it does not let us ask."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"]
            for entry in resource["config_entries"]
            if entry["config_value"] is not None
        }
        for answer in answers
        for resource in answer.to_object()["resources"]
    }


def _judge(
    settings: Settings, found: Mapping[str, list[Any]], config: Mapping[str, Mapping[str, str]], brokers: int
) -> Findings:
    findings = Findings(partitions=len(found.get(EVENTS, ())))
    missing = [topic.name for topic in topics(settings.id) if topic.name not in found]
    if missing:
        one = len(missing) == 1
        what = f"Topic {missing[0]} does" if one else f"Topics {', '.join(missing)} do"
        # A broker does not list what a user may not describe.
        or_hidden = (
            ""
            if settings.security_protocol == "PLAINTEXT"
            else f", or allow this user to describe {'it' if one else 'them'}"
        )
        findings.problems.append(f"{what} not exist at {settings.bootstrap}: {_CREATE}{or_hidden}.")
        return findings
    for topic in topics(settings.id):
        count = len(found[topic.name])
        if topic.copartitioned and count != findings.partitions:
            findings.problems.append(
                f"{topic.name} has {count} partitions and {EVENTS} has {findings.partitions}: they must be the same; "
                "after a change of the number of partitions, start a new group with --id and replay."
            )
        shown = config.get(topic.name, {})
        wanted = topic.config if brokers < REPLICAS else {**topic.config, "min.insync.replicas": str(IN_SYNC)}
        for name, value in wanted.items():
            is_now = shown.get(name)
            if is_now is None:
                findings.not_shown.append(f"{topic.name} {name}")
            elif is_now != value and name != "max.message.bytes":
                sentences = findings.problems if name in _BINDING else findings.warnings
                mend = _mend(settings, topic.name, name, value)
                sentences.append(f"{topic.name} has {name}={is_now} where {value} is expected: {mend}.")
        replicas = min((len(each["replicas"]) for each in found[topic.name]), default=0)
        if replicas < min(brokers, REPLICAS):
            findings.warnings.append(
                f"{topic.name} has {replicas} of {REPLICAS} replicas on {brokers} brokers, so that a lost broker loses "
                "data: give it more with kafka-reassign-partitions.sh."
            )
    findings.problems += _judge_sizes(settings, config)
    return findings


def _mend(settings: Settings, topic: str, name: str, value: str) -> str:
    """The command that sets a topic's setting."""
    return (
        f"run `kafka-configs.sh --bootstrap-server {settings.bootstrap} --alter --entity-type topics "
        f"--entity-name {topic} --add-config {name}={value}`"
    )


def _judge_sizes(settings: Settings, config: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Sentences for topics whose size limit is too small: dead letters and slots must always fit."""
    limits = {
        name: int(values["max.message.bytes"]) for name, values in config.items() if "max.message.bytes" in values
    }
    needed = {checkpoints_topic(settings.id): int(_declared_bytes(settings))}
    if EVENTS in limits:
        needed[REJECTED] = limits[EVENTS] + DEAD_LETTER_HEADROOM_BYTES
    return [
        f"{name} has max.message.bytes={limits[name]}, and at least {least} is needed: "
        f"{_mend(settings, name, 'max.message.bytes', str(least))}."
        for name, least in needed.items()
        if name in limits and limits[name] < least
    ]


def _declared_bytes(settings: Settings) -> str:
    name = checkpoints_topic(settings.id)
    return next(topic.config["max.message.bytes"] for topic in topics(settings.id) if topic.name == name)


async def _offers_transactions(settings: Settings, security: Mapping[str, Any]) -> bool:
    """Whether a transactional producer can start: brokers without transactions list the request, but then refuse it."""
    transactional_id = f"{settings.group}-probe"
    for _ in range(3):
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.bootstrap,
            transactional_id=transactional_id,
            request_timeout_ms=int(_REQUEST_SECONDS * 1000),
            **security,
        )
        try:
            await producer.start()
            return True
        except (IncompatibleBrokerVersion, UnsupportedVersionError):
            return False
        except TransactionalIdAuthorizationFailed as error:
            raise WorkerRefusal(
                f"The broker does not let this user write with transactional id {transactional_id}: "
                f"allow Write and Describe on transactional ids that begin with {settings.group}-."
            ) from error
        except UnknownError:
            # A broker without transactions always answers this; another one only now and then, so it is tried again.
            await asyncio.sleep(0.1)
        finally:
            await producer.stop()
    return False

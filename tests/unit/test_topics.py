"""`labelwatch topics check`: what differs is named with the command that mends it; what is not told is not judged."""

from typing import Any

import pytest

from schemas.topics import EVENTS, topics
from streams.runtime.broker import Findings, _judge
from streams.runtime.settings import Settings

SETTINGS = Settings.resolve(environ={}, bootstrap="kafka-1:9092")
CHECKPOINTS = "labelwatch-main-checkpoints"
DECLARED = {topic.name: dict(topic.config) for topic in topics()}


def judged(
    change: dict[str, dict[str, str]] | None = None, *, brokers: int = 1, replicas: int = 1, **partitions: int
) -> Findings:
    """The findings where every topic is as declared but for a change."""
    config = {name: {**declared, **(change or {}).get(name, {})} for name, declared in DECLARED.items()}
    found: dict[str, list[Any]] = {
        name: [{"replicas": list(range(replicas))}] * partitions.get(name.replace("-", "_"), 2) for name in config
    }
    return _judge(SETTINGS, found, config, brokers)


def test_topics_as_declared_are_fine() -> None:
    assert judged() == Findings(partitions=2)
    in_sync = {name: {"min.insync.replicas": "2"} for name in DECLARED}
    assert judged(in_sync, brokers=3, replicas=3) == Findings(partitions=2)


@pytest.mark.parametrize(
    ("topic", "setting", "value", "expected", "refused"),
    [
        (EVENTS, "cleanup.policy", "compact", "delete", True),
        (EVENTS, "message.timestamp.type", "CreateTime", "LogAppendTime", True),
        (EVENTS, "retention.ms", "60000", "3024000000", False),
        (CHECKPOINTS, "cleanup.policy", "delete", "compact", True),
    ],
)
def test_a_difference_is_named_with_the_command_that_mends_it(
    topic: str, setting: str, value: str, expected: str, refused: bool
) -> None:
    findings = judged({topic: {setting: value}})
    (sentence,) = findings.problems if refused else findings.warnings
    assert (findings.warnings if refused else findings.problems) == []
    assert sentence == (
        f"{topic} has {setting}={value} where {expected} is expected: run `kafka-configs.sh --bootstrap-server "
        f"kafka-1:9092 --alter --entity-type topics --entity-name {topic} --add-config {setting}={expected}`."
    )


def test_a_slot_that_may_not_fit_its_topic_is_refused_with_the_command() -> None:
    (sentence,) = judged({CHECKPOINTS: {"max.message.bytes": "1000"}}).problems
    assert "has max.message.bytes=1000, and at least 8388608 is needed" in sentence
    assert sentence.endswith(f"--entity-name {CHECKPOINTS} --add-config max.message.bytes=8388608`.")
    assert judged({CHECKPOINTS: {"max.message.bytes": "99999999"}}) == Findings(partitions=2)


def test_three_brokers_should_hold_three_copies_and_two_in_time() -> None:
    in_sync = {name: {"min.insync.replicas": "1"} for name in DECLARED}
    warnings = judged(in_sync, brokers=3, replicas=1).warnings
    assert len(warnings) == 2 * len(DECLARED)
    assert warnings[0].endswith(f"--entity-name {EVENTS} --add-config min.insync.replicas=2`.")
    assert warnings[1].startswith(f"{EVENTS} has 1 of 3 replicas on 3 brokers, so that a lost broker loses data: ")


def test_settings_that_the_broker_does_not_tell_are_listed_and_not_judged() -> None:
    found: dict[str, list[Any]] = {name: [{"replicas": [0]}] * 2 for name in DECLARED}
    findings = _judge(SETTINGS, found, {EVENTS: {"cleanup.policy": "delete"}}, 1)
    assert (findings.problems, findings.warnings) == ([], [])
    assert f"{EVENTS} retention.ms" in findings.not_shown
    assert f"{EVENTS} cleanup.policy" not in findings.not_shown
    assert len(findings.not_shown) == sum(map(len, DECLARED.values())) - 1

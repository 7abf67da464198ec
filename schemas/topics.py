"""Topics and their settings, declared once: `labelwatch topics` creates and checks them, the worker names them."""

from dataclasses import dataclass, field

EVENTS = "labeling.events.v1"
DRIFT = "labeling.drift.v1"
REJECTED = "labeling.rejected.v1"
#: Of `labelwatch bridge`: records of another topic that cannot be used.
BRIDGE_REJECTED = "labeling.bridge-rejected.v1"

_DAY_MS = 86_400_000
_MEBIBYTE = 1 << 20
#: The largest record that a producer may write to the events topic, Kafka's own default.
EVENT_BYTES_MAX = _MEBIBYTE + 12
#: Room for the dead letter's headers around the exact bytes.
DEAD_LETTER_HEADROOM_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be on the broker.

    Attributes:
        name: Topic name.
        config: Settings that are created and checked, by Kafka's names.
        copartitioned: Whether it must have the same number of partitions as the events topic.
    """

    name: str
    config: dict[str, str] = field(default_factory=dict)
    copartitioned: bool = False


def checkpoints_topic(worker_id: str) -> str:
    """The compacted topic of a group's durable state, for `--id worker_id`."""
    return f"labelwatch-{worker_id}-checkpoints"


def topics(worker_id: str = "main") -> tuple[Topic, ...]:
    """Every topic that labelwatch needs, the group's checkpoints included."""
    return (
        Topic(
            EVENTS,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(35 * _DAY_MS),
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(EVENT_BYTES_MAX),
            },
        ),
        Topic(DRIFT, {"cleanup.policy": "delete", "retention.ms": str(365 * _DAY_MS)}),
        Topic(
            REJECTED,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(35 * _DAY_MS),
                "max.message.bytes": str(EVENT_BYTES_MAX + DEAD_LETTER_HEADROOM_BYTES),
            },
        ),
        Topic(
            checkpoints_topic(worker_id),
            {
                "cleanup.policy": "compact",
                "max.message.bytes": str(8 * _MEBIBYTE),
                "segment.ms": str(_DAY_MS),
                "min.cleanable.dirty.ratio": "0.2",
            },
            copartitioned=True,
        ),
    )


def bridge_rejected_topic() -> Topic:
    """The dead letters of `labelwatch bridge`, which makes it: no worker needs it."""
    return Topic(
        BRIDGE_REJECTED,
        {"cleanup.policy": "delete", "retention.ms": str(35 * _DAY_MS), "max.message.bytes": str(8 * _MEBIBYTE)},
    )

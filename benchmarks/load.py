"""The events of the benchmarks: seeded, in the contract's own JSON, loaded into a topic as a producer would."""

import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer

AGENTS_PER_SITE = 100
#: Under murmur2, ten of these sites fall into each of two partitions.
SITES = tuple(f"site-{number}" for number in range(11, 31))
PROJECTS = ("counterfeit", "hate-speech", "medical-claims", "spam", "violence")
MARKETS = ("BR", "DE", "JP", "US")
REVIEW_SHARE = 0.3
CORRECT_SHARE = 0.95
#: What 20 sites of 100 agents make.
EVENTS_PER_SECOND = 333


def events(count: int, *, seed: int, end_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Labels (70%) and reviews of them (30%), 12 fields each, in the order of their time.

    Args:
        count: How many.
        seed: The same seed gives the same events.
        end_ms: Time of the last event, epoch milliseconds; the first is as far back as real sites would need.

    Yields:
        Site (the record's key) and event.
    """
    rng = random.Random(seed)
    start_ms = end_ms - count * 1000 // EVENTS_PER_SECOND
    to_review: dict[str, deque[dict[str, Any]]] = {site: deque(maxlen=1000) for site in SITES}
    for number in range(count):
        at = start_ms + number * 1000 // EVENTS_PER_SECOND
        site = SITES[int(rng.random() * len(SITES))]
        head = {"event_id": f"01K9{number:08d}{rng.getrandbits(56):014X}", "at": at, "site_id": site}
        waiting = to_review[site]
        if waiting and rng.random() < REVIEW_SHARE:
            label = waiting.popleft()
            correct = rng.random() < CORRECT_SHARE
            yield (
                site,
                {
                    "type": "label_reviewed",
                    **head,
                    "agent_id": label["agent_id"],
                    "project_id": label["project_id"],
                    "task_id": label["task_id"],
                    "reviewer_id": f"q-{int(rng.random() * 10)}",
                    "sampling": "random",
                    "correct": correct,
                    "labeled_at": label["at"],
                    "market": label["market"],
                },
            )
        else:
            project = PROJECTS[int(rng.random() * len(PROJECTS))]
            label = {
                "type": "label_submitted",
                **head,
                "agent_id": f"a-{int(rng.random() * AGENTS_PER_SITE)}",
                "project_id": project,
                "task_id": f"t-{number}",
                "label": "violating" if rng.random() < 0.2 else "ok",
                "handle_ms": int(rng.lognormvariate(10.3, 0.5)),
                "market": MARKETS[int(rng.random() * len(MARKETS))],
                "sop_version": "v3",
                "queue": f"{project}-main",
            }
            waiting.append(label)
            yield site, label


def load(bootstrap: str, topic: str, count: int, *, seed: int) -> None:
    """Writes events that end now, keyed by site, with the partitioner of the contract.

    Raises:
        RuntimeError: The broker refused a record.
    """
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
            "on_delivery": delivered,
        }
    )
    encode = msgspec.json.Encoder().encode
    for site, event in events(count, seed=seed, end_ms=time.time_ns() // 1_000_000):
        while True:
            try:
                producer.produce(topic, encode(event), site)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    if refused:
        raise RuntimeError(f"{len(refused)} of {count} records were refused, the first with: {refused[0]}")

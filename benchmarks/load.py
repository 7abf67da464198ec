"""The events of the benchmarks: seeded, in the contract's own JSON, loaded into a topic as a producer would."""

import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from schemas.events import STATES

#: Under murmur2, ten of these sites fall into each of two partitions.
SITES = tuple(f"site-{number}" for number in range(11, 31))
PROJECTS = ("counterfeit", "hate-speech", "medical-claims", "spam", "violence")
MARKETS = ("BR", "DE", "JP", "US")
ERROR_TYPES = ("brand_confusion", "missed_violation", "over_enforced", "wrong_policy")
REVIEW_SHARE = 0.3
CORRECT_SHARE = 0.95
#: A person changes state 15 times in a shift of 1,000 labels and reviews.
STATE_SHARE = 0.015
#: A producer that retries.
REPEAT_SHARE = 0.002
#: What 20 sites of 100 agents make.
EVENTS_PER_SECOND = 333


def events(count: int, *, seed: int, end_ms: int, people: int = 2_000) -> Iterator[tuple[str, dict[str, Any]]]:
    """Labels (70%) and reviews of them (30%), 12 fields each, in the order of their time; some changes of state.

    Args:
        count: How many, the few that come twice included.
        seed: The same seed gives the same events.
        end_ms: Time of the last event, epoch milliseconds; the first is as far back as real sites would need.
        people: Agents over all sites.

    Yields:
        Site (the record's key) and event; an event that comes twice is the same object again.
    """
    rng = random.Random(seed)
    rate = EVENTS_PER_SECOND * people / 2_000
    start_ms = end_ms - int(count * 1000 / rate)
    sites = SITES if people <= 10_000 else tuple(f"site-{number}" for number in range(11, 61))
    to_review: dict[str, deque[dict[str, Any]]] = {site: deque(maxlen=1000) for site in sites}
    event: dict[str, Any] = {}
    for number in range(count):
        if event and rng.random() < REPEAT_SHARE:
            yield event["site_id"], event
            continue
        at = start_ms + int(number * 1000 / rate)
        site = sites[int(rng.random() * len(sites))]
        head = {"event_id": f"01K9{number:08d}{rng.getrandbits(56):014X}", "at": at, "site_id": site}
        waiting = to_review[site]
        kind = rng.random()
        if kind < STATE_SHARE:
            state = STATES[int(rng.random() * len(STATES))]
            agent = f"a-{int(rng.random() * people / len(sites))}"
            event = {"type": "state_changed", **head, "agent_id": agent, "state": state}
        elif waiting and kind < STATE_SHARE + REVIEW_SHARE:
            label = waiting.popleft()
            correct = rng.random() < CORRECT_SHARE
            event = {
                "type": "label_reviewed",
                **head,
                "agent_id": label["agent_id"],
                "project_id": label["project_id"],
                "task_id": label["task_id"],
                "reviewer_id": f"q-{int(rng.random() * max(people / len(sites) / 10, 1))}",
                "sampling": "random",
                "correct": correct,
                **({} if correct else {"error_type": ERROR_TYPES[int(rng.random() * len(ERROR_TYPES))]}),
                "labeled_at": label["at"],
                "market": label["market"],
            }
        else:
            project = PROJECTS[int(rng.random() * len(PROJECTS))]
            event = {
                "type": "label_submitted",
                **head,
                "agent_id": f"a-{int(rng.random() * people / len(sites))}",
                "project_id": project,
                "task_id": f"t-{number}",
                "label": "violating" if rng.random() < 0.2 else "ok",
                "handle_ms": int(rng.lognormvariate(10.3, 0.5)),
                "market": MARKETS[int(rng.random() * len(MARKETS))],
                "sop_version": "v3",
                "queue": f"{project}-main",
            }
            waiting.append(event)
        yield site, event


def load(bootstrap: str, topic: str, count: int, *, seed: int, people: int = 2_000) -> int:
    """Writes events that end now, keyed by site, with the partitioner of the contract.

    Returns:
        How many different events they are.

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
    repeats, previous = 0, None
    for site, event in events(count, seed=seed, end_ms=time.time_ns() // 1_000_000, people=people):
        repeats += event is previous
        previous = event
        while True:
            try:
                producer.produce(topic, encode(event), site)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    if refused:
        raise RuntimeError(f"{len(refused)} of {count} records were refused, the first with: {refused[0]}")
    return count - repeats

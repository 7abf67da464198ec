"""Steady traffic of a few sites for tests of Prometheus: every durable counter rises, and no series is born late."""

import json
import random
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

from tests.faults.load import PRODUCERS, Written

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
SITES_OF_PARTITION = 2
PEOPLE = 8
PROJECTS = ("counterfeit", "spam")
MARKETS = ("US", "ID")
SOURCES = ("qa", "audit")
VERSIONS = ("v1", "v2", "v3")
ERRORS = ("brand_confusion", "wrong_policy")
SEVERITIES = ("minor", "major", "critical")
STATES = ("productive", "productive", "available", "break", "meeting", "training", "offline")
_CAP_MS = 1_800_000


class Steady:
    """What two partitions get: first one of everything, then a mixture whose rates never change.

    Ids are `<producer>-<sequence>`. Repeats, records that cannot be used, unknown types, revisions and events of last
    week are among it, each as a fixed share.

    Args:
        seed: The same seed gives the same decisions.
        partitions: Of the events topic.
        backlog: So many records lie in the past; those after them are of now.
        span_ms: How far back the past goes.
    """

    def __init__(self, seed: int, partitions: int, backlog: int, span_ms: int = 3 * HOUR_MS) -> None:
        self._rng = random.Random(seed)
        self._partitions = partitions
        self._backlog = backlog
        self._span_ms = span_ms
        self._start_ms = int(time.time() * 1000) - span_ms
        self._sequences = [0] * PRODUCERS
        self._count = 0
        self._reviews: list[dict[str, Any]] = []
        self._recent: list[Written] = []
        self.sites = {
            f"site-{partition}-{number}": partition
            for partition in range(partitions)
            for number in range(SITES_OF_PARTITION)
        }

    def __iter__(self) -> Iterator[Written]:
        for event in self._one_of_everything():
            yield self._written(event)
        while True:
            yield self._next()

    def _one_of_everything(self) -> Iterator[dict[str, Any]]:
        for site, state in product(self.sites, (*STATES, "productive")):
            yield self._base(site, "state_changed", "a-0") | {"state": state}
        for site in self.sites:
            late = self._base(site, "state_changed", "a-0") | {"state": "break"}
            yield late | {"at": late["at"] - HOUR_MS}
        for site, project, market, version in product(self.sites, PROJECTS, MARKETS, VERSIONS):
            yield self._label(site, project=project, market=market, version=version)
            yield self._label(site, project=project, market=market, version=version) | {"skipped": True}
        for site, project, market, role, source in product(self.sites, PROJECTS, MARKETS, ("agent", "qa"), SOURCES):
            yield self._review(site, True, project=project, market=market, role=role, source=source)
        for site, project, version in product(self.sites, PROJECTS, VERSIONS):
            yield self._review(site, True, project=project, version=version)
        for site, project, error, severity in product(self.sites, PROJECTS, ERRORS, SEVERITIES):
            # Looked for on purpose, so that no accuracy begins with nothing but errors.
            wrong = self._review(site, False, project=project) | {"sampling": "targeted"}
            yield wrong | {"error_type": error, "severity": severity}

    def _next(self) -> Written:
        rng, site = self._rng, self._rng.choice(tuple(self.sites))
        dice = rng.random()
        if dice < 0.03 and self._recent:
            return rng.choice(self._recent[-50:])
        if dice < 0.04:
            return self._written({"site_id": site}, broken=rng.choice((b"{", b"[]", b"\xff", b"", None)))
        if dice < 0.05:
            return self._written(self._base(site, "robot_labeled"))
        if dice < 0.07:
            label = self._label(site)
            return self._written(label | {"at": label["at"] - rng.choice((8 * DAY_MS, 20 * MINUTE_MS))})
        if dice < 0.10 and self._reviews:
            return self._written(self._revision(rng.choice(self._reviews[-200:])))
        if dice < 0.25:
            return self._written(self._base(site, "state_changed", self._person()) | {"state": rng.choice(STATES)})
        if dice < 0.55:
            return self._written(self._review(site, rng.random() < 0.985))
        return self._written(self._label(site) | ({"skipped": True} if rng.random() < 0.1 else {}))

    def _now_ms(self) -> int:
        if self._count >= self._backlog:
            return int(time.time() * 1000)
        return self._start_ms + self._span_ms * self._count // self._backlog

    def _person(self) -> str:
        return f"a-{self._rng.randrange(PEOPLE)}"

    def _base(self, site: str, kind: str, agent: str = "") -> dict[str, Any]:
        producer = self.sites[site] % PRODUCERS
        self._sequences[producer] += 1
        # A little out of order, so that some changes of state come late.
        at = self._now_ms() - int(self._rng.expovariate(1) * 2_000)
        event = {"type": kind, "event_id": f"{producer}-{self._sequences[producer]}", "at": at, "site_id": site}
        return event | ({"agent_id": agent} if agent else {})

    def _work(self, site: str, kind: str, project: str, market: str, version: str) -> dict[str, Any]:
        return self._base(site, kind, self._person()) | {
            "project_id": project or self._rng.choice(PROJECTS),
            "market": market or self._rng.choice(MARKETS),
            "sop_version": version or self._rng.choice(VERSIONS),
            "task_id": f"t-{self._rng.getrandbits(30)}",
        }

    def _label(self, site: str, project: str = "", market: str = "", version: str = "") -> dict[str, Any]:
        handle_ms = 2 * _CAP_MS if self._rng.random() < 0.05 else int(self._rng.lognormvariate(10.2, 0.8))
        return self._work(site, "label_submitted", project, market, version) | {"handle_ms": handle_ms}

    def _review(
        self,
        site: str,
        correct: bool,
        *,
        project: str = "",
        market: str = "",
        version: str = "",
        role: str = "agent",
        source: str = "",
    ) -> dict[str, Any]:
        event = self._work(site, "label_reviewed", project, market, version)
        event |= {"correct": correct, "reviewer_id": f"q-{self._rng.randrange(3)}", "sampling": "random"}
        event |= {"source": source or self._rng.choice(SOURCES), "review_ms": self._rng.randrange(1_000, 60_000)}
        event["labeled_at"] = event["at"] - self._rng.randrange(12 * HOUR_MS)
        if role == "qa":
            event |= {"role": "qa", "verdict": True}
        elif not correct:
            event |= {"error_type": self._rng.choice(ERRORS), "severity": self._rng.choice(SEVERITIES)}
        self._reviews.append(event)
        del self._reviews[:-400]
        return event

    def _revision(self, review: dict[str, Any]) -> dict[str, Any]:
        """A verdict looked at again, seldom another one; a review that stays moves no window but the correct ones'."""
        names = ("correct", "source", "sampling", "market", "sop_version")
        old = {name: review[name] for name in names}
        revision = self._base(review["site_id"], "review_revised", review["agent_id"])
        revision |= {name: review[name] for name in ("project_id", "task_id", "role") if name in review}
        revision |= {"review_id": review["event_id"], "reviewed_at": review["at"], "cause": "audit"}
        revision["at"] = max(revision["at"], review["at"])
        return revision | {"old": old, "new": old | {"correct": review["correct"] ^ (self._rng.random() < 0.05)}}

    def _written(self, event: dict[str, Any], broken: Any = ...) -> Written:
        self._count += 1
        partition = self.sites[event["site_id"]]
        value = json.dumps(event).encode() if broken is ... else broken
        written = Written(partition % PRODUCERS, partition, event["site_id"].encode(), value)
        if broken is ...:
            self._recent.append(written)
            del self._recent[:-100]
        return written

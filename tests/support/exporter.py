"""Fakes for the exporter: an engine with given figures, clocks that stand still, a reader of pages."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from streams.engine.figures import Figures, PeopleFigures
from streams.exporter import MonitorState
from streams.exporter.state import Engine

FOREVER = float("inf")


@dataclass
class FakeEngine:
    """An engine that says what it was given, and remembers when it was asked for."""

    site_figures: Figures = field(default_factory=Figures)
    people_figures: PeopleFigures = field(default_factory=PeopleFigures)
    clock_ms: int = 0
    asked_at_ms: list[int] = field(default_factory=list)

    def figures(self, at_ms: int) -> Figures:
        self.asked_at_ms.append(at_ms)
        return self.site_figures

    def people(self, at_ms: int) -> PeopleFigures:
        self.asked_at_ms.append(at_ms)
        return self.people_figures


class BrokenEngine(FakeEngine):
    """An engine with a defect."""

    def figures(self, at_ms: int) -> Figures:
        raise ZeroDivisionError("a defect")

    def people(self, at_ms: int) -> PeopleFigures:
        raise ZeroDivisionError("a defect")


@dataclass
class Clocks:
    """Clocks that move when a test says so."""

    seconds: float = 1_000.0
    wall_ms: int = 1_763_800_000_000

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return self.wall_ms


def showing(*engines: Engine, state: MonitorState | None = None) -> MonitorState:
    """A state in which partition 0, 1, ... are restored and caught up, and membership is proven for good."""
    # No loop turns here, and on a busy machine a test takes longer than one may stand still.
    state = state or MonitorState(loop_stall_seconds=3600)
    state.assign(range(len(engines)), len(engines))
    for partition, engine in enumerate(engines):
        state.restored(partition, engine)
        state.caught_up(partition)
    state.prove_membership(FOREVER)
    return state


def series(page: bytes | str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Sample name and labels to value, by prometheus_client's parser; refuses a page that Prometheus would refuse."""
    text = page if isinstance(page, str) else page.decode()
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    families: set[str] = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in families, f"{family.name} stands in two places"
        families.add(family.name)
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} stands there twice"
            assert sample.timestamp is None
            found[key] = sample.value
    return found


def values(page: bytes | str, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """Labels to value of one metric."""
    return {labels: value for (sample, labels), value in series(page).items() if sample == name}


def labelled(page: bytes | str, name: str, label: str) -> Iterator[str]:
    """Every value of one label of a metric."""
    return (dict(labels)[label] for labels in values(page, name))

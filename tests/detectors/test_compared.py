"""The comparison with river's detectors: what it measures is what it says, on a small scale."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from river.drift import KSWIN

from benchmarks import acceptance, acceptance_alarms, acceptance_detection, chart, detection, many
from detectors import MixtureShiryaevRoberts, RiverDetector, SelfStartingMixture


def test_kswin_without_its_idle_draws_is_rivers_draw_by_draw() -> None:
    signals = 0
    for seed, (rate, alpha) in enumerate([(0.06, 0.9), (0.11, 0.5), (0.5, 0.1)]):
        ours = detection.Kswin(alpha, seed, always=True)
        rivers: Any = KSWIN(alpha=alpha, seed=seed)  # river has no types
        for x in detection.outcomes((seed, 1), 1, 800, rate)[0].tolist():
            rivers.update(x)
            assert ours.update(x).drift_detected == rivers.drift_detected
            signals += rivers.drift_detected
    assert signals > 3


def test_kswin_signals_as_often_where_it_skips_draws() -> None:
    # Which draws are skipped changes the ones after them, so that only the frequency can be the same.
    def count(always: bool) -> np.ndarray:
        of_streams = []
        for number, stream in enumerate(detection.outcomes((7,), 40, 2000, 0.1)):
            detector = detection.Kswin(0.6, number, always)
            of_streams.append(sum(detector.update(x).drift_detected for x in stream.tolist()))
        return np.array(of_streams)

    skipping, always = count(False), count(True)
    assert always.sum() > 30
    difference = skipping - always
    assert abs(difference.mean()) <= 3 * difference.std() / len(difference) ** 0.5


@pytest.mark.parametrize("make", [lambda: MixtureShiryaevRoberts(0.06, 200), lambda: SelfStartingMixture(200)])
def test_rises_are_those_of_one_by_one(make: Callable[[], Any]) -> None:
    stream = detection.outcomes((1, 2), 1, 20_000, 0.06)[0].tolist()
    detector, found = make(), []
    for taken, x in enumerate(stream, 1):
        if detector.update(x).drift_detected:
            found.append(taken)
            detector.reset()
    assert len(found) > 20
    assert list(detection.rises(make(), stream)) == found


def test_falls_are_not_counted_and_rises_are() -> None:
    assert list(detection.rises(RiverDetector("ADWIN"), [1] * 500 + [0] * 500)) == []
    assert list(detection.rises(RiverDetector("ADWIN"), [0] * 500 + [1] * 500)) != []
    assert list(detection.rises(detection.Kswin(0.005, 1), [1] * 500 + [0] * 500)) == []
    assert len(list(detection.rises(detection.Kswin(0.005, 1), [0] * 500 + [1] * 500))) == 1


def test_every_contender_sees_the_same_streams_and_no_two_of_them_are_alike() -> None:
    few, more = detection.outcomes((1,), 2, 50, 0.5), detection.outcomes((1,), 3, 50, 0.5)
    assert (few == more[:2]).all()
    assert (more[0] != more[1]).any()
    assert (few != detection.outcomes((2,), 2, 50, 0.5)).any()


#: By contender: river's own, and a parameter with which it signals in a few thousand outcomes.
OF_RIVER: dict[str, tuple[Callable[[float], RiverDetector], float]] = {
    "PageHinkley": (lambda h: RiverDetector("PageHinkley", threshold=h, mode="up"), 8),
    "PageHinkley, delta .025": (lambda h: RiverDetector("PageHinkley", threshold=h, delta=0.025, mode="up"), 5),
    "HDDM_A": (lambda c: RiverDetector("HDDMA", drift_confidence=c), 0.1),
    "HDDM_W": (lambda c: RiverDetector("HDDMW", drift_confidence=c), 0.15),
    "DDM": (lambda k: RiverDetector("DDM", drift_threshold=k), 2.2),
    "EDDM": (lambda beta: RiverDetector("EDDM", beta=beta), 0.85),
}


@pytest.mark.parametrize("name", OF_RIVER)
def test_many_streams_at_once_signal_where_rivers_detector_does(name: str) -> None:
    make, value = OF_RIVER[name]
    streams = np.hstack([detection.outcomes((place,), 4, 1000, rate) for place, rate in enumerate((0.06, 0.16, 0.06))])
    fleet = detection.CONTENDERS[name].make(value, 4)
    assert isinstance(fleet, many.Many)
    found = np.array([fleet.update(step.astype(np.float64)) for step in streams.T]).T
    rivers = np.zeros_like(found)
    for row, stream in zip(rivers, streams, strict=True):
        row[[taken - 1 for taken in detection.rises(make(value), stream.tolist())]] = True
    assert rivers.sum() > 5
    assert (found == rivers).all()


@pytest.mark.parametrize("name", ["DDM", "ADWIN"])
def test_a_copy_of_a_fleet_goes_on_as_it_does_and_leaves_it_alone(name: str) -> None:
    usual = detection.CONTENDERS[name].usual
    assert usual is not None
    make = partial(detection.CONTENDERS[name].make, usual)
    before, after = detection.outcomes((1,), 3, 1000, 0.06), detection.outcomes((2,), 3, 1000, 0.4)
    fleet = make(3)
    assert (fleet.counted(before) == make(3).counted(before)).all()
    copies = fleet.repeated(2)
    first = copies.first(np.concatenate((after, before)))
    assert (first[:3] == fleet.first(after)).all()
    assert (first[:3] > 0).all()
    assert first[3:].tolist() != first[:3].tolist()


def test_the_delay_is_that_of_the_acceptance_list() -> None:
    limit = acceptance.PROMISED / acceptance.RATIO
    make = partial(detection.CONTENDERS["labelwatch, target"].make, limit)
    (found,) = detection.delays(make, 300, (0.11,))
    other = acceptance_alarms.delays(limit, 0.11, 1000, np.random.default_rng(4)).mean()
    assert found.mean == pytest.approx(other, abs=3 * found.error)
    assert found.missed == 0


def test_a_delay_beyond_the_horizon_counts_as_the_horizon() -> None:
    delay = detection.Delay.of(np.array([100, 0, 300, 0]))
    assert delay.mean == (100 + 300 + 2 * detection.HORIZON) / 4
    assert delay.missed == 0.5


def test_a_detector_that_signals_at_random_is_the_row_of_chance() -> None:
    waited = np.random.default_rng(1).geometric(1 / detection.RUN_LENGTH, 4000)
    seen = detection.Delay.of(np.where(waited <= detection.HORIZON, waited, 0))
    chance = detection.by_chance()
    assert seen.mean == pytest.approx(chance.mean, abs=4 * seen.error)
    assert seen.missed == pytest.approx(chance.missed, abs=0.03)


def test_the_search_ends_at_the_run_length_wanted() -> None:
    contender = detection.CONTENDERS["labelwatch, target"]
    value = detection.searched(contender, 16)
    # Its true run length is 1.24 times A.
    assert value == pytest.approx(detection.RUN_LENGTH / 1.24, rel=0.4)


def test_the_chart_has_a_mark_for_every_row_and_series_and_stays_within_its_frame() -> None:
    values = {"best": {"a": (90.0, 0.0), "b": (900.0, 0.0)}, "we": {"a": (94.0, 9.0), "b": (970.0, 880.0)}}
    made = ElementTree.fromstring(chart.dots(values, "a < b", ours=("we",)))
    marks = [each for each in made.iter() if each.get("transform")]
    assert len(marks) == 2 + 4
    assert sum(1 for each in marks if each.get("class") == "o") == 2
    width = float(made.get("width", ""))
    places = [float(each.get("transform", "")[10:].split()[0]) for each in marks]
    assert all(0 <= place <= width for place in places)
    # The scale is logarithmic: ten times as much is as far from anywhere.
    assert places[3] - places[2] == pytest.approx(places[5] - places[4], abs=15)


def test_the_document_holds_what_was_measured() -> None:
    document = (Path(__file__).parents[2] / "docs" / "detection.md").read_text("utf-8")
    compared = document.split("<!-- detectors: begin -->")[1].split("<!-- detectors: end -->")[0]
    for name in detection.CONTENDERS:
        assert name in compared
    accepted = document.split(acceptance_detection.BEGIN)[1].split(acceptance_detection.END)[0]
    assert all(f"\n| {point} |" in accepted for point in range(1, 9))

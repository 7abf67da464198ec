"""What every detector promises, whatever it looks for."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from detectors import (
    CategoricalMixture,
    Detector,
    LogNormalMeanShift,
    MixtureShiryaevRoberts,
    RiverDetector,
    SelfStartingFall,
    SelfStartingMixture,
    StratifiedMixture,
)

MAKERS: dict[str, Callable[[], Any]] = {
    "mixture": lambda: MixtureShiryaevRoberts(0.06, 500),
    "mixture, head start": lambda: MixtureShiryaevRoberts(0.06, 500, head_start=True),
    "mixture, tempered": lambda: MixtureShiryaevRoberts(0.06, 500, temper=0.7),
    "mixture, other shifts": lambda: MixtureShiryaevRoberts(0.06, 500, shifts=(0.03, 0.06, 0.12)),
    "self-starting": lambda: SelfStartingMixture(500),
    "self-starting, tempered": lambda: SelfStartingMixture(500, temper=0.7),
    "river ADWIN": lambda: RiverDetector("ADWIN"),
    "river PageHinkley": lambda: RiverDetector("PageHinkley"),
    "river HDDMA": lambda: RiverDetector("HDDMA"),
    "river HDDMW": lambda: RiverDetector("HDDMW"),
    "river DDM": lambda: RiverDetector("DDM"),
    "river EDDM": lambda: RiverDetector("EDDM"),
    "river KSWIN": lambda: RiverDetector("KSWIN", seed=1),
}


MAKERS["fall"] = lambda: SelfStartingFall(500)
MAKERS["fall, tempered"] = lambda: SelfStartingFall(500, temper=0.7)
FALLS = ("fall", "fall, tempered")
GROUPED = ("handling time", "label mix")
MAKERS["stratified"] = lambda: StratifiedMixture(500)
MAKERS["stratified, tempered"] = lambda: StratifiedMixture(500, temper=0.7)
MAKERS["handling time"] = lambda: LogNormalMeanShift(500)
MAKERS["label mix"] = lambda: CategoricalMixture(500)


@pytest.fixture(params=MAKERS, ids=str)
def make(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return MAKERS[request.param]


#: Those whose size is ours to answer for: river's windows grow.
OURS = tuple(name for name in MAKERS if not name.startswith("river"))


def outcomes(seed: int, n: int, rate: float) -> list[int]:
    rng = random.Random(seed)
    return [int(rng.random() < rate) for _ in range(n)]


STREAM = outcomes(1, 2000, 0.06) + outcomes(2, 1200, 0.20)


def changes_at(detector: Detector) -> int:
    return 800 if isinstance(detector, RiverDetector) and detector.name == "KSWIN" else 2000


def stream_for(detector: Detector) -> Sequence[float]:
    """Observations of the detector's kind with a large change on the way."""
    if isinstance(detector, LogNormalMeanShift):
        rng = random.Random(1)
        return [rng.lognormvariate(3.0 if place < 2000 else 3.5, 0.5) for place in range(3200)]
    if isinstance(detector, RiverDetector) and detector.name in ("HDDMW", "KSWIN"):
        # As they come they see nothing smaller; KSWIN asks for a test after each outcome, which takes its time.
        return outcomes(1, changes_at(detector), 0.06) + outcomes(2, 100, 0.70)
    if isinstance(detector, SelfStartingFall):
        return outcomes(1, 2000, 0.20) + outcomes(2, 1200, 0.02)
    return STREAM


def signals(detector: Detector, stream: Sequence[float]) -> list[int]:
    return [place for place, x in enumerate(stream) if detector.update(x).drift_detected]


def test_it_is_a_detector(make: Callable[[], Any]) -> None:
    assert isinstance(make(), Detector)


def test_a_large_change_is_found_and_evidence_says_so(make: Callable[[], Any]) -> None:
    detector = make()
    assert any(place >= changes_at(detector) for place in signals(detector, stream_for(detector)))


def test_the_same_stream_gives_the_same_signals(make: Callable[[], Any]) -> None:
    stream = stream_for(make())
    assert signals(make(), stream) == signals(make(), stream)


@pytest.mark.parametrize("cut", [0, 1, 777, 2100, 3000])
def test_a_packed_copy_continues_identically(make: Callable[[], Any], cut: int) -> None:
    whole, half = make(), make()
    stream = stream_for(whole)
    for x in stream[:cut]:
        whole.update(x)
        half.update(x)
    copy = type(half).from_bytes(half.to_bytes())
    for x in stream[cut:]:
        assert whole.update(x).drift_detected == copy.update(x).drift_detected
        assert whole.evidence == copy.evidence
    assert whole.estimate() == copy.estimate()


def test_evidence_is_1_exactly_when_a_drift_is_detected(make: Callable[[], Any]) -> None:
    detector = make()
    for x in stream_for(detector):
        detector.update(x)
        assert detector.evidence >= 0
        assert (detector.evidence >= 1) == detector.drift_detected


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_rejected(make: Callable[[], Any], wrong: float) -> None:
    with pytest.raises(ValueError, match=r"must be|is 0"):
        make().update(wrong)


@pytest.mark.parametrize("name", ["mixture", "self-starting"])
def test_an_outcome_is_0_or_1(name: str) -> None:
    with pytest.raises(ValueError, match="an outcome is 0"):
        MAKERS[name]().update(0.5)


@pytest.mark.parametrize(
    "name", ["mixture", "mixture, tempered", "self-starting", "self-starting, tempered", *FALLS, *GROUPED]
)
def test_many_at_once_is_one_by_one_bit_for_bit(name: str) -> None:
    one, many = MAKERS[name](), MAKERS[name]()
    rest = stream_for(one)
    while rest:
        taken = many.update_many(rest)
        for x in rest[:taken]:
            one.update(x)
        assert one.to_bytes() == many.to_bytes()
        rest = rest[taken:]


@pytest.mark.parametrize("name", ["mixture", "self-starting", "fall"])
@pytest.mark.parametrize("rate", [0.005, 0.008, 0.01, 0.012, 0.02, 0.06, 0.15, 0.5])
def test_the_state_stays_below_200_bytes(name: str, rate: float) -> None:
    detector = MAKERS[name]()
    detector.run_length = 1e12
    for seed in range(40):
        detector.update_many(outcomes(seed, 500, rate))
        assert len(detector.to_bytes()) < 200


@pytest.mark.parametrize("name", OURS)
def test_the_state_does_not_grow(name: str) -> None:
    detector = MAKERS[name]()
    detector.run_length = 1e12
    sizes = []
    for _ in range(12):
        detector.update_many(stream_for(detector))
        sizes.append(len(detector.to_bytes()))
    # A gap takes a byte or two, by its length; what is remembered is full after the first third.
    assert max(sizes[4:]) <= max(sizes[:4]) + 20


@pytest.mark.parametrize("name", ["river ADWIN", "river HDDMA", "river EDDM", "river KSWIN"])
def test_rivers_take_many_at_once_as_one_by_one(name: str) -> None:
    one, many = MAKERS[name](), MAKERS[name]()
    rest = stream_for(one)
    found = 0
    while rest:
        taken = many.update_many(rest)
        for x in rest[:taken]:
            one.update(x)
        assert one.drift_detected == many.drift_detected
        assert one.estimate() == many.estimate()
        found += many.drift_detected
        rest = rest[taken:]
    assert found


OF_RIVERS_DOCUMENTS = {
    "ADWIN": ({}, 1023),
    "PageHinkley": ({}, 1006),
    "KSWIN": ({"alpha": 0.0001, "seed": 42}, 1016),
    "DDM": ({}, 1334),
    "EDDM": ({"alpha": 0.8, "beta": 0.75}, 1278),
    "HDDMA": ({}, 1206),
    "HDDMW": ({}, 1077),
}


@pytest.mark.parametrize("name", OF_RIVERS_DOCUMENTS)
def test_rivers_detectors_signal_where_river_says_on_its_seeded_streams(name: str) -> None:
    params, place = OF_RIVERS_DOCUMENTS[name]
    if name in ("ADWIN", "PageHinkley", "KSWIN"):
        rng = random.Random(12345)
        stream = rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)
    else:
        rng = random.Random(42)
        stream = rng.choices([0, 1], k=1000) + rng.choices([0, 1], k=1000, weights=[0.3, 0.7])
    detector = RiverDetector(name, **params)
    assert next(at for at, x in enumerate(stream) if detector.update(x).drift_detected) == place


def test_ours_find_the_change_of_rivers_seeded_stream_and_nothing_before_it() -> None:
    # As river's streams of outcomes, with rates that a site may have.
    rng = random.Random(42)
    stream = rng.choices([0, 1], k=1000, weights=[0.9, 0.1]) + rng.choices([0, 1], k=1000, weights=[0.7, 0.3])
    fall = rng.choices([0, 1], k=1000, weights=[0.7, 0.3]) + rng.choices([0, 1], k=1000, weights=[0.9, 0.1])
    found = {
        "mixture": MixtureShiryaevRoberts(0.1, 20_000).update_many(stream),
        "self-starting": SelfStartingMixture(20_000).update_many(stream),
        "fall": SelfStartingFall(20_000).update_many(fall),
    }
    assert found == {"mixture": 1049, "self-starting": 1052, "fall": 1053}


@pytest.mark.parametrize("name", ["ADWIN", "KSWIN"])
@pytest.mark.parametrize(("before", "since"), [(0.1, 0.9), (0.9, 0.1)])
def test_a_river_detector_with_a_window_tells_a_rise_from_a_fall(name: str, before: float, since: float) -> None:
    detector = RiverDetector(name, **({"seed": 1} if name == "KSWIN" else {}))
    # From zeros or ones to the other way round, so that nothing is found before the change.
    stream = [before > 0.5] * 500 + [since > 0.5] * 500
    assert any(detector.update(int(x)).drift_detected for x in stream)
    estimate = detector.estimate()
    assert (estimate.new_rate > estimate.old_rate) == (since > before)
    assert 0 < estimate.began_ago < 1000


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MixtureShiryaevRoberts(0, 10), "p0"),
        (lambda: MixtureShiryaevRoberts(0.1, float("nan")), "run_length"),
        (lambda: MixtureShiryaevRoberts(0.1, 10, shifts=(0.1,)), "shifts"),
        (lambda: SelfStartingMixture(10, prior=(0, 1)), "prior"),
        (lambda: SelfStartingMixture(10, temper=2), "temper"),
        (lambda: LogNormalMeanShift(10, group=1), "group"),
        (lambda: CategoricalMixture(0), "run_length"),
        (lambda: RiverDetector("NoSuch"), "NoSuch"),
    ],
)
def test_a_parameter_out_of_range_is_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()

"""River's detectors as a worker has them: state without pickle, names in the policy, and what an import takes."""

import inspect
import pickle
import random
import subprocess
import sys

import msgspec
import pytest
from river import drift

from detectors import RiverDetector, river_adapter
from detectors.river_adapter import OtherRiverError
from schemas.policy import Policy, PolicyError
from schemas.river import DETECTORS, RiverChoice


def outcomes(seed: int, n: int, rate: float) -> list[int]:
    rng = random.Random(seed)
    return [int(rng.random() < rate) for _ in range(n)]


def made(name: str, taken: int = 700) -> RiverDetector:
    detector = RiverDetector(name, **DETECTORS[name]().params)
    # KSWIN takes a millisecond each.
    for x in outcomes(3, min(taken, 150) if name == "KSWIN" else taken, 0.3):
        detector.update(x)
    return detector


@pytest.mark.parametrize("name", DETECTORS)
def test_a_state_is_the_same_bytes_again_and_no_pickle(name: str) -> None:
    packed = made(name).to_bytes()
    assert RiverDetector.from_bytes(packed).to_bytes() == packed == made(name).to_bytes()
    with pytest.raises((pickle.UnpicklingError, EOFError, KeyError, ValueError, IndexError)):
        pickle.loads(packed)
    # Nothing in it says what to import or to call.
    assert not [word for word in (b"river.", b"builtins", b"__") if word in packed]


@pytest.mark.parametrize("name", DETECTORS)
def test_the_state_of_another_river_or_a_damaged_one_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = made(name).to_bytes()
    parts = msgspec.msgpack.decode(packed)
    parts[5] = parts[5][:-1] + bytes([parts[5][-1] ^ 1])
    with pytest.raises(ValueError, match="is damaged"):
        RiverDetector.from_bytes(msgspec.msgpack.encode(parts))
    for wrong in (b"", b"\x93abc", packed[:40]):
        with pytest.raises(ValueError, match="no state of a detector of river"):
            RiverDetector.from_bytes(wrong)
    monkeypatch.setattr(river_adapter, "river_version", lambda: "0.99.0")
    with pytest.raises(OtherRiverError, match=r"is river 0\.26\.\d+'s, and this is 0\.99\.0"):
        RiverDetector.from_bytes(packed)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_policy_knows_rivers_parameters_and_defaults(name: str) -> None:
    found = getattr(drift, name, None) or getattr(drift.binary, name)
    parameters = inspect.signature(found).parameters
    of_river = {key: each.default for key, each in parameters.items() if key != "window"}
    assert DETECTORS[name]().params == of_river | ({"seed": 1} if name == "KSWIN" else {})


def test_every_detector_of_river_is_named_or_left_out_for_a_reason() -> None:
    there_are = {
        name
        for module in (drift, drift.binary)
        for name, each in vars(module).items()
        if inspect.isclass(each) and hasattr(each, "update")
    }
    assert there_are - DETECTORS.keys() == {"FHDDM", "NoDrift", "DummyDriftDetector"}


def test_fhddm_finds_falls_alone_which_is_why_it_is_left_out() -> None:
    def found(stream: list[int]) -> bool:
        detector = RiverDetector("FHDDM")
        return any(detector.update(x).drift_detected for x in stream)

    assert found([1] * 500 + [0] * 500)
    assert not found([0] * 500 + [1] * 500)


def test_adwin_alone_does_not_import_the_rest_of_river() -> None:
    code = (
        "import sys; from detectors import RiverDetector as R; assert 'river' not in sys.modules;"
        "d = R('ADWIN'); [d.update(x) for x in (0, 1)];"
        "assert not {'scipy.stats', 'river.drift', 'river.stats'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_partitions_that_are_restored_at_once_load_river_once() -> None:
    """Each in a thread of its own, in a new process: none may see a module that another has only begun to load."""
    code = (
        "import sys, threading; from concurrent.futures import ThreadPoolExecutor; "
        "from detectors import RiverDetector; "
        "sys.setswitchinterval(1e-6); together = threading.Barrier(8); "
        "of_one = lambda _: (together.wait(), RiverDetector('ADWIN'))[1]._river.__class__; "
        "assert len(set(ThreadPoolExecutor(8).map(of_one, range(8)))) == 1"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


# --- in the policy


def river(text: str) -> dict[str, RiverChoice]:
    return Policy.parse(f"[detection.river]\n{text}").detection.river.chosen()


def test_a_name_or_a_table_names_a_detector() -> None:
    assert river("") == {}
    assert river('accuracy = "ADWIN"') == {"accuracy": DETECTORS["ADWIN"]()}
    given = river('qa_accuracy = {name = "PageHinkley", threshold = 20, of = ["people"]}')["qa_accuracy"]
    assert (given.name, given.params["threshold"], given.params["delta"], given.of) == (
        "PageHinkley",
        20,
        0.005,
        ["people"],
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'accuracy = "ADWINN"',
            "detection.river.accuracy = 'ADWINN': name a detector of river, as in 'ADWIN' or { name = 'ADWIN', delta = "
            "0.01 }; use ADWIN, PageHinkley, HDDMA, HDDMW, DDM, EDDM or KSWIN",
        ),
        ("accuracy = 3", "detection.river.accuracy = 3: name a detector of river"),
        ("accuracy = {delta = 0.1}", "detection.river.accuracy: name a detector of river"),
        (
            'accuracy = {name = "PageHinkley", treshold = 20}',
            "unknown key detection.river.accuracy.treshold; did you mean threshold? allowed here: "
            "min_instances, delta, threshold, alpha, mode, of",
        ),
        ('accuracy = {name = "ADWIN", delta = 2}', "detection.river.accuracy.delta = 2: not allowed; give a number"),
        ('accuracy = {name = "PageHinkley", mode = "sideways"}', "give one of 'up', 'down' or 'both'"),
        ('accuracy = {name = "EDDM", beta = 0.97}', "detection.river.accuracy: alpha must be at least beta"),
        ('accuracy = {name = "KSWIN", window_size = 40}', "window_size must be at least twice stat_size"),
        ('handle_time = "ADWIN"', "allowed here: accuracy, agent_accuracy, qa_accuracy, error_finding"),
        (
            'accuracy = {name = "ADWIN", of = ["people"]}',
            "detection.river.accuracy.of = 'people': accuracy is of sites and projects alone",
        ),
        ('accuracy = {name = "ADWIN", of = ["towns"]}', "each one of 'sites', 'projects' or 'people'"),
    ],
)
def test_what_there_is_not_stops_with_the_list_of_what_there_is(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        river(text)
    assert str(error.value).startswith("policy.toml: ")
    assert says in str(error.value)


def test_river_runs_beside_ours_alone() -> None:
    with pytest.raises(PolicyError, match=r"accuracy is not among detection\.signals; river runs beside ours"):
        Policy.parse('[detection]\nsignals = ["qa_accuracy"]\n[detection.river]\naccuracy = "ADWIN"')

"""A drift's sentences say what its record says, whatever the record says: in both languages, figure by figure."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.drift import DIMENSIONS, SIGNALS, Cause, DriftRecord
from schemas.drift import DriftLevel as Level
from schemas.sentences import chinese, english
from tests.unit.sentences import disagreements

T0 = 1_764_000_000_000
HOUR_MS = 3_600_000


def said(timezone: str = "Asia/Manila", **fields: Any) -> DriftRecord:
    given: dict[str, Any] = {
        "status": "opened", "drift_id": "d-1", "at": T0, "site_id": "manila-1", "signal": "accuracy",
        "direction": "down", "budget": "page", "opened_at": T0, "began_at": T0 - HOUR_MS,
        "began_at_low": T0 - 2 * HOUR_MS, "began_at_high": T0, "before": Level(0.96, 4000), "estimate": 0.9,
        "since": Level(0.876, 186, 0.821, 0.916), "evidence": 1.1, "run_length": 3_386_000.0, "verdict": "rate",
    }  # fmt: skip  # a record in one glance
    record = DriftRecord(**(given | fields))
    return msgspec.structs.replace(record, text=english(record, timezone), text_zh=chinese(record, timezone))


def causes(*parts: float) -> tuple[Cause, ...]:
    return tuple(Cause("label", f"l{n}", "rate", points) for n, points in enumerate(parts))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"causes": causes(-0.0812)}, "accuracy fell from 96.0% to 87.6% (95% interval 82.1% to 91.6%) over 186"),
        ({"causes": causes(-0.0812)}, "Largest causes of the -8.4 points: label l0 (changed in itself, -8.1 points)."),
        ({"causes": causes(-0.02, -0.05)}, "l1 (changed in itself, -5.0 points); label l0 (changed in itself, -2.0"),
        ({"causes": causes(-0.12)}, "-12.0 points). Other parts went the other way, so that one part can be more"),
        # What averages do not show has not fallen.
        ({"before": Level(0.818, 50), "since": Level(0.827, 60)}, "a fall of accuracy was found that averages do not"),
        ({"signal": "accuracy_target", "target": 0.95, "before": Level(0.95, 0)}, "below its target of 95.0%: 87.6%"),
        ({"signal": "accuracy_target", "target": 0.95, "status": "cleared", "cleared_at": T0}, "back at its target of"),
        ({"signal": "label_mix", "label": "violating", "before": Level(0.4, 900), "since": Level(0.3, 256)},
         "share of label violating fell from 40.0% to 30.0%"),
        ({"since": Level(0.9599, 9000)}, "from 96.00% to 95.99%"),
        ({"before": Level(0.9996, 9000), "since": Level(0.96, 900)}, "from 99.96% to"),
        ({"signal": "handle_time", "before": Level(32.92, 900), "since": Level(32.88, 64)}, "from 32.92 s to 32.88 s"),
        ({"verdict": "unknown", "before": Level(0.96, 12)}, "Too little is known from before"),
    ],
)  # fmt: skip  # a case in one glance
def test_what_is_said(fields: dict[str, Any], text: str) -> None:
    record = said(**fields)
    assert text in record.text
    assert not disagreements(record, "Asia/Manila")


def test_parts_of_handling_time_are_seconds_that_add_up() -> None:
    # Two parts of the logarithm that are all of it: 0.1 + 0.2 of ln(40.5/30).
    record = said(
        signal="handle_time", direction="up", before=Level(30.0, 900), since=Level(40.4957, 640),
        causes=(Cause("agent", "a-1", "rate", 0.2), Cause("agent", "a-2", "rate", 0.1)),
    )  # fmt: skip
    assert (
        "Largest causes of the +10.5 s: agent a-1 (changed in itself, +7.0 s); agent a-2 (changed in itself, +3.5 s)."
        in (record.text)
    )
    assert not disagreements(record, "Asia/Manila")


ratios = st.integers(0, 10**6).map(lambda millionths: millionths / 10**6)
names = st.sampled_from(("a-1", "spam", "easy, or not; 95%", "US", "标签", "v3.1", "other"))
points = st.floats(-0.5, 0.5).filter(lambda value: abs(value) > 1e-3)


@st.composite
def records(draw: st.DrawFn) -> DriftRecord:
    signal = draw(st.sampled_from(SIGNALS))
    seconds = signal == "handle_time"
    values = st.floats(0.5, 900) if seconds else ratios
    low, began, high = sorted(draw(st.lists(st.integers(T0, T0 + 10**9), min_size=3, max_size=3)))
    opened = draw(st.integers(began, began + 10**9))
    cleared = draw(st.none() | st.integers(opened, opened + 10**9))
    since = draw(values)
    of_reviews = signal not in ("handle_time", "label_mix")
    bounds = sorted((draw(ratios), draw(ratios))) if of_reviews else (None, None)
    return said(
        "Asia/Kolkata",
        status="opened" if cleared is None else "cleared",
        at=opened if cleared is None else cleared,
        signal=signal,
        direction="down" if "accuracy" in signal else draw(st.sampled_from(("down", "up"))),
        label=draw(names) if signal == "label_mix" else "",
        opened_at=opened,
        cleared_at=cleared,
        began_at=began,
        began_at_low=low,
        began_at_high=high,
        target=draw(st.floats(0.5, 0.999)) if signal == "accuracy_target" else None,
        before=Level(draw(values), draw(st.integers(0, 10**6))),
        since=Level(since, draw(st.integers(1, 10**6)), *bounds),
        verdict=draw(st.sampled_from(("rate", "mix", "spread", "unknown"))),
        causes=tuple(
            draw(
                st.lists(
                    st.builds(Cause, st.sampled_from(DIMENSIONS), names, st.sampled_from(("rate", "mix")), points),
                    max_size=5,
                )
            )
        ),
        task_ids=tuple(draw(st.lists(st.sampled_from(("t-1", "t-22", "t-333")), max_size=5))),
    )


@given(records())
@settings(max_examples=300, deadline=None)
def test_a_sentence_never_contradicts_its_record(record: DriftRecord) -> None:
    assert not disagreements(record, "Asia/Kolkata"), (record.text, record.text_zh)

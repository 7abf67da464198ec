"""Parts of a preview by themselves: units, times, variables, transformations, colours, sizes."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from streams.views.preview import colors, layout
from streams.views.preview.axes import nice_ticks, time_ticks
from streams.views.preview.errors import PreviewError
from streams.views.preview.fields import FieldConfig, Moment
from streams.views.preview.frames import Frame, FrameColumn, Value, buckets, series_frames
from streams.views.preview.times import TimeRange, moment, span_text, step_seconds
from streams.views.preview.transform import transform
from streams.views.preview.units import text_of

NAN = math.nan
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.951234, "percentunit", None, "95.1%"),
        (0.951234, "percentunit", 2, "95.12%"),
        (1.0, "percentunit", None, "100%"),
        (-0.0001, "percentunit", 1, "-0.0%"),
        (12.3456, "", None, "12.3"),
        (0.01234, "none", None, "0.0123"),
        (1234.0, "short", None, "1.23 K"),
        (2_500_000.0, "short", 1, "2.5 Mil"),
        (3.0, "short", None, "3"),
        (0.25, "s", 0, "250 ms"),
        (90.0, "s", None, "1.50 min"),
        (7200.0, "s", None, "2 hours"),
        (1500.0, "ms", None, "1.50 s"),
        (2.0, "h", None, "2 hours"),
        (12.0, "reqps", None, "12 req/s"),
        (1536.0, "bytes", None, "1.50 KiB"),
        (-5.1, "suffix: pt", 1, "-5.1 pt"),
        (5.0, "reviews", None, "5 reviews"),
        (1234.5, "locale", 0, "1,234"),
        (NAN, "percentunit", None, "NaN"),
        (NOW * 1000, "dateTimeAsIso", None, "2026-05-01 12:00:00"),
        ((NOW - 240) * 1000, "dateTimeFromNow", None, "4 minutes ago"),
        ((NOW - 7200) * 1000, "dateTimeFromNow", None, "2 hours ago"),
    ],
)
def test_units_as_grafana_writes_them(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert text_of(value, unit, decimals, now=NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "几秒前"), (60, "1 分钟前"), (240, "4 分钟前"), (3700, "1 小时前"), (7200, "2 小时前"), (-172_800, "2 天后")],
)
def test_distances_in_time_in_chinese(seconds: float, text: str) -> None:
    assert text_of((NOW - seconds) * 1000, "dateTimeFromNow", now=NOW, language="zh") == text


def test_moments() -> None:
    assert moment("now", NOW) == NOW
    assert moment("now-90m", NOW) == NOW - 5400
    assert moment("1777636800000", NOW) == 1_777_636_800
    assert moment("2026-05-01T14:00+02:00", 0.0) == NOW
    assert moment("2026-05-01 12:00", 0.0) == NOW
    with pytest.raises(PreviewError, match="is no span"):
        moment("now-a-while", NOW)


def test_steps_are_round_and_never_below_the_scrape() -> None:
    assert step_seconds(TimeRange(0, 86_400), 1000, 5) == 120
    assert step_seconds(TimeRange(0, 600), 1000, 5) == 5
    assert step_seconds(TimeRange(0, 90 * 86_400), 100, 5) == 86_400
    assert [span_text(seconds) for seconds in (5, 90, 120, 7200, 172_800)] == ["5s", "90s", "2m", "2h", "2d"]


def test_ticks_stand_at_whole_hours_and_days_of_the_boards_zone() -> None:
    window = TimeRange(NOW - 86_400, NOW, ZoneInfo("Asia/Kolkata"))
    labels = [label for _, label in time_ticks(window, 900)]
    assert labels == ["18:00", "21:00", "05-01", "03:00", "06:00", "09:00", "12:00", "15:00"]
    assert nice_ticks(0.78, 0.98, 4) == pytest.approx([0.8, 0.85, 0.9, 0.95])


def table(query: str = "A", **columns: Sequence[Value]) -> Frame:
    return Frame(
        tuple(
            FrameColumn(name, "string" if isinstance(values[0], str) else "number", tuple(values), query=query)
            for name, values in columns.items()
        )
    )


def cells(frames: Sequence[Frame]) -> dict[str, tuple[Value, ...]]:
    (frame,) = frames
    return {column.title: column.values for column in frame.columns}


def done(frames: Sequence[Frame], name: str, **options: Any) -> list[Frame]:
    return transform(list(frames), [{"id": name, "options": options}])


def test_merge_makes_rows_that_agree_one_and_keeps_the_others() -> None:
    frames = [
        table("A", site=["a", "b"], rate=[0.9, 0.8]),
        table("B", site=["b", "c"], n=[5.0, 6.0]),
        table("C", site=["a", "a"], cause=["x", "y"]),
    ]
    assert cells(done(frames, "merge")) == {
        "site": ("a", "a", "b", "c"),
        "rate": (0.9, None, 0.8, None),
        "n": (None, None, 5.0, 6.0),
        "cause": ("x", "y", None, None),
    }


def test_join_inner_and_outer() -> None:
    frames = [table("A", agent=["a", "b"], x=[1.0, 2.0]), table("B", agent=["b", "c"], y=[3.0, 4.0])]
    assert cells(done(frames, "joinByField", byField="agent", mode="inner")) == {
        "agent": ("b",),
        "x": (2.0,),
        "y": (3.0,),
    }
    outer = cells(done(frames, "joinByField", byField="agent", mode="outer"))
    assert outer == {"agent": ("a", "b", "c"), "x": (1.0, 2.0, None), "y": (None, 3.0, 4.0)}


def test_organize_sort_and_limit() -> None:
    frame = table(site=["a", "b", "c"], gap=[0.1, NAN, -0.2], Time=[1.0, 1.0, 1.0])
    shown = done([frame], "organize", excludeByName={"Time": True}, indexByName={"gap": 0}, renameByName={"gap": "Gap"})
    assert list(cells(shown)) == ["Gap", "site"]
    ordered = done(shown, "sortBy", sort=[{"field": "Gap"}])
    assert cells(ordered)["site"] == ("c", "a", "b"), "without a value comes last"
    assert cells(done(ordered, "limit", limitField=1)) == {"Gap": (-0.2,), "site": ("c",)}
    assert cells(done([frame], "sortBy", sort=[{"field": "gap", "desc": True}]))["site"] == ("a", "c", "b")


def answer(*series: tuple[dict[str, str], list[float]]) -> list[dict[str, Any]]:
    return [
        {"metric": metric, "values": [[60.0 * number, str(value)] for number, value in enumerate(values)]}
        for metric, values in series
    ]


def test_buckets_are_counts_between_two_ends_lowest_first() -> None:
    frames = series_frames(
        answer(({"le": "+Inf"}, [9.0]), ({"le": "10"}, [7.0]), ({"le": "5"}, [4.0])), "A", "{{le}}", ""
    )
    assert [(frame.columns[1].title, frame.columns[1].values) for frame in buckets(frames)] == [
        ("5", (4.0,)),
        ("10", (3.0,)),
        ("+Inf", (2.0,)),
    ]


def test_overrides_apply_to_the_columns_they_mean_the_last_one_last() -> None:
    steps = [{"value": None, "color": "blue"}, {"value": 5, "color": "#B24A00"}]
    named = [{"id": "displayName", "value": "${__field.name}!"}]
    settings = {
        "defaults": {"unit": "s", "thresholds": {"steps": steps}},
        "overrides": [
            {"matcher": {"id": "byRegexp", "options": "/^x/"}, "properties": [{"id": "unit", "value": "ms"}]},
            {"matcher": {"id": "byName", "options": "x2"}, "properties": named},
            {"matcher": {"id": "byFrameRefID", "options": "B"}, "properties": [{"id": "custom.width", "value": 70}]},
        ],
    }  # fmt: skip
    frames = [table("A", x1=[3.0], x2=[7.0]), table("B", y=[4.0])]
    (x1, x2), (y,) = FieldConfig(settings, Moment()).fields(frames)
    assert (x1.show(3.0).text, x1.show(3.0).color) == ("3 ms", colors.hex_of("blue"))
    assert (x2.name, x2.show(7.0).color) == ("x2!", "#B24A00")
    assert (y.show(4.0).text, y.custom["width"]) == ("4 s", 70)


def test_ranges_and_patterns_are_mapped() -> None:
    mappings = [
        {"type": "range", "options": {"from": None, "to": -9, "result": {"text": "silent"}}},
        {"type": "regex", "options": {"pattern": "^p-(.*)$", "result": {"text": "person $1"}}},
        {"type": "special", "options": {"match": "null+nan", "result": {"text": "not enough data"}}},
    ]
    ((field,),) = FieldConfig({"defaults": {"mappings": mappings}}, Moment()).fields([table(x=[1.0])])
    assert [field.show(value).text for value in (-14.0, "p-7", NAN, None, 2.0)] == [
        "silent",
        "person 7",
        "not enough data",
        "not enough data",
        "2",
    ]


def test_a_style_takes_colours_and_nothing_else() -> None:
    assert colors.hex_of("dark-red") == "#C4162A"
    assert colors.hex_of("#abc") == "#aabbcc"
    assert colors.hex_of("rgba(1, 2, 255, 0.5)") == "#0102ff80"
    assert colors.hex_of("red;background:url(//x)") == "#808080"
    assert (colors.on("#0072B2"), colors.on("#F0E442")) == ("#f7f8fa", "#202226")


def test_tiles_are_as_near_to_squares_as_the_panel_lets_them() -> None:
    assert layout.tiles(1800, 300, 1) == (1, 1)
    assert layout.tiles(1800, 300, 6) == (6, 1)
    across, down = layout.tiles(1870, 400, 30)
    assert across * down >= 30
    assert 0.5 < (1870 / across) / (400 / down) < 2

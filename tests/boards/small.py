"""A small board by hand with every kind of panel, and answers for it."""

import math
from typing import Any

from tests.boards.fake_prometheus import FakePrometheus

HOSTILE = '"<script>alert(1)</script>\\'
LONG = "站" * 128
SITES = ("manila-1", HOSTILE, LONG)
STATES = [
    {
        "type": "value",
        "options": {
            "5": {"text": "▼ DRIFT", "color": "#B24A00"},
            "1": {"text": "≈ near", "color": "#2B2F36"},
            "0": {"text": "✓ above", "color": "#0072B2"},
        },
    },
    {"type": "special", "options": {"match": "nan", "result": {"text": "not enough data", "color": "#6E6E6E"}}},
]
PROMETHEUS = {"type": "prometheus", "uid": "$datasource"}


def panel(
    kind: str, title: str, x: int, y: int, w: int, h: int, *targets: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "type": kind,
        "title": title,
        "description": f"What {title} says.",
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "datasource": PROMETHEUS,
        "targets": list(targets),
        **more,
    }


def target(expr: str, legend: str = "", ref: str = "A", **more: Any) -> dict[str, Any]:
    return {"refId": ref, "expr": expr, "legendFormat": legend, "datasource": PROMETHEUS, "range": True, **more}


def instant(expr: str, legend: str = "", ref: str = "A", **more: Any) -> dict[str, Any]:
    return target(expr, legend, ref, range=False, instant=True, **more)


def config(*overrides: tuple[dict[str, Any], dict[str, Any]], **defaults: Any) -> dict[str, Any]:
    return {
        "defaults": {"color": {"mode": "thresholds"}, "mappings": [], **defaults},
        "overrides": [
            {"matcher": matcher, "properties": [{"id": key, "value": value} for key, value in properties.items()]}
            for matcher, properties in overrides
        ],
    }


def board(*panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "uid": "small",
        "title": "Small",
        "schemaVersion": 42,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "site", "type": "query", "label": "Site", "multi": True, "includeAll": True,
                    "query": {"query": "label_values(up, site)"}, "current": {"value": "$__all", "text": "All"},
                },
                {"name": "window", "type": "custom", "label": "Window", "query": "1h,24h", "current": {"value": "24h"}},
            ]
        },
        "annotations": {
            "list": [
                {"name": "Drift", "enable": True, "iconColor": "#B24A00", "expr": "drifts", "titleFormat": "{{site}}"},
                {"name": "Off", "enable": False, "expr": "off"},
            ]
        },
        "panels": list(panels),
        **more,
    }  # fmt: skip


def every_kind() -> dict[str, Any]:
    """All kinds at once."""
    return board(
        panel(
            "stat", "States", 0, 0, 12, 6, instant("state", "{{site}}"),
            options={"textMode": "value_and_name", "colorMode": "background_solid", "graphMode": "none",
                     "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
            fieldConfig=config(mappings=STATES),
        ),
        panel(
            "stat", "Lag", 12, 0, 6, 6, target("lag", "lag"), fieldConfig=config(unit="s"),
            options={"graphMode": "area", "colorMode": "value"},
        ),
        panel("stat", "Empty", 18, 0, 6, 6, instant("nothing"), fieldConfig=config(noValue="nothing is open")),
        panel(
            "timeseries", "Accuracy of $site", 0, 6, 12, 8,
            target("accuracy", "{{site}}"), target("upper", "upper", "B"), target("seconds", "seconds", "C"),
            options={"legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}},
            fieldConfig=config(
                ({"id": "byName", "options": "upper"}, {"custom.fillBelowTo": "manila-1", "custom.lineWidth": 0}),
                ({"id": "byFrameRefID", "options": "C"}, {"unit": "s", "custom.axisPlacement": "right"}),
                unit="percentunit", color={"mode": "palette-classic"}, custom={"lineWidth": 2, "fillOpacity": 0},
            ),
        ),
        panel(
            "table", "Drifts", 12, 6, 12, 8,
            instant("rate", ref="A", format="table"), instant("n", ref="B", format="table"),
            transformations=[
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {
                    "excludeByName": {"Time": True, "__name__": True},
                    "indexByName": {"site": 0, "Value #B": 1, "Value #A": 2},
                    "renameByName": {"site": "Site", "Value #A": "Now", "Value #B": "Reviews"}}},
                {"id": "sortBy", "options": {"sort": [{"field": "Now"}]}},
                {"id": "limit", "options": {"limitField": 2}},
            ],
            fieldConfig=config(
                ({"id": "byName", "options": "Now"}, {
                    "unit": "percentunit", "decimals": 1,
                    "custom.cellOptions": {"type": "color-background", "mode": "basic"},
                    "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "#B24A00"},
                                                                 {"value": 0.9, "color": "transparent"}]}}),
            ),
        ),
        panel(
            "bargauge", "Staffing", 0, 14, 8, 6, instant("staff", "{{site}}"),
            options={"orientation": "horizontal", "displayMode": "basic"},
            fieldConfig=config(unit="percentunit", min=0, max=1.5, thresholds={"mode": "absolute", "steps": [
                {"value": None, "color": "#E69F00"}, {"value": 0.9, "color": "#0072B2"}]}),
        ),
        panel(
            "state-timeline", "Last hours", 8, 14, 8, 6, target("past", "{{site}}"),
            options={"mergeValues": True, "showValue": "auto"}, fieldConfig=config(mappings=STATES),
        ),
        panel(
            "heatmap", "Waiting", 16, 14, 8, 6, target("waiting", "{{site}}"),
            options={"color": {"mode": "scheme", "scheme": "Cividis"}}, fieldConfig=config(unit="short"),
        ),
        panel("text", "Legend", 0, 20, 6, 6, options={
            "mode": "markdown", "content": "**$site** since $window\n\n| a | b |\n|---|---|\n| 1 | 2 |"}),
        panel(
            "xychart", "Speed and quality", 6, 20, 9, 6,
            instant("speed", ref="A", format="table"), instant("quality", ref="B", format="table"),
            transformations=[{"id": "joinByField", "options": {"byField": "agent", "mode": "inner"}}],
            options={"series": [{"x": {"matcher": {"id": "byName", "options": "Value #A"}},
                                 "y": {"matcher": {"id": "byName", "options": "Value #B"}}}]},
            fieldConfig=config(({"id": "byName", "options": "Value #A"}, {"displayName": "labels an hour"}),
                               ({"id": "byName", "options": "Value #B"},
                                {"displayName": "accuracy", "unit": "percentunit"})),
        ),
    )  # fmt: skip


def every_answer(fake: FakePrometheus) -> FakePrometheus:
    """Answers for `every_kind`."""
    three = [{"site": site} for site in SITES]
    fake.labels["site"] = SITES
    fake.answers = {
        "state": list(zip(three, (5.0, 1.0, math.nan), strict=True)),
        "lag": [({}, [0.4, 0.8, 1.5])],
        "nothing": [],
        "accuracy": [(three[0], [0.95, 0.94, None, 0.8, 0.79]), (three[1], 0.93), (three[2], [None, 0.9])],
        "upper": [({}, 0.97)],
        "seconds": [({}, [30.0, 45.0, 38.0])],
        "rate": list(zip(three, (0.802, 0.955, 0.951), strict=True)),
        "n": list(zip(three, (412.0, 90.0, 30.0), strict=True)),
        "staff": list(zip(three, (0.5, 1.2, 0.95), strict=True)),
        "past": [(three[0], [1.0, 1.0, 1.0, 5.0, 5.0]), (three[1], [0.0, None, 0.0]), (three[2], 1.0)],
        "waiting": [(three[0], [1.0, 5.0, 9.0]), (three[1], [3.0, None, 4.0]), (three[2], 2.0)],
        "speed": [({"agent": f"p-{number}"}, 60.0 + number) for number in range(20)],
        "quality": [({"agent": f"p-{number}"}, 0.9 + 0.004 * number) for number in range(20)],
        "drifts": [({"site": HOSTILE}, [0.0, 0.0, 1.0, 1.0])],
    }
    return fake

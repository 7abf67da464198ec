"""The committed boards: as generated, as Grafana reads them, and as every board must be. Needs no Prometheus."""

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grafana_foundation_sdk.builders as sdk
import jsonschema
import promql_parser
import pytest

from grafana import generate, signals
from grafana.fields import UNITS
from grafana.query import BoardSignal
from schemas import states
from schemas.metrics import METRICS, Kind, Origin
from tests.boards.queries import boards, filled, panels, queries, seconds
from tests.rules.stories import groups
from tests.support.promql import selectors

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests" / "data" / "grafana_schemas"
BOARDS = boards()
SERIES = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS.values()
    for suffix in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
}
RULES = [rule for group in groups() for rule in group["rules"]]
#: By recorded series, how often it gets a value.
INTERVALS = {rule["record"]: group["interval"] for group in groups() for rule in group["rules"] if "record" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
#: Of Prometheus and of its client; everything else is in the catalogue or recorded.
FOREIGN = {"process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total", "up", "ALERTS"}
PANEL_TYPES = {"stat", "timeseries", "table", "bargauge", "state-timeline", "heatmap", "text", "xychart"}
TRANSFORMATIONS = {"organize", "merge", "sortBy", "joinByField", "limit", "labelsToFields", "reduce"}
EACH = pytest.mark.parametrize("uid", BOARDS)
PAIRS = sorted(uid for uid in BOARDS if not uid.endswith("-zh"))


def promql(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where, and every expression, those of variables too."""
    for asked in queries(board):
        yield asked.where, asked.expr
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["query"].removeprefix("label_values(").rpartition(",")[0]


def test_the_files_are_what_the_code_makes() -> None:
    assert generate.differences() == [], "run `make boards`"


def test_every_board_has_both_languages_and_the_same_figures() -> None:
    assert {uid for uid in BOARDS if uid.endswith("-zh")} == {f"{uid}-zh" for uid in PAIRS}
    for uid in PAIRS:
        one, other = BOARDS[uid], BOARDS[f"{uid}-zh"]
        assert [expr for _, expr in promql(one)] == [expr for _, expr in promql(other)]
        assert [(p["id"], p["type"], p["gridPos"]) for p in panels(one)] == [
            (p["id"], p["type"], p["gridPos"]) for p in panels(other)
        ]


@EACH
def test_a_board_keeps_to_grafanas_schemas(uid: str) -> None:
    board = BOARDS[uid]
    jsonschema.Draft7Validator(_schema("dashboard")).validate(board)
    for panel in panels(board):
        file = {"state-timeline": "statetimeline"}.get(panel["type"], panel["type"])
        if panel["type"] == "xychart":  # there is no schema of it
            continue
        schema = _schema(file)
        _validate(schema, "Options", panel["options"])
        if "FieldConfig" in schema["definitions"]:
            _validate(schema, "FieldConfig", panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {}))
        for target in panel.get("targets", []):
            jsonschema.Draft7Validator(_schema("prometheus")).validate(target)


def _schema(name: str) -> dict[str, Any]:
    schema = dict(json.loads((SCHEMAS / f"{name}.json").read_text("utf-8")))
    if name == "dashboard":  # of any type in Grafana; the schema's maker had no word for that but object
        schema["definitions"]["MatcherConfig"]["properties"]["options"] = {}
        schema["definitions"]["DynamicConfigValue"]["properties"]["value"] = {}
    return schema


def _validate(schema: dict[str, Any], definition: str, value: Any) -> None:
    jsonschema.Draft7Validator({**schema, "$ref": f"#/definitions/{definition}"}).validate(value)


@EACH
def test_a_board_is_known_by_a_stable_name_and_cannot_be_edited(uid: str) -> None:
    board = BOARDS[uid]
    assert re.fullmatch(r"labelwatch-[a-z]+(-zh)?", uid)
    assert board["editable"] is False
    assert board["title"]
    assert board["description"]
    assert board["schemaVersion"] >= 42
    assert Counter(board["title"] for board in BOARDS.values()).most_common(1)[0][1] == 1
    identifiers = [panel["id"] for panel in panels(board)]
    assert len(set(identifiers)) == len(identifiers)


@EACH
def test_a_panel_says_what_it_is_and_what_a_bad_value_means(uid: str) -> None:
    for panel in panels(BOARDS[uid]):
        where = f"{uid}: {panel['title']}"
        assert panel["type"] in PANEL_TYPES, where
        assert panel["type"].replace("-", "") in dir(sdk) or __import__(
            f"grafana_foundation_sdk.builders.{panel['type'].replace('-', '')}"
        )
        assert panel["title"], where
        assert len(panel["description"]) > 10, where
        assert {each["id"] for each in panel.get("transformations", [])} <= TRANSFORMATIONS, where
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["unit"], where
            assert panel["fieldConfig"]["defaults"]["noValue"], f"{where}: what is absent must be said in words"
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, where
            assert all(target["datasource"] == panel["datasource"] for target in panel["targets"]), where


@EACH
def test_panels_neither_overlap_nor_leave_the_grid(uid: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels(BOARDS[uid]):
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies upon {taken[cell]}"
            taken[cell] = panel["title"]


@EACH
def test_no_table_has_the_name_of_a_series_for_a_column(uid: str) -> None:
    for panel in panels(BOARDS[uid]):
        for target in panel.get("targets", []) if panel["type"] == "table" else []:
            bare = isinstance(promql_parser.parse(filled(BOARDS[uid], target["expr"])), promql_parser.VectorSelector)
            assert not bare, f"{panel['title']}: {target['expr']}"


@pytest.mark.parametrize("uid", ["labelwatch-operations", "labelwatch-operations-zh"])
def test_no_column_of_the_walls_table_is_out_of_sight(uid: str) -> None:
    (table,) = (panel for panel in panels(BOARDS[uid]) if panel["type"] == "table")
    organize = next(each["options"] for each in table["transformations"] if each["id"] == "organize")
    # Grafana gives a column 150 pixels where nothing else is said.
    widths = dict.fromkeys(organize["renameByName"].values(), 150)
    for override in table["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] in ("custom.width", "custom.minWidth"):
                widths[override["matcher"]["options"]] = each["value"]
    assert sum(widths.values()) <= 1920 * table["gridPos"]["w"] / 24 - 32


@pytest.mark.parametrize("uid", ["labelwatch-operations", "labelwatch-operations-zh"])
def test_the_wall_has_nothing_to_scroll(uid: str) -> None:
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels(BOARDS[uid]))
    # Grafana: 30 px a row and 8 between rows, 8 above and below; in kiosk nothing else.
    assert rows * 38 + 16 <= 1080
    for panel in panels(BOARDS[uid]):
        if panel["gridPos"]["y"] < 16:
            assert panel["options"]["text"]["titleSize"] >= 18
            assert panel["options"]["text"]["valueSize"] >= 34


@EACH
def test_variables_are_declared_used_and_refreshed(uid: str) -> None:
    board = BOARDS[uid]
    declared = {each["name"]: each for each in board["templating"]["list"]}
    assert next(iter(declared)) == "datasource"
    assert declared["datasource"]["query"] == "prometheus"
    used = {
        name
        for _, expr in promql(board)
        for name in re.findall(r"\$\{?([A-Za-z_]\w*)", expr)
        if not name.startswith("__")
    }
    assert used == declared.keys() - {"datasource"}
    for variable in declared.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2, "values follow the time range"
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for where, expr in promql(board):
        for name, variable in declared.items():
            several = variable.get("multi") or variable.get("includeAll")
            for operator in re.findall(rf'(=~|!=|=)"\${name}"', expr):
                assert operator == ("=~" if several else "="), f"{where}: how Grafana escapes it depends on this"


@EACH
def test_every_expression_parses_and_asks_for_series_that_there_are(uid: str) -> None:
    board = BOARDS[uid]
    for where, expr in promql(board):
        for selector in selectors(filled(board, expr)):
            name = selector.name
            assert name in SERIES or name in RECORDED or name in FOREIGN, f"{where}: {name}"
            asked = {matcher.name for matcher in selector.matchers.matchers}
            level = name.split(":")[0] if name and ":" in name else None
            if level in (None, "site") and name != "ALERTS":
                assert asked & {"site", "job", "instance"}, f"{where}: {name} of which sites or workers?"
            if name in SERIES:
                assert asked <= {*SERIES[name].labels, "job", "instance", "le"}, f"{where}: {name}"


@EACH
def test_counters_stand_in_rate_or_increase(uid: str) -> None:
    """Durable ones as the greatest of the workers' values, over steps: docs/metrics.md says why."""
    board = BOARDS[uid]
    counters = {name: metric for name, metric in SERIES.items() if metric.kind is not Kind.GAUGE}
    for where, expr in promql(board):
        if where.startswith("$"):
            continue
        for match in re.finditer(rf"(?<!:)\b({'|'.join(counters)})\b(?!:)(?:\{{[^}}]*\}})?(\)?)(\[[^\]]+\])?", expr):
            before = expr[: match.start()]
            # All that was ever counted of a version is meant, whenever Prometheus came.
            if before.endswith("present_over_time(") or match[1].startswith("labelwatch_sop_"):
                continue
            assert match[3], f"{where}: {match[0]}"
            if counters[match[1]].origin is Origin.ENGINE:
                assert re.search(r"\b(rate|increase)\(max without \(instance\) \($", before), f"{where}: {match[0]}"
                assert ":" in match[3], f"{where}: {match[0]}"
            else:
                assert re.search(r"\b(rate|increase)\($", before), f"{where}: {match[0]}"


@EACH
def test_recorded_counters_stand_in_rate_or_increase_over_samples_enough(uid: str) -> None:
    """A rule has taken the greatest of the workers' values; a step of a panel holds four of its samples."""
    for panel in panels(BOARDS[uid]):
        for target in panel.get("targets", []):
            for match in re.finditer(
                r"\w+:labelwatch_\w+_(?:total|bucket):max\b(?:\{[^}]*\})?(\[[^\]]+\])?", target["expr"]
            ):
                assert re.search(r"\b(rate|increase)\($", target["expr"][: match.start()]), (
                    f"{panel['title']}: {match[0]}"
                )
                assert match[1] in {"[$__rate_interval]", "[$__range]"}, f"{panel['title']}: {match[0]}"
                if match[1] == "[$__rate_interval]":
                    recorded = INTERVALS[match[0].partition("{")[0]]
                    assert seconds(panel["interval"]) >= 4 * seconds(recorded), panel["title"]


@EACH
def test_gauges_that_two_workers_may_show_are_never_added_up_across_them(uid: str) -> None:
    """During a hand-over two workers show a partition: a sum over both counts its sites twice."""
    board = BOARDS[uid]
    additive = r"labelwatch_(?:labels|reviews|correct_reviews|state_seconds)_window|labelwatch_site_\w+"
    for where, expr in promql(board):
        for match in re.finditer(rf"\bsum\s*(?:by\s*\(([^)]*)\))?\s*\(\s*(?:{additive})\b", expr):
            inside = expr[match.start() :]
            if re.match(r"sum[^(]*\([^)]*\)\s*\(\s*labelwatch_site_state_seconds_total", inside):
                continue
            assert "instance" in (match[1] or ""), f"{where}: {match[0]}"


def test_no_expression_is_written_twice() -> None:
    """Panels take signals; a signal is declared once; what a rule records is asked for by its name."""
    declared = [value for _, value in inspect.getmembers(signals, lambda value: isinstance(value, BoardSignal))]
    counted = Counter(re.sub(r"\s+", "", signal.expr) for signal in declared)
    assert [expr for expr, count in counted.items() if count > 1] == []
    recorded = {re.sub(r"\s+", "", rule["expr"]): rule["record"] for rule in RULES if "record" in rule}
    assert {recorded[expr] for expr in counted if expr in recorded} == set()
    for maker in generate.MAKERS:
        source = inspect.getsource(inspect.getmodule(maker))  # type: ignore[arg-type]  # each has one
        by_hand = [line for line in source.splitlines() if "labelwatch_" in line and "label_values(" not in line]
        assert by_hand == [], "an expression that is no signal"


def test_every_signal_is_used() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "grafana").glob("*.py") if path.name != "signals.py")
    names = [name for name, value in inspect.getmembers(signals) if isinstance(value, BoardSignal)]
    assert [name for name in names if f"signals.{name}" not in source] == []


@pytest.mark.parametrize("uid", [f"{uid}-zh" for uid in PAIRS])
def test_the_chinese_edition_says_nothing_in_english(uid: str) -> None:
    english, chinese = (list(said(BOARDS[each])) for each in (uid.removesuffix("-zh"), uid))
    assert len(english) == len(chinese)
    for one, other in zip(english, chinese, strict=True):
        plain = re.sub(r"\{\{[^}]*\}\}|https?://\S+|p\d\d|\bn\b", "", one)
        if re.search(r"[A-Za-z]{2}", plain.replace("SOP", "").replace("suffix:", "")):
            assert re.search(r"[\u4e00-\u9fff]", other), f"{one!r} is {other!r} in Chinese"


def said(board: dict[str, Any]) -> Iterator[str]:
    """Every text that a board shows."""
    yield board["title"]
    yield board["description"]
    for variable in board["templating"]["list"]:
        yield variable["label"]
    for link in board["links"]:
        yield link["title"]
    for mark in board["annotations"]["list"]:
        yield from (mark["name"], mark["textFormat"])
    for panel in panels(board):
        yield from (panel["title"], panel["description"])
        if panel["type"] == "text":
            yield panel["options"]["content"]
        for target in panel.get("targets", []):
            yield target["legendFormat"]
        yield from re.findall(
            r'"(?:text|noValue|title|axisLabel|displayName)": "([^"]*)"',
            json.dumps(panel.get("fieldConfig"), ensure_ascii=False),
        )
        for step in panel.get("transformations", []):
            yield from step["options"].get("renameByName", {}).values()


def test_every_colour_is_safe_and_every_state_has_glyph_and_word() -> None:
    safe = {value for name, value in vars(states).items() if name.isupper() and isinstance(value, str)}
    for uid, board in BOARDS.items():
        used = set(re.findall(r'"(?:color|fixedColor|iconColor)": "([^"]*)"', json.dumps(board)))
        assert used <= safe, uid
    assert len({state.glyph for state in (*states.SITE_STATES, states.UNSEEN)}) == len(states.SITE_STATES) + 1
    rule = next(rule for rule in RULES if rule.get("record") == "site:labelwatch_state:code")
    codes = {int(code) for code in re.findall(r"(?:^|or )\s*(-?\d)", rule["expr"])} | {0}
    assert codes == {state.code for state in states.SITE_STATES}
    for state in states.SITE_STATES:
        assert contrast(state.colour, written_on(state.colour)) >= 4.5


def written_on(colour: str) -> str:
    """The colour in which Grafana writes on a background: dark where its brightness is above 180 of 255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#202226" if (299 * red + 587 * green + 114 * blue) / 1000 > 180 else "#F7F8FA"


def contrast(one: str, other: str) -> float:
    """Ratio of luminances. Source: WCAG 2.1, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_units_and_metrics_named_in_descriptions_exist() -> None:
    assert all(unit.startswith(("suffix:", "prefix:")) for words in UNITS.values() for unit in words)
    for uid, board in BOARDS.items():
        for text in said(board):
            named = re.findall(r"(?<![\w:])labelwatch_\w+", text)
            assert all(name in METRICS for name in named), uid


@EACH
def test_links_lead_to_boards_of_the_same_language_and_take_site_and_time_along(uid: str) -> None:
    board, edition = BOARDS[uid], "-zh" if uid.endswith("-zh") else ""
    for link in board["links"]:
        assert link["keepTime"]
        assert link["includeVars"]
        assert link["url"].removeprefix("/d/") in BOARDS
    others = {link["url"].removeprefix("/d/") for link in board["links"]}
    assert others >= {each for each in BOARDS if each.endswith("-zh") == bool(edition)} - {uid}
    assert any(each.endswith("-zh") != bool(edition) for each in others), "and to itself in the other language"
    for url in re.findall(r'"(/d/[^"]*\?[^"]*)"', json.dumps(board)):
        target, _, rest = url.removeprefix("/d/").partition("?")
        assert target in BOARDS
        assert target.endswith("-zh") == bool(edition)
        assert "${__url_time_range}" in rest
        assert "${datasource:queryparam}" in rest
        (name, value) = re.findall(r"var-(\w+)=([^&]*)", rest)[0]
        assert name in {each["name"] for each in BOARDS[target]["templating"]["list"]}
        assert value.endswith(":percentencode}"), "names hold everything"


def test_alerts_lead_to_boards_that_there_are() -> None:
    for rule in RULES:
        if "alert" in rule:
            match = re.search(r"/d/([\w-]+)(?:\?var-(\w+)=)?", rule["annotations"]["dashboard_url"])
            assert match
            assert match[1] in BOARDS
            assert match[2] in {None, *(each["name"] for each in BOARDS[match[1]]["templating"]["list"])}

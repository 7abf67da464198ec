"""Panels and boards in one look: every panel of every board is made here, from signals, in either language."""

import itertools
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
    xychart,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import text as texts
from grafana_foundation_sdk.models import xychart as scatter
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from grafana.words import NOT_ENOUGH
from schemas.states import BLUE, GREY, NEUTRAL, SITE_STATES, SKY
from schemas.words import Language, Words

#: Panels of every type share these methods.
AnyPanel = Any
PanelPlace = tuple[int, int, int, int]
#: Values, ranges `1..2` or `nothing`, and the words and colour that are shown for them.
ValueWords = Mapping[Any, tuple[Words | str, str | None]]
#: Of the site that a tile, a bar or a line stands for; names of every kind survive the way.
SITE_LINK = (
    "/d/labelwatch-site{edition}?var-site=${{__field.labels.site:percentencode}}"
    "&${{datasource:queryparam}}&${{__url_time_range}}"
)
CELL_LINK = (
    "/d/labelwatch-{board}{edition}?var-{variable}=${{__value.raw:percentencode}}"
    "&${{datasource:queryparam}}&${{__url_time_range}}{more}"
)
DATASOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class BoardSignal:
    """One measurement, declared once and used by any panel.

    Attributes:
        name: What it is called, in a legend or at the head of a column.
        says: What it is, and what a bad value means.
        expr: PromQL. `<of>` stands for the matchers of the sites meant, `<window>` for the length of the window.
        unit: Grafana's name of its unit.
        decimals: Digits after the point; None leaves it to Grafana.
    """

    name: Words
    says: Words
    expr: str
    unit: str = "short"
    decimals: int | None = None

    def promql(self, of: str, window: str) -> str:
        """The expression for some sites and a window."""
        return self.expr.replace("<of>", of).replace("<window>", window)


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """A signal as one panel asks for it.

    Attributes:
        signal: What is asked.
        legend: Name of the line, tile or column; `{{label}}` is filled in by Grafana. None: the signal's name.
        of: Matchers of the sites; None: those of the board.
        window: Length of the window; None: that of the board.
        instant: Now, rather than over the time range.
        colour: Of its series. None: by thresholds or palette.
        shades: The colour in shades, one a series.
        states: Its values are codes of states.
        mapping: Values shown as words.
        props: More of Grafana's field options.
    """

    signal: BoardSignal
    legend: Words | str | None = None
    of: str | None = None
    window: str | None = None
    instant: bool = False
    colour: str | None = None
    shades: bool = False
    states: bool = False
    mapping: ValueWords | None = None
    props: dict[str, Any] = field(default_factory=dict)


def state_mapping() -> ValueWords:
    """Codes of states to what is shown."""
    return {state.code: (state.name, state.colour) for state in SITE_STATES}


class Board:
    """One board in one language; panels are added in the order of reading.

    Args:
        name: Of the uid, `labelwatch-<name>`.
        title: At its head.
        says: Who it is for.
        language: Of everything that it says.
        of: Matchers of the sites that its signals mean, PromQL.
        window: Length of the windows that its signals mean.
        since: How far it looks back, `now-24h`.
        refresh: How often it asks.
    """

    def __init__(
        self,
        name: str,
        title: Words,
        says: Words,
        language: Language,
        *,
        of: str,
        window: str = "24h",
        since: str = "now-24h",
        refresh: str = "30s",
    ) -> None:
        self.language = language
        self._of, self._window = of, window
        self._name = name
        self._edition = "" if language == "en" else "-zh"
        self._ids = itertools.count(1)
        self._board = (
            dashboard.Dashboard(self.say(title))
            .uid(self.uid)
            .description(self.say(says))
            .tags(["labelwatch", language])
            .timezone("browser")
            .readonly()
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .time(since, "now")
            .refresh(refresh)
            .with_variable(
                dashboard.DatasourceVariable("datasource")
                .label(self.say(Words("Data source", "数据源")))
                .type("prometheus")
            )
        )

    @property
    def uid(self) -> str:
        """Stable name, in addresses and of the file."""
        return f"labelwatch-{self._name}{self._edition}"

    def say(self, words: Words | str) -> str:
        """A text in the board's language."""
        return words if isinstance(words, str) else words.of(self.language)

    # What a board has beside panels.

    def variable(self, name: str, label: Words, query: str, *, multi: bool = True, sort: bool = True) -> Self:
        """A choice whose values Prometheus knows.

        Args:
            name: `$name` in expressions.
            label: Beside the choice.
            query: `label_values(selector, label)`.
            multi: Several and all may be chosen.
            sort: By the alphabet.
        """
        variable = (
            dashboard.QueryVariable(name)
            .label(self.say(label))
            .datasource(DATASOURCE)
            .query(query)
            .definition(query)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC if sort else models.VariableSort.DISABLED)
        )
        if multi:
            everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
            # `.*`: what no dimension is known of belongs to all of them.
            variable = variable.multi(True).include_all(True).all_value(".*").current(everything)
        self._board.with_variable(variable)
        return self

    def choice(self, name: str, label: Words, values: Sequence[str], chosen: str) -> Self:
        """A choice among fixed values."""
        options = [models.VariableOption(selected=each == chosen, text=each, value=each) for each in values]
        current = models.VariableOption(selected=True, text=chosen, value=chosen)
        self._board.with_variable(
            dashboard.CustomVariable(name)
            .label(self.say(label))
            .values(",".join(values))
            .options(options)
            .current(current)
            .allow_custom_value(False)
        )
        return self

    def annotate(
        self,
        name: Words,
        signal: BoardSignal,
        title: str,
        *,
        colour: str,
        at_value: bool = False,
        tags: str = "",
        of: str | None = None,
    ) -> Self:
        """Marks moments on every time axis.

        Args:
            name: Of the kind of moment.
            signal: A sample at each such moment; with `at_value`, its value is the moment, in milliseconds.
            title: Of one mark; `{{label}}` is filled in.
            colour: Of the mark.
            at_value: As above.
            tags: Labels to show, with commas.
            of: Matchers of the sites; None: those of the board.
        """
        self._board.annotation(
            dashboard.AnnotationQuery()
            .name(self.say(name))
            .datasource(DATASOURCE)
            .enable(True)
            .hide(False)
            .icon_color(colour)
            .expr(signal.promql(of or self._of, self._window))
            .step("60s")
            .title_format(title)
            .text_format(self.say(signal.says))
            .tag_keys(tags)
            .use_value_for_time(at_value)
        )
        return self

    def link(self, title: Words, name: str, *, edition: str | None = None) -> Self:
        """A link to another board that takes site and time range along."""
        edition = self._edition if edition is None else edition
        self._board.link(
            dashboard.DashboardLink(self.say(title))
            .type(models.DashboardLinkType.LINK)
            .url(f"/d/labelwatch-{name}{edition}")
            .keep_time(True)
            .include_vars(True)
        )
        return self

    def site_link(self, title: Words) -> list[dict[str, Any]]:
        """From a series with a site to that site's board."""
        return [{"title": self.say(title), "url": SITE_LINK.format(edition=self._edition)}]

    def cell_link(self, title: Words, board: str, variable: str, more: str = "") -> list[dict[str, Any]]:
        """From the cell of a table to a board with the cell's text as a variable."""
        url = CELL_LINK.format(board=board, edition=self._edition, variable=variable, more=more)
        return [{"title": self.say(title), "url": url}]

    # Panels.

    def stat(
        self,
        at: PanelPlace,
        title: Words,
        queries: Sequence[PanelQuery],
        *,
        says: Words | None = None,
        value_size: int = 40,
        title_size: int = 18,
        thresholds: Sequence[tuple[float | None, str]] = ((None, NEUTRAL),),
        empty: Words = NOT_ENOUGH,
        names: bool = True,
        sparkline: bool = False,
        change: bool = False,
        filled: bool = True,
        interval: str | None = None,
        links: list[dict[str, Any]] | None = None,
    ) -> Self:
        """Large figures, one tile a series.

        Args:
            at: x, y, width and height in grid units.
            title: Of the panel.
            queries: In the order of the tiles.
            says: Its description; None: the first signal's.
            value_size: Of the figures, pixels.
            title_size: Of the names, pixels.
            thresholds: From which value on which colour.
            empty: Shown where there is no series.
            names: The name of each tile stands above its figure.
            sparkline: The course over the time range stands behind it.
            change: Against the begin of the time range, in percent.
            filled: The colour fills the tile; else it is the figure's own.
            interval: The least distance of two points.
            links: Of a tile.
        """
        panel = (
            stat.Panel()
            .graph_mode(kinds.BigValueGraphMode.AREA if sparkline else kinds.BigValueGraphMode.NONE)
            .color_mode(kinds.BigValueColorMode.BACKGROUND_SOLID if filled else kinds.BigValueColorMode.VALUE)
            .text_mode(kinds.BigValueTextMode.VALUE_AND_NAME if names else kinds.BigValueTextMode.VALUE)
            .justify_mode(kinds.BigValueJustifyMode.CENTER)
            .orientation(kinds.VizOrientation.AUTO)
            .wide_layout(False)
            .show_percent_change(change)
            .percent_change_color_mode(kinds.PercentChangeColorMode.SAME_AS_VALUE)
            .reduce_options(_last())
            .text(common.VizTextDisplayOptions().value_size(value_size).title_size(title_size))
        )
        if interval is not None:
            panel = panel.interval(interval)
        return self._add(panel, at, title, queries, says=says, thresholds=thresholds, empty=empty, links=links)

    def lines(
        self,
        at: PanelPlace,
        title: Words,
        queries: Sequence[PanelQuery],
        *,
        says: Words | None = None,
        empty: Words = NOT_ENOUGH,
        legend_right: bool = False,
        stacked: str | None = None,
        floor: float | None = None,
        ceiling: float | None = None,
        soft_floor: float | None = None,
        interval: str | None = None,
        thresholds: Sequence[tuple[float | None, str]] = ((None, BLUE),),
        links: list[dict[str, Any]] | None = None,
    ) -> Self:
        """Lines over time.

        Args:
            at: As of `stat`.
            title: As of `stat`.
            queries: As of `stat`.
            says: As of `stat`.
            empty: As of `stat`.
            thresholds: As of `stat`.
            links: As of `stat`.
            legend_right: The legend stands at the right, for many series.
            stacked: `normal` or `percent`: areas upon each other.
            floor: Of the axis, whatever the values.
            ceiling: Of the axis, whatever the values.
            soft_floor: Of the axis, unless a value is below it.
            interval: The least distance of two points.
        """
        panel = (
            timeseries.Panel()
            .legend(
                common.VizLegendOptions()
                .show_legend(True)
                .display_mode(kinds.LegendDisplayMode.TABLE if legend_right else kinds.LegendDisplayMode.LIST)
                .placement(kinds.LegendPlacement.RIGHT if legend_right else kinds.LegendPlacement.BOTTOM)
                .calcs(["lastNotNull"] if legend_right else [])
            )
            .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
            .draw_style(kinds.GraphDrawStyle.LINE)
            .line_width(2)
            .fill_opacity(60 if stacked else 0)
            .show_points(kinds.VisibilityMode.AUTO)
            # Absence is not 0 and not the value before: a gap stays a gap.
            .span_nulls(False)
        )
        if stacked:
            panel = panel.line_width(0).stacking(common.StackingConfig().mode(kinds.StackingMode(stacked)).group("A"))
        if floor is not None:
            panel = panel.min(floor)
        if ceiling is not None:
            panel = panel.max(ceiling)
        if soft_floor is not None:
            panel = panel.axis_soft_min(soft_floor)
        if interval is not None:
            panel = panel.interval(interval)
        return self._add(panel, at, title, queries, says=says, thresholds=thresholds, empty=empty, links=links)

    def bars(
        self,
        at: PanelPlace,
        title: Words,
        queries: Sequence[PanelQuery],
        *,
        says: Words | None = None,
        empty: Words = NOT_ENOUGH,
        thresholds: Sequence[tuple[float | None, str]] = ((None, BLUE),),
        floor: float | None = 0,
        ceiling: float | None = None,
        value_size: int = 18,
        links: list[dict[str, Any]] | None = None,
    ) -> Self:
        """Horizontal bars, one a series, now."""
        panel = (
            bargauge.Panel()
            .orientation(kinds.VizOrientation.HORIZONTAL)
            .display_mode(kinds.BarGaugeDisplayMode.BASIC)
            .value_mode(kinds.BarGaugeValueMode.TEXT)
            .name_placement(kinds.BarGaugeNamePlacement.LEFT)
            .show_unfilled(True)
            # One bar must not fill the panel.
            .sizing(kinds.BarGaugeSizing.MANUAL)
            .min_viz_height(16)
            .max_viz_height(44)
            .reduce_options(_last())
            .text(common.VizTextDisplayOptions().value_size(value_size).title_size(value_size - 2))
        )
        if floor is not None:
            panel = panel.min(floor)
        if ceiling is not None:
            panel = panel.max(ceiling)
        return self._add(panel, at, title, queries, says=says, thresholds=thresholds, empty=empty, links=links)

    def timeline(
        self, at: PanelPlace, title: Words, queries: Sequence[PanelQuery], *, says: Words | None = None
    ) -> Self:
        """A row of states a series."""
        panel = (
            statetimeline.Panel()
            .merge_values(True)
            .show_value(kinds.VisibilityMode.AUTO)
            .row_height(0.85)
            .align_value(kinds.TimelineValueAlignment.LEFT)
            .line_width(0)
            .fill_opacity(90)
            .legend(common.VizLegendOptions().show_legend(False))
            .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.SINGLE))
        )
        return self._add(panel, at, title, queries, says=says)

    def heat(
        self,
        at: PanelPlace,
        title: Words,
        queries: Sequence[PanelQuery],
        *,
        says: Words | None = None,
        axis: Words | None = None,
        axis_unit: str | None = None,
        interval: str | None = None,
        buckets: bool = False,
    ) -> Self:
        """Time from left to right, a row a series, darker where the value is higher.

        Args:
            at: As of `stat`.
            title: As of `stat`.
            queries: As of `stat`.
            says: As of `stat`.
            axis: What the rows are.
            axis_unit: Unit of the rows.
            interval: The least distance of two columns.
            buckets: The rows are buckets of a histogram.
        """
        panel = (
            heatmap.Panel()
            .calculate(False)
            .cell_gap(1)
            .show_value(kinds.VisibilityMode.NEVER)
            .show_legend()
            .exemplars_color(GREY)
            .color(
                heatmap.HeatmapColorOptions()
                .mode(heat.HeatmapColorMode.SCHEME)
                # Known to Grafana beside its own ramps; even for colour-blind eyes, and in print.
                .scheme("Cividis")
                .scale(heat.HeatmapColorScale.LINEAR)
                .steps(64)
                .reverse(False)
            )
        )
        rows = heatmap.YAxisConfig().axis_placement(kinds.AxisPlacement.LEFT).axis_label(self.say(axis or ""))
        if axis_unit:
            rows = rows.unit(axis_unit)
        panel = panel.y_axis(rows)
        if queries[0].signal.unit:
            panel = panel.cell_values(heatmap.CellValues().unit(self._unit(self._counted(queries[0].signal))))
        if interval is not None:
            panel = panel.interval(interval)
        return self._add(panel, at, title, queries, says=says, format=PromQueryFormat.HEATMAP if buckets else None)

    def table(
        self,
        at: PanelPlace,
        title: Words,
        keys: Sequence[tuple[str, Words]],
        queries: Sequence[PanelQuery],
        *,
        says: Words | None = None,
        empty: Words = NOT_ENOUGH,
        sort_by: int | None = 0,
        order: PanelQuery | None = None,
        ascending: bool = False,
        most: int | None = None,
        hidden: Sequence[str] = (),
        key_props: dict[str, dict[str, Any]] | None = None,
    ) -> Self:
        """Rows by label, a column a query.

        Args:
            at: As of `stat`.
            title: As of `stat`.
            queries: As of `stat`.
            says: As of `stat`.
            keys: Labels that make a row, and their columns, in order.
            empty: Shown where there is no row, and in a cell without a value.
            sort_by: Query by whose column the rows are sorted.
            order: By whose values they are sorted instead; its column is not shown, its labels may be.
            ascending: Smallest first.
            most: Rows at most.
            hidden: Labels that make a row and are not shown.
            key_props: Field options of a label's column.
        """
        if order is not None:
            queries, sort_by = [*queries, order], len(queries)
        columns = {label: self.say(words) for label, words in keys}
        names = [self.say(self._legend(query)) for query in queries]
        values = [f"Value #{ref}" for ref in string.ascii_uppercase[: len(queries)]]
        renamed = dict(zip(values, names, strict=True))
        if len(queries) == 1:  # Grafana numbers the columns only where there are several
            renamed = {"Value": names[0], **renamed}
        places = {name: place for place, name in enumerate([*columns, *renamed])}
        panel = (
            table.Panel()
            .cell_height(kinds.TableCellHeight.SM)
            .show_header(True)
            .filterable(False)
            .align(kinds.FieldTextAlignment.AUTO)
            .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
            .with_transformation(
                models.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": dict.fromkeys(["Time", *hidden], True),
                        "indexByName": places,
                        "renameByName": {**columns, **renamed},
                    },
                )
            )
        )
        if sort_by is not None:
            panel = panel.with_transformation(
                models.DataTransformerConfig(
                    id_val="sortBy", options={"fields": {}, "sort": [{"field": names[sort_by], "desc": not ascending}]}
                )
            )
        if order is not None:
            panel = panel.with_transformation(
                models.DataTransformerConfig(
                    id_val="organize",
                    options={"excludeByName": {names[-1]: True}, "indexByName": {}, "renameByName": {}},
                )
            )
        if most is not None:
            panel = panel.with_transformation(
                models.DataTransformerConfig(id_val="limit", options={"limitField": most})
            )
        shown = len(queries) - (order is not None)
        for query, name in zip(queries[:shown], names[:shown], strict=True):
            # Figures take what they need, so that names have room.
            width = models.DynamicConfigValue(id_val="custom.width", value=_width(name, query.signal.unit))
            panel = panel.override_by_name(name, [width, *self._properties(query)])
        for label, props in (key_props or {}).items():
            panel = panel.override_by_name(columns[label], _values(props))
        return self._add(
            panel, at, title, queries, says=says, empty=empty, format=PromQueryFormat.TABLE, properties=False
        )

    def scatter(
        self,
        at: PanelPlace,
        title: Words,
        key: str,
        key_name: Words,
        queries: tuple[PanelQuery, PanelQuery],
        *,
        says: Words | None = None,
        empty: Words = NOT_ENOUGH,
    ) -> Self:
        """A point for each value of a label: the first query across, the second up."""
        names = [self.say(self._legend(query)) for query in queries]
        renamed = {key: self.say(key_name), "Value #A": names[0], "Value #B": names[1]}
        panel = (
            xychart.Panel()
            .show(scatter.XYShowMode.POINTS)
            .mapping(scatter.SeriesMapping.AUTO)
            .point_size(xychart.XychartFieldConfigPointSize().fixed(7))
            .fill_opacity(60)
            .legend(common.VizLegendOptions().show_legend(False))
            .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.SINGLE))
            .with_transformation(
                models.DataTransformerConfig(id_val="joinByField", options={"byField": key, "mode": "inner"})
            )
            .with_transformation(
                models.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True, "Time 1": True, "Time 2": True},
                        # Across is the first number, up the second.
                        "indexByName": {"Value #A": 0, "Value #B": 1, key: 2},
                        "renameByName": renamed,
                    },
                )
            )
        )
        for query, name in zip(queries, names, strict=True):
            properties = [*self._properties(query), models.DynamicConfigValue("custom.axisLabel", name)]
            panel = panel.override_by_name(name, properties)
        return self._add(
            panel,
            at,
            title,
            queries,
            says=says,
            thresholds=((None, SKY),),
            empty=empty,
            format=PromQueryFormat.TABLE,
            properties=False,
        )

    def note(self, at: PanelPlace, title: Words, content: str, says: Words) -> Self:
        """Text, Markdown or HTML."""
        panel = (
            text.Panel()
            .mode(texts.TextMode.MARKDOWN)
            .content(content)
            .title(self.say(title))
            .description(self.say(says))
            .id(next(self._ids))
            .grid_pos(_grid(at))
        )
        self._board.with_panel(panel)
        return self

    def json(self) -> str:
        """The board as Grafana reads it."""
        made = json.loads(JSONEncoder(sort_keys=True).encode(self._board.build()))
        for mark in made.get("annotations", {}).get("list", []):
            mark.pop("placement", None)  # the SDK hides them in a menu
            mark.setdefault("target", {"expr": mark["expr"], "refId": "Annotation"})
        for link in made.get("links", []):
            link.pop("placement", None)
        for variable in made["templating"]["list"]:
            for name in ("auto", "auto_count", "auto_min"):  # of intervals alone
                variable.pop(name, None)
        for panel in made["panels"]:
            panel.pop("repeatDirection", None)
            for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
                link.pop("placement", None)
        return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    # How panels are made.

    def _legend(self, query: PanelQuery) -> Words | str:
        return query.signal.name if query.legend is None else query.legend

    def _add(
        self,
        panel: AnyPanel,
        at: PanelPlace,
        title: Words,
        queries: Sequence[PanelQuery],
        *,
        says: Words | None = None,
        thresholds: Sequence[tuple[float | None, str]] = ((None, GREY),),
        empty: Words = NOT_ENOUGH,
        links: list[dict[str, Any]] | None = None,
        format: PromQueryFormat | None = None,
        properties: bool = True,
    ) -> Self:
        number = next(self._ids)
        first = queries[0].signal
        panel = (
            panel.id(number)
            .title(self.say(title))
            .description(self.say(says or first.says))
            .datasource(DATASOURCE)
            .grid_pos(_grid(at))
            .unit(self._unit(self._counted(first)))
            .no_value(self.say(empty))
        )
        if not isinstance(panel, heatmap.Panel):
            panel = panel.thresholds(_thresholds(thresholds)).color_scheme(_color("thresholds"))
        if first.decimals is not None:
            panel = panel.decimals(first.decimals)
        if links:
            panel = panel.data_links([_link(link) for link in links])
        for ref, query in zip(string.ascii_uppercase, queries, strict=False):
            expr = query.signal.promql(query.of or self._of, query.window or self._window)
            target = (
                prometheus.Dataquery()
                .ref_id(ref)
                .expr(expr)
                .datasource(DATASOURCE)
                .legend_format(self.say(self._legend(query)))
                .editor_mode(QueryEditorMode.CODE)
            )
            tabular = format is PromQueryFormat.TABLE
            target = target.instant() if query.instant or tabular else target.range()
            target = target.format(format) if format else target
            panel = panel.with_target(target)
            if properties and (found := self._properties(query)):
                panel = panel.override_by_query(ref, found)
        self._board.with_panel(panel)
        return self

    @staticmethod
    def _counted(signal: BoardSignal) -> str:
        """Whole numbers in full: 1,234 people, not 1 K."""
        return "locale" if signal.unit == "short" and signal.decimals == 0 else signal.unit

    def _unit(self, unit: str) -> str:
        return UNITS[unit].of(self.language) if unit in UNITS else unit

    def _properties(self, query: PanelQuery) -> list[models.DynamicConfigValue]:
        found: dict[str, Any] = {}
        found["unit"] = self._unit(self._counted(query.signal))
        if query.signal.decimals is not None:
            found["decimals"] = query.signal.decimals
        if query.colour is not None:
            found["color"] = {"mode": "shades" if query.shades else "fixed", "fixedColor": query.colour}
        mapping = state_mapping() if query.states else {**_nearly(query.signal), **(query.mapping or {})}
        if mapping:
            found["mappings"] = self._mappings(mapping)
        return _values({**found, **query.props})

    def mappings(self, mapping: ValueWords) -> list[dict[str, Any]]:
        """Values shown as words, as Grafana's field option."""
        return self._mappings(mapping)

    def _mappings(self, mapping: ValueWords) -> list[dict[str, Any]]:
        found = []
        for index, (value, (words, colour)) in enumerate(mapping.items()):
            result = {"text": self.say(words), "index": index} | ({"color": colour} if colour else {})
            if value == "nothing":
                found.append({"type": "special", "options": {"match": "null+nan", "result": result}})
            elif isinstance(value, str) and (limits := re.fullmatch(r"(-?[\d.]+)?\.\.(-?[\d.]+)?", value)):
                ends = {"from": _number(limits[1]), "to": _number(limits[2])}
                found.append({"type": "range", "options": {**ends, "result": result}})
            else:
                key = value if isinstance(value, str) else f"{value:g}"
                found.append({"type": "value", "options": {key: result}})
        return found


def _nearly(signal: BoardSignal) -> ValueWords:
    """What would be rounded to 100% and is below it, and to 0% and is above it, in words."""
    if signal.unit != "percentunit" or signal.decimals is None:
        return {}
    step = 10.0**-signal.decimals
    half = step / 200
    # Bounds come from a square root: what differs by less than a billionth is the same.
    return {
        f"{1 - half:.9g}..{1 - 1e-9:.12g}": (f">{100 - step:.{signal.decimals}f}%", None),
        f"{1e-9:.9f}..{half * (1 - 1e-6):.12f}": (f"<{step:.{signal.decimals}f}%", None),
    }


#: Units with a word in them.
UNITS = {
    "points": Words("suffix: pt", "suffix: 点"),
    "n =": Words("prefix:n = ", "prefix:n = "),
    "hours": Words("suffix: h", "suffix: 小时"),
}


def _link(link: dict[str, Any]) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(link["title"]).type(models.DashboardLinkType.LINK).url(link["url"])


def _width(head: str, unit: str) -> int:
    """Pixels of a column of figures, by its head; `26 minutes ago` needs more."""
    letters = sum(2 if ord(letter) > 0x2E80 else 1 for letter in head)
    return max(22 + 7 * letters, 118 if unit == "dateTimeFromNow" else 66)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _values(props: dict[str, Any]) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in props.items()]


def _grid(at: PanelPlace) -> models.GridPos:
    x, y, w, h = at
    return models.GridPos(x=x, y=y, w=w, h=h)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")


def _thresholds(steps: Iterable[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def _color(mode: str) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId(mode))

"""Panels in one style: every panel of every board is made here, from signals, in either language."""

import itertools
import string
from collections.abc import Sequence
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
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import text as texts
from grafana_foundation_sdk.models import xychart as scatter
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from grafana.fields import (
    PanelPlace,
    color_by,
    grid_of,
    last_value,
    link_of,
    mappings_of,
    properties_of,
    thresholds_of,
    unit_of,
    values_of,
    width_of,
)
from grafana.query import PanelQuery, ValueWords
from grafana.words import NOT_ENOUGH
from schemas.states import BLUE, GREY, NEUTRAL, SKY
from schemas.words import Language, Words

DATASOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Panels of every type share these methods.
AnyPanel = Any


class Panels:
    """What a board adds panels by, in the order of reading.

    Args:
        board: To which they are added.
        language: Of everything that they say.
        of: Matchers of the sites that its signals mean, PromQL.
        window: Length of the windows that its signals mean.
    """

    def __init__(self, board: dashboard.Dashboard, language: Language, of: str, window: str) -> None:
        self.language = language
        self._board = board
        self._of, self._window = of, window
        self._ids = itertools.count(1)

    def say(self, words: Words | str) -> str:
        """A text in the board's language."""
        return words if isinstance(words, str) else words.of(self.language)

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
            names: The name of each tile is above its figure.
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
            .reduce_options(last_value())
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
            .reduce_options(last_value())
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
            panel = panel.cell_values(heatmap.CellValues().unit(unit_of(queries[0].signal, self.language)))
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
            width = models.DynamicConfigValue(id_val="custom.width", value=width_of(name, query.signal.unit))
            panel = panel.override_by_name(name, [width, *properties_of(query, self.language)])
        for label, props in (key_props or {}).items():
            panel = panel.override_by_name(columns[label], values_of(props))
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
            properties = [*properties_of(query, self.language), models.DynamicConfigValue("custom.axisLabel", name)]
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
            .grid_pos(grid_of(at))
        )
        self._board.with_panel(panel)
        return self

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
            .grid_pos(grid_of(at))
            .unit(unit_of(first, self.language))
            .no_value(self.say(empty))
        )
        if not isinstance(panel, heatmap.Panel):
            panel = panel.thresholds(thresholds_of(thresholds)).color_scheme(color_by("thresholds"))
        if first.decimals is not None:
            panel = panel.decimals(first.decimals)
        if links:
            panel = panel.data_links([link_of(link) for link in links])
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
            if properties and (found := properties_of(query, self.language)):
                panel = panel.override_by_query(ref, found)
        self._board.with_panel(panel)
        return self

    def mappings(self, mapping: ValueWords) -> list[dict[str, Any]]:
        """Values shown as words, as Grafana's field option."""
        return mappings_of(mapping, self.language)

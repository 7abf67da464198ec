"""A board in one language: its head, choices, marks in time and links; its panels are made in panels.py."""

import json
from collections.abc import Sequence
from typing import Any, Self

from grafana_foundation_sdk.builders import (
    dashboard,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from grafana.panels import DATASOURCE, Panels
from grafana.query import BoardSignal
from schemas.words import Language, Words

#: Of the site that a tile, a bar or a line shows; names of every kind survive the way.
SITE_LINK = (
    "/d/labelwatch-site{edition}?var-site=${{__field.labels.site:percentencode}}"
    "&${{datasource:queryparam}}&${{__url_time_range}}"
)
CELL_LINK = (
    "/d/labelwatch-{board}{edition}?var-{variable}=${{__value.raw:percentencode}}"
    "&${{datasource:queryparam}}&${{__url_time_range}}{more}"
)


class Board(Panels):
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
        self._name = name
        self._edition = "" if language == "en" else "-zh"
        made = (
            dashboard.Dashboard(title.of(language))
            .uid(self.uid)
            .description(says.of(language))
            .tags(["labelwatch", language])
            .timezone("browser")
            .readonly()
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .time(since, "now")
            .refresh(refresh)
            .with_variable(
                dashboard.DatasourceVariable("datasource")
                .label(Words("Data source", "数据源").of(language))
                .type("prometheus")
            )
        )
        super().__init__(made, language, of, window)

    @property
    def uid(self) -> str:
        """Stable name, in addresses and of the file."""
        return f"labelwatch-{self._name}{self._edition}"

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

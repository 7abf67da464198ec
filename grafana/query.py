"""What panels ask: a signal, declared once, and how one panel shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.words import Words

#: Values, ranges `1..2` or `nothing`, and the words and colour that are shown for them.
ValueWords = Mapping[Any, tuple[Words | str, str | None]]


@dataclass(frozen=True, slots=True)
class BoardSignal:
    """One measurement, declared once and used by any panel.

    Attributes:
        name: What it is called, in a legend or at the head of a column.
        says: What it is, and what a bad value means.
        expr: PromQL. `<of>` is replaced by the matchers of the sites meant, `<window>` by the length of the window.
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

"""What every panel is drawn on: templates, sizes, the board's variables and annotations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from streams.views.preview.answers import Annotation
from streams.views.preview.fields import Moment
from streams.views.preview.variables import VariableScope

PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
#: At the head of each page.
APPROXIMATION = {
    "en": "details differ from Grafana's picture",
    "zh": "细节与 Grafana 的画面有别",
}
NO_DATA = {"en": "No data", "zh": "无数据"}


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a panel is drawn on, and what it must know of its board.

    Attributes:
        width: Of its content, pixels.
        height: Of its content, pixels.
        scope: Variables, for texts.
        moment: The time from which ages are counted.
        language: Of the page's own words.
        marks: Annotations.
    """

    width: int
    height: int
    scope: VariableScope = field(default_factory=VariableScope)
    moment: Moment = field(default_factory=Moment)
    language: str = "en"
    marks: Sequence[Annotation] = ()


def render(name: str, **context: Any) -> Markup:
    """A template of this folder's, escaped."""
    return Markup(PAGES.get_template(f"{name}.html").render(**context))

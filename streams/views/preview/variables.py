"""A board's variables: their values now, and putting them into queries and titles."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from schemas.text import choice
from streams.views.preview.errors import PreviewError
from streams.views.preview.prometheus import Prometheus
from streams.views.preview.times import TimeRange

ALL = "$__all"
_NAME = re.compile(r"\$(\w+)|\$\{(\w+)(?:\.[\w.]+)?(?::([\w:]+))?\}|\[\[(\w+)(?::(\w+))?\]\]")
_LABEL_VALUES = re.compile(r"label_values\(\s*(?:(?P<selector>.+),)?\s*(?P<label>\w+)\s*\)", re.DOTALL)
_QUERY_RESULT = re.compile(r"query_result\((?P<query>.+)\)", re.DOTALL)
_METRICS = re.compile(r"metrics\((?P<pattern>.*)\)", re.DOTALL)
_REGEX_SPECIAL = re.compile(r"[\\^$.*+?()\[\]{}|/]")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable with what is chosen.

    Attributes:
        name: Without `$`.
        label: Shown at the top of the board.
        chosen: The chosen values; all there are for "All" without an `all_value`.
        all_value: What a query has for "All"; taken as it is.
        is_all: "All" is chosen.
        is_multi: More than one may be chosen, so that queries match it by a regular expression.
        is_hidden: Not shown at the top.
        shown: What stands at the top.
    """

    name: str
    label: str
    chosen: tuple[str, ...]
    all_value: str = ""
    is_all: bool = False
    is_multi: bool = False
    is_hidden: bool = False
    shown: str = ""

    def in_query(self, form: str = "") -> str:
        """As Grafana puts it into PromQL."""
        if self.is_all and self.all_value:
            return self.all_value
        if form:
            return _FORMS.get(form, _piped)(self.chosen)
        if not self.is_multi:
            return "".join(self.chosen).replace("\\", "\\\\").replace('"', '\\"')
        words = [_regex(value) for value in self.chosen]
        return words[0] if len(words) == 1 else f"({'|'.join(words)})"

    def in_text(self, form: str = "") -> str:
        """As a title shows it."""
        return self.shown if form in ("", "text") else _FORMS.get(form, _piped)(self.chosen)


def _regex(value: str) -> str:
    # Once for the regular expression, once for the string that it is in.
    return _REGEX_SPECIAL.sub(lambda match: f"\\{match[0]}", value).replace("\\", "\\\\").replace('"', '\\"')


def _piped(values: Sequence[str]) -> str:
    return "|".join(values)


_FORMS: dict[str, Callable[[Sequence[str]], str]] = {
    "raw": ",".join,
    "csv": ",".join,
    "text": " + ".join,
    "pipe": _piped,
    "regex": lambda values: "|".join(map(_regex, values)),
    "queryparam": lambda values: "&".join(quote(value) for value in values),
    "percentencode": lambda values: quote(",".join(values)),
    "doublequote": lambda values: ",".join(f'"{value}"' for value in values),
    "singlequote": lambda values: ",".join(f"'{value}'" for value in values),
}


@dataclass(slots=True)
class VariableScope:
    """Values by name: the board's variables, and those that Grafana has of itself."""

    variables: dict[str, Variable] = field(default_factory=dict)
    built_in: dict[str, str] = field(default_factory=dict)

    def query(self, text: str) -> str:
        """A query with every known name put in."""
        return self._put(text, lambda variable, form: variable.in_query(form))

    def text(self, text: str) -> str:
        """A title or a description."""
        return self.text_with(text, str)

    def text_with(self, text: str, make_safe: Callable[[str], str]) -> str:
        """The same, each value made safe for where it goes."""
        return self._put(text, lambda variable, form: make_safe(variable.in_text(form)))

    def with_built_in(self, **more: str) -> "VariableScope":
        """The same with more of Grafana's own names."""
        return VariableScope(self.variables, {**self.built_in, **more})

    def _put(self, text: str, put: Callable[[Variable, str], str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2] or match[4]
            if name in self.built_in:
                return self.built_in[name]
            if name in self.variables:
                return put(self.variables[name], match[3] or match[5] or "")
            return match[0]

        return _NAME.sub(value, text)


def resolve(
    declared: Sequence[Mapping[str, Any]], given: Mapping[str, Sequence[str]], prometheus: Prometheus, window: TimeRange
) -> dict[str, Variable]:
    """The value of each variable, in the board's order, as one may use those before it.

    Args:
        declared: The board's `templating.list`.
        given: Values that a person has chosen, by name.
        prometheus: Who knows the values.
        window: The board's time range.

    Raises:
        PreviewError: A kind of variable or of its query that is not known here.
    """
    scope = VariableScope(built_in=range_names(window))
    for each in declared:
        name, kind = each["name"], each["type"]
        if kind not in _KINDS:
            raise PreviewError(f"variable {name!r} is of the kind {kind!r}: use {choice(sorted(_KINDS))}")
        options = _KINDS[kind](each, scope, prometheus, window)
        scope.variables[name] = _chosen(each, options, given.get(name))
    return scope.variables


def _chosen(declared: Mapping[str, Any], options: list[str], given: Sequence[str] | None) -> Variable:
    current = declared.get("current") or {}
    value = current.get("value", "")
    wanted = list(given) if given else value if isinstance(value, list) else [value]
    include_all = bool(declared.get("includeAll"))
    is_all = include_all and (ALL in wanted or (not given and not any(wanted)))
    if is_all:
        wanted = options
    elif not given and not set(wanted) & set(options) and options:
        wanted = options[:1]
    wanted = [str(value) for value in wanted]
    texts = current.get("text", "")
    shown = "All" if is_all else " + ".join(wanted)
    if is_all and isinstance(texts, (str, list)) and texts and not given:
        shown = texts if isinstance(texts, str) else " + ".join(texts)
    return Variable(
        declared["name"],
        declared.get("label") or declared["name"],
        tuple(wanted),
        str(declared.get("allValue") or ""),
        is_all,
        bool(declared.get("multi")) or include_all,
        declared.get("hide") in (2, "hideVariable") or declared["type"] in ("datasource", "constant"),
        shown,
    )


def range_names(window: TimeRange) -> dict[str, str]:
    """Grafana's own names that depend on the time range alone."""
    seconds = max(round(window.seconds), 1)
    return {
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__range_ms": str(seconds * 1000),
        "__from": str(round(window.start * 1000)),
        "__to": str(round(window.end * 1000)),
    }


def _query(declared: Mapping[str, Any], scope: VariableScope, prometheus: Prometheus, window: TimeRange) -> list[str]:
    asked = declared.get("query") or declared.get("definition") or ""
    text = scope.query(str(asked.get("query", "") if isinstance(asked, dict) else asked).strip())
    if match := _LABEL_VALUES.fullmatch(text):
        selector = (match["selector"] or "").strip()
        found = prometheus.label_values(match["label"], selector, window.start, window.end)
    elif match := _QUERY_RESULT.fullmatch(text):
        found = [_as_text(each) for each in prometheus.instant(match["query"], window.end)]
    elif match := _METRICS.fullmatch(text):
        names = prometheus.label_values("__name__", "", window.start, window.end)
        found = [name for name in names if re.search(match["pattern"] or "", name)]
    else:
        raise PreviewError(
            f"variable {declared['name']!r} asks {text!r}: use label_values(), query_result() or metrics()"
        )
    return _ordered(_matched(found, declared.get("regex") or ""), declared.get("sort") or 0)


def _as_text(series: Mapping[str, Any]) -> str:
    metric = dict(series["metric"])
    name = metric.pop("__name__", "")
    labels = ",".join(f'{key}="{value}"' for key, value in sorted(metric.items()))
    at, value = series["value"]
    return f"{name}{{{labels}}} {value} {round(float(at) * 1000)}"


def _matched(found: list[str], regex: str) -> list[str]:
    if not regex:
        return list(dict.fromkeys(found))
    pattern = re.compile(regex.strip("/").replace("(?<", "(?P<"))
    matches = [match for value in found if (match := pattern.search(value))]
    return list(dict.fromkeys(match.group(1) if pattern.groups else match.group(0) for match in matches))


def _ordered(values: list[str], sort: int | str) -> list[str]:
    if sort in (0, "disabled"):
        return values
    return sorted(values, reverse=sort in (2, 4, 6, "alphabeticalDesc"))


def _written(
    declared: Mapping[str, Any], _scope: VariableScope, _prometheus: Prometheus, _window: TimeRange
) -> list[str]:
    """`24h,7d` or `One : 1,Two : 2`."""
    parts = [part.strip() for part in str(declared.get("query") or "").split(",")]
    return [part.rpartition(" : ")[2].strip() for part in parts if part]


def _one(declared: Mapping[str, Any], _scope: VariableScope, _prometheus: Prometheus, _window: TimeRange) -> list[str]:
    return [str(declared.get("query") or "")]


_KINDS: dict[str, Callable[[Mapping[str, Any], VariableScope, Prometheus, TimeRange], list[str]]] = {
    "query": _query,
    "custom": _written,
    "interval": _written,
    "constant": _one,
    "textbox": _one,
    "datasource": _one,
}

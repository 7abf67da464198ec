"""PromQL as a tree: its selectors, its comparisons with numbers, and the bare figure that is compared."""

from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

import promql_parser

_OPERATORS = {"==", "!=", ">", "<", ">=", "<="}
#: Which value of a while is taken: not what figure it is.
_WHICH = {"last_over_time", "min_over_time", "max_over_time", "avg_over_time"}


class Comparison(NamedTuple):
    """A figure, an operator and a number."""

    figure: str
    operator: str
    number: float


def nodes(expr: str | Any) -> Iterator[Any]:
    """Every node of an expression, from the top."""
    node = promql_parser.parse(expr) if isinstance(expr, str) else expr
    yield node
    if isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.Call):
        for each in node.args:
            yield from nodes(each)
    else:
        for name in ("lhs", "rhs", "expr", "param"):
            inner = getattr(node, name, None)
            if inner is not None and not isinstance(inner, str):
                yield from nodes(inner)


def selectors(expr: str) -> Iterator[Any]:
    """Every selector of an expression."""
    return (node for node in nodes(expr) if isinstance(node, promql_parser.VectorSelector))


def comparisons(expr: str, recorded: Mapping[str, str], known: Set[str] = frozenset()) -> Iterator[Comparison]:
    """What an expression compares with numbers.

    Args:
        expr: PromQL.
        recorded: Recorded series and their rules, for which these are taken.
        known: Recorded series that are figures themselves.
    """
    for node in nodes(expr):
        if isinstance(node, promql_parser.BinaryExpr) and str(node.op) in _OPERATORS:
            number = _number(node.rhs)
            if number is not None:
                yield Comparison(bare(node.lhs, recorded, known), str(node.op), number)


def bare(node: str | Any, recorded: Mapping[str, str], known: Set[str] = frozenset()) -> str:
    """A figure without matchers, without what brings series together, and without the choice of a value in time."""
    if isinstance(node, str):
        node = promql_parser.parse(node)

    def inner(each: Any) -> str:
        return bare(each, recorded, known)

    if isinstance(node, promql_parser.ParenExpr | promql_parser.AggregateExpr | promql_parser.SubqueryExpr):
        return inner(node.expr)
    if isinstance(node, promql_parser.MatrixSelector):
        return inner(node.vector_selector)
    if isinstance(node, promql_parser.VectorSelector):
        if node.name and node.name in recorded and node.name not in known:
            rest = {name: rule for name, rule in recorded.items() if name != node.name}
            return bare(recorded[node.name], rest, known)
        return node.name or str(node.matchers)
    if isinstance(node, promql_parser.NumberLiteral):
        return f"{node.val:g}"
    if isinstance(node, promql_parser.UnaryExpr):
        return f"-{inner(node.expr)}"
    if isinstance(node, promql_parser.BinaryExpr):
        return f"{inner(node.lhs)} {node.op} {inner(node.rhs)}"
    if isinstance(node, promql_parser.Call):
        if node.func.name in _WHICH:
            return inner(node.args[0])
        ranges = [f"[{promql_parser.display_duration(each.range)}]" for each in node.args if hasattr(each, "range")]
        return f"{node.func.name}({', '.join(map(inner, node.args))}{''.join(ranges)})"
    return str(node)


def _number(node: Any) -> float | None:
    """The value of a number, or of a product of numbers."""
    if isinstance(node, promql_parser.NumberLiteral):
        return float(node.val)
    if isinstance(node, promql_parser.UnaryExpr):
        number = _number(node.expr)
        return None if number is None else -number
    if isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "*":
        left, right = _number(node.lhs), _number(node.rhs)
        return None if left is None or right is None else left * right
    return None

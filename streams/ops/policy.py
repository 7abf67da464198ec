"""`labelwatch policy check`: the policy as it applies, scope by scope, for reading."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.text import Text

from detectors.budget import DAYS_A_MONTH, delay_reviews, run_length
from schemas.drift import BUDGET_OF, BUDGETS
from schemas.policy import Policy
from schemas.text import visible
from streams.views import fold
from streams.views.fold import FoldedColumn
from streams.views.reading import span

if TYPE_CHECKING:
    # Without a history this command needs no engine, which takes a second to load.
    from streams.engine.partition import PartitionEngine

_NUMBERS = ("accuracy", "QA", "critical", "util.", "s/label", "hours", "reviews")


def print_policy(policy: Policy, source: str, console: Console) -> None:
    """Writes every scope that the file names with the numbers that apply there, the sites, and the budget."""
    rows = []
    for scope in policy.scopes():
        targets = policy.resolve(*scope)
        numbers = (
            *(_percent(ratio) for ratio in (targets.accuracy, targets.qa_accuracy)),
            *(_percent(ratio) for ratio in (targets.critical_error, targets.utilization)),
            f"{targets.handle_seconds:g}",
            f"{targets.turnaround_target_seconds / 3600:g}",
            f"{targets.min_reviews:,}",
        )
        rows.append((*(name or "any" for name in scope), *numbers))
    _print_table(f"Targets of {source}, resolved", ("site", "project", "market"), _NUMBERS, rows, console)
    if policy.sites():
        rows = [(site, policy.vendor(site), policy.timezone(site)) for site in policy.sites()]
        _print_table("Sites", ("site", "vendor", "time zone"), (), rows, console)
    for line in _rules(policy):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_table(
    title: str, names: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]], console: Console
) -> None:
    """Writes a table that keeps every column: the last numbers go below their rows first."""
    console.print(Text(title, style="italic"))
    columns = [FoldedColumn(name, folds=True) for name in names]
    columns += [FoldedColumn(name, right=True, goes=place) for place, name in enumerate(numbers)]
    for part in fold.lines(columns, [[Text(visible(cell)) for cell in row] for row in rows], console.width, gap=1):
        console.print(part)


def _rules(policy: Policy) -> list[str]:
    oncall = policy.oncall
    return [
        "QA: target of QAs' accuracy; critical: most critical errors allowed; hours: longest from a task's "
        "arrival to its label; reviews: fewest for a ratio.",
        "A scope without numbers of its own: its project's at any site, else its site's, else the first line.",
        f"Headline accuracy: reviews of {', '.join(sorted(policy.headline_sources))}.",
        f"Logged-in time: {', '.join(sorted(policy.logged_in))}.",
        f"On-call budget, over all streams together: {oncall.false_pages_per_month:g} false pages and "
        f"{oncall.false_tickets_per_month:g} false tickets a month.",
    ]


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.6g}%"


#: Rises, in ratio points, whose delay is shown.
_POINTS = (0.02, 0.05, 0.10)
#: Reviews a month that a site is assumed to have where no history says.
ASSUMED_A_MONTH = 4_000.0
#: So many streams of one kind are listed one by one.
_SHOWN = 12


class WatchedStream(NamedTuple):
    """A stream that a budget watches over.

    Attributes:
        name: Whose: site, project, person and signal.
        budget: `page` or `ticket`.
        a_month: Reviews a month.
        run_length: Promised mean number of reviews to a false alarm.
        error_rate: What it is held to, 0 to 1.
        design_effect: How much errors come in clusters: as many reviews say as much as one independent one.
    """

    name: str
    budget: str
    a_month: float
    run_length: float
    error_rate: float
    design_effect: float = 1.0


def watched_in(engine: "PartitionEngine") -> list[WatchedStream]:
    """The streams of a history that an engine has read, with their volumes at its end."""
    return [
        WatchedStream(
            " ".join(part for part in (stream.site, stream.project, stream.agent, stream.signal) if part),
            BUDGET_OF[stream.signal],
            a_month,
            length,
            rate,
            effect,
        )
        for stream, a_month, length, rate, effect in engine.detection_plan()
        if stream.direction == "down"
    ]


def watched_by_name(policy: Policy, a_month: float) -> list[WatchedStream]:
    """The sites and projects that a policy names, each site with so many reviews a month, shared by its projects."""
    scopes = [(site, project) for site, project, market in policy.scopes() if site and not market]
    scopes = scopes or [(f"site {number}", "") for number in range(1, 6)]
    pages = []
    for site, project in scopes:
        siblings = sum(1 for other in scopes if other[0] == site and other[1]) if project else 1
        targets = policy.resolve(site, project)
        volume = a_month / siblings
        length = run_length(volume, len(scopes), policy.oncall.false_pages_per_month)
        pages.append(
            WatchedStream(f"{site} {project}".strip() + " accuracy", "page", volume, length, 1 - targets.accuracy)
        )
    return pages


def print_budget(watched: Sequence[WatchedStream], console: Console) -> None:
    """Writes what the budgets buy: for each stream how soon a drop of 2, 5 and 10 points is found."""
    for budget in BUDGETS:
        streams = sorted((each for each in watched if each.budget == budget), key=lambda each: -each.a_month)
        if not streams:
            continue
        title = f"What the budget of {budget}s buys: a drop is found after so many reviews, about so long"
        # Without a history nothing is known of clusters.
        effects = ("design effect",) if any(each.design_effect > 1 for each in streams) else ()
        rows = []
        numbers = ("reviews a month", "one false in", *effects, *(f"{points * 100:.0f} points" for points in _POINTS))
        for each in streams[:_SHOWN]:
            cells = [f"{each.design_effect:.1f}"] if effects else []
            for points in _POINTS:
                reviews = delay_reviews(each.error_rate, points, each.run_length, design_effect=each.design_effect)
                seconds = reviews / max(each.a_month, 1.0) * DAYS_A_MONTH * 86_400
                cells.append(f"{reviews:,.0f} ({span(seconds)})" if math.isfinite(reviews) else "-")
            rows.append((each.name, f"{each.a_month:,.0f}", f"{each.run_length:,.0f}", *cells))
        _print_table(title, ("stream",), numbers, rows, console)
        if len(streams) > _SHOWN:
            console.print(f"and {len(streams) - _SHOWN:,} more, with fewer reviews", highlight=False)
    if any(each.design_effect > 1 for each in watched):
        console.print(
            "Design effect: errors come in clusters, and so many reviews tell what one would alone; the delays "
            "reckon with it. It is measured for sites and projects; a single person's reviews are too few.",
            highlight=False,
        )

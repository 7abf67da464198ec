"""`labelwatch policy check`: the policy as it applies, scope by scope, for reading."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.policy import Policy, Shift

_NUMBERS = ("accuracy", "QA", "critical", "util.", "s/label", "reviews")


def print_policy(policy: Policy, source: str, console: Console) -> None:
    """Writes every scope that the file names with the numbers that apply there, the sites, and the budget."""
    scopes = _table(f"Targets of {source}, resolved")
    for heading in ("site", "project", "market"):
        scopes.add_column(heading, overflow="fold")
    for heading in _NUMBERS:
        scopes.add_column(heading, justify="right")
    for scope in policy.scopes():
        targets = policy.resolve(*scope)
        numbers = (
            *(_percent(ratio) for ratio in (targets.accuracy, targets.qa_accuracy)),
            *(_percent(ratio) for ratio in (targets.critical_error, targets.utilization)),
            f"{targets.handle_seconds:g}",
            f"{targets.min_reviews:,}",
        )
        scopes.add_row(*(Text(name or "any") for name in scope), *numbers)
    console.print(scopes)
    if policy.sites():
        sites = _table("Sites")
        for heading in ("site", "vendor", "time zone", "shifts"):
            sites.add_column(heading, overflow="fold")
        for site in policy.sites():
            shifts = "; ".join(map(_shift, policy.shifts(site)))
            sites.add_row(*map(Text, (site, policy.vendor(site), policy.timezone(site), shifts)))
        console.print(sites)
    for line in _rules(policy):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(
        title=Text(title), title_justify="left", box=None, padding=(0, 1), collapse_padding=True, pad_edge=False
    )


def _rules(policy: Policy) -> list[str]:
    oncall = policy.oncall
    return [
        "QA: target of QAs' accuracy; critical: most critical errors allowed; reviews: fewest for a ratio.",
        "A scope without numbers of its own: its project's at any site, else its site's, else the first line.",
        f"Headline accuracy: reviews of {', '.join(sorted(policy.headline_sources))}.",
        f"Logged-in time: {', '.join(sorted(policy.logged_in))}.",
        f"On-call budget, over all streams together: {oncall.false_pages_per_month:g} false pages and "
        f"{oncall.false_tickets_per_month:g} false tickets a month.",
    ]


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.6g}%"


def _shift(shift: Shift) -> str:
    return f"{shift.name} {shift.start} to {shift.end}, {shift.days}"

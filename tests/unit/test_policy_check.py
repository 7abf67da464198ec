"""`labelwatch policy check`: every scope that a file names, with the numbers that apply there."""

import io

from rich.console import Console

from schemas.policy import Policy
from streams.ops.policy import WatchedStream, print_budget, print_policy

TEXT = """
[oncall]
false_pages_per_month = 2
[site.manila-1]
vendor = "acme [b]"
accuracy_target = 0.96
timezone = "Asia/Manila"
[project.counterfeit]
accuracy_target = 0.97
[project.counterfeit.market.US]
min_reviews = 1050
[site.manila-1.project.counterfeit]
accuracy_target = 0.975
"""


def shown(text: str, width: int = 80) -> list[str]:
    out = io.StringIO()
    print_policy(Policy.parse(text), "policy.toml", Console(file=out, width=width))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_each_scope_named_has_the_numbers_that_apply_there_and_fits_80_columns() -> None:
    lines = shown(TEXT)
    assert "any any any 95% 98% 0.5% 80% 45 24 30" in lines
    assert "any counterfeit any 97% 98% 0.5% 80% 45 24 30" in lines
    assert "any counterfeit US 97% 98% 0.5% 80% 45 24 1,050" in lines
    assert "manila-1 any any 96% 98% 0.5% 80% 45 24 30" in lines
    assert "manila-1 counterfeit any 97.5% 98% 0.5% 80% 45 24 30" in lines


def test_a_site_shows_vendor_and_zone() -> None:
    assert "manila-1 acme [b] Asia/Manila" in shown(TEXT)
    assert "Sites" not in shown("")


def test_the_budget_stands_as_written_or_by_default() -> None:
    assert "2 false pages and 8 false tickets a month." in " ".join(shown(TEXT))
    assert "1 false pages and 8 false tickets a month." in " ".join(shown(""))


def test_scopes_come_widest_first_and_each_once() -> None:
    assert Policy.parse(TEXT).scopes() == [
        ("", "", ""),
        ("", "counterfeit", ""),
        ("", "counterfeit", "US"),
        ("manila-1", "", ""),
        ("manila-1", "counterfeit", ""),
    ]


def bought(*streams: WatchedStream) -> str:
    out = io.StringIO()
    print_budget(streams, Console(file=out, width=120))
    return " ".join(out.getvalue().split())


def test_clusters_are_said_and_reckoned_with() -> None:
    alone = bought(WatchedStream("manila-1 accuracy", "page", 4000, 24_000, 0.05))
    assert "design effect" not in alone.lower()
    clustered = bought(WatchedStream("manila-1 accuracy", "page", 4000, 24_000, 0.05, 4.2))
    assert "design effect" in clustered
    assert " 4.2 " in clustered
    delays = [
        int(each.split("manila-1 accuracy ")[1].split(" (")[0].split()[-1].replace(",", ""))
        for each in (alone, clustered)
    ]
    assert delays[1] > 2.5 * delays[0]


def test_a_rise_that_cannot_be_has_no_delay() -> None:
    shown = bought(WatchedStream("manila-1 accuracy", "page", 4000, 24_000, 0.94))
    assert shown.split("24,000")[1].split()[-1] == "-"

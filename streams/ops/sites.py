"""`labelwatch sites`: which sites a worker has, how much of the limits each uses; and how a site is removed."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from schemas.policy import OTHER, Policy, PolicyError
from schemas.text import visible
from streams.ops.errors import WRONG_USE, CommandError
from streams.views import fold
from streams.views.fold import FoldedColumn
from streams.views.reading import span
from streams.views.samples import Samples

_COUNTED = ("labelwatch_labels_total", "labelwatch_skips_total", "labelwatch_reviews_total")
_TABLE = re.compile(r"^[ \t]*\[limits\][ \t]*(?:#.*)?\r?$", re.MULTILINE)
_NEXT_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*removed_sites[ \t]*=[ \t]*\[", re.MULTILINE)


#: All that is read of a page: at the limits it is a tenth of it, and a worker there is busy.
READ = frozenset(
    {
        *_COUNTED,
        "labelwatch_site_info",
        "labelwatch_site_last_event_timestamp_seconds",
        "labelwatch_site_first_event_timestamp_seconds",
        "labelwatch_policy_scope_missing",
        "labelwatch_limit",
        "labelwatch_limit_used",
    }
)


class SiteUse(NamedTuple):
    """A site, and how much of the limits it uses.

    Attributes:
        site: Its id.
        first_seconds: Time of its first event; None where that is not known.
        last_seconds: Time of its newest event.
        events: Labels, skips and reviews, as last checkpointed.
        combinations: Projects by market that have figures of their own.
        named: Whether the policy names it; never `other`, which counts the sites beyond the limits.
    """

    site: str
    first_seconds: float | None
    last_seconds: float | None
    events: int
    combinations: int
    named: bool


def read_sites(samples: Samples) -> list[SiteUse]:
    """The sites on a page, those with the most combinations first: made-up names stand out."""
    events: dict[str, float] = {}
    combinations: dict[str, set[tuple[str, str]]] = {}
    for name in _COUNTED:
        # Two workers may show a site during a hand-over; the greatest is the whole.
        greatest: dict[tuple[tuple[str, str], ...], float] = {}
        for labels, value in samples.select(name):
            key = tuple(sorted(labels.items()))
            greatest[key] = max(greatest.get(key, 0.0), value)
        for key, value in greatest.items():
            of = dict(key)
            events[of["site"]] = events.get(of["site"], 0.0) + value
            combinations.setdefault(of["site"], set()).add((of.get("project", ""), of.get("market", "")))
    first = _greatest_by_site(samples, "labelwatch_site_first_event_timestamp_seconds")
    last = _greatest_by_site(samples, "labelwatch_site_last_event_timestamp_seconds")
    missing = _greatest_by_site(samples, "labelwatch_policy_scope_missing")
    found = []
    for site in _greatest_by_site(samples, "labelwatch_site_info"):
        use = int(events.get(site, 0)), len(combinations.get(site, ()))
        found.append(SiteUse(site, first.get(site), last.get(site), *use, missing.get(site) == 0))
    return sorted(found, key=lambda use: (-use.combinations, -use.events, use.site))


def _greatest_by_site(samples: Samples, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, value in samples.select(name):
        found[labels["site"]] = max(found.get(labels["site"], value), value)
    return found


def read_limits(samples: Samples) -> list[str]:
    """A sentence for each limit: how much the fullest partition uses of its share."""
    fullest: dict[str, tuple[float, float, float, str]] = {}
    for labels, used in samples.select("labelwatch_limit_used"):
        limit = samples.value("labelwatch_limit", **labels)
        if limit:
            full = used / limit, used, limit, labels["partition"]
            fullest[labels["kind"]] = max(fullest.get(labels["kind"], full), full)
    return [
        f"{kind}: partition {partition} uses {used:,.0f} of its {limit:,.0f} ({share:.0%})"
        for kind, (share, used, limit, partition) in sorted(fullest.items())
    ]


def as_json(sites: Sequence[SiteUse]) -> str:
    """The sites as a JSON array."""
    return json.dumps([use._asdict() for use in sites], ensure_ascii=False, indent=2)


def print_sites(sites: Sequence[SiteUse], limits: Sequence[str], now_seconds: float, console: Console) -> None:
    """Writes the sites as a table, and the limits below."""
    columns = [
        FoldedColumn("site", folds=True),
        FoldedColumn("events", right=True),
        FoldedColumn("combinations", right=True),
        FoldedColumn("first event", right=True),
        FoldedColumn("last event", right=True),
        FoldedColumn("policy", goes=1),
    ]
    rows = [
        (
            visible(use.site),
            f"{use.events:,}",
            f"{use.combinations:,}",
            _ago(use.first_seconds, now_seconds),
            _ago(use.last_seconds, now_seconds),
            "beyond limits" if use.site == OTHER else "named" if use.named else "unknown",
        )
        for use in sites
    ]
    for part in fold.lines(columns, [[Text(cell) for cell in row] for row in rows], console.width, gap=2):
        console.print(part)
    for line in limits:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _ago(at_seconds: float | None, now_seconds: float) -> str:
    return "unknown" if at_seconds is None else f"{span(max(now_seconds - at_seconds, 0.0))} ago"


def remove(site: str, file: Path) -> None:
    """Adds a site to `removed_sites` of a policy file; the rest of the file stays as it is.

    Raises:
        CommandError: The file cannot be used or written, the site is removed already, or the file is written in a way
            that this command cannot change.
    """
    if site == OTHER:
        raise CommandError(
            f"{OTHER!r} is no site: what is beyond the limits counts under it; remove the sites that take the room, or "
            "raise [limits] in the policy",
            WRONG_USE,
        )
    try:
        before = Policy.load(file)
        # As bytes: line ends stay as they are.
        text = file.read_bytes().decode("utf-8-sig")
    except (PolicyError, OSError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    if site in before.limits.removed_sites:
        raise CommandError(f"{site!r} is removed already in {file}; restart the workers that still show it", WRONG_USE)
    changed = _with_removed(text, json.dumps(site, ensure_ascii=False))
    try:
        removed = Policy.parse(changed, str(file)).limits.removed_sites
    except PolicyError:
        removed = []
    if removed != [*before.limits.removed_sites, site]:
        raise CommandError(f"{file}: add {json.dumps(site, ensure_ascii=False)} to removed_sites in [limits] by hand")
    try:
        # In place: a container to which this very file is mounted would go on seeing the one that it replaces.
        file.write_bytes(changed.encode())
    except OSError as error:
        raise CommandError(f"{file}: cannot be written ({error.strerror})") from error


def _with_removed(text: str, quoted: str) -> str:
    table = _TABLE.search(text)
    if table is None:
        return f"{text.rstrip()}\n\n[limits]\nremoved_sites = [{quoted}]\n".lstrip()
    end = _NEXT_TABLE.search(text, table.end())
    section = text[table.end() : end.start() if end else len(text)]
    found = _LIST.search(section)
    if found is None:
        return f"{text[: table.end()]}\nremoved_sites = [{quoted}]{text[table.end() :]}"
    start = table.end() + found.end()
    close = text.index("]", start)
    listed = text[start:close].rstrip()
    comma = "" if not listed.strip() or listed.endswith(",") else ", "
    return f"{text[:start]}{listed}{comma}{quoted}{text[close:]}"

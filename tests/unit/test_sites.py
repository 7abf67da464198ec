"""`labelwatch sites`: a table and JSON of what a page says, and removal that leaves the rest of a policy file alone."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from schemas.policy import Policy, PolicyError
from streams.ops.errors import CommandError
from streams.ops.sites import READ, SiteUse, as_json, print_sites, read_limits, read_sites, remove
from streams.views.samples import Samples


def page() -> Samples:
    samples = Samples()

    def add(name: str, value: float, **labels: str) -> None:
        samples.by_name.setdefault(f"labelwatch_{name}", []).append((labels, value))

    for worker in range(2):  # during a hand-over two of them show a site
        for site, market, labels in (("manila-1", "US", 90), ("manila-1", "FR", 10), ("forged‮", "x", 1)):
            add("labels_total", labels - worker, site=site, project="spam", market=market)
        add("reviews_total", 7, site="manila-1", project="spam", market="US", role="agent", source="qa")
        add("reviews_total", 3, site="manila-1", project="hate", market="US", role="qa", source="qa")
    for site, first in (("manila-1", 1_000.0), ("forged‮", 990_000.0)):
        add("site_info", 1, site=site, vendor="", timezone="UTC", partition="0")
        add("site_first_event_timestamp_seconds", first, site=site)
        add("site_last_event_timestamp_seconds", 995_000.0, site=site, type="label_submitted")
        add("site_last_event_timestamp_seconds", 999_970.0, site=site, type="label_reviewed")
        add("policy_scope_missing", site != "manila-1", site=site)
    for partition, used in (("0", 2), ("1", 100)):
        add("limit_used", used, kind="sites", topic="t", partition=partition)
        add("limit", 125, kind="sites", topic="t", partition=partition)
    return samples


def test_sites_with_the_most_combinations_come_first_each_once() -> None:
    manila, forged = read_sites(page())
    assert manila == SiteUse("manila-1", 1_000.0, 999_970.0, 110, 3, True)
    assert forged == ("forged‮", 990_000.0, 999_970.0, 1, 1, False)
    assert json.loads(as_json([manila]))[0] == {
        "site": "manila-1",
        "first_seconds": 1000.0,
        "last_seconds": 999970.0,
        "events": 110,
        "combinations": 3,
        "named": True,
    }


def test_nothing_is_asked_of_a_page_that_the_command_does_not_read() -> None:
    """Else what it reads only in part would show as missing."""
    assert set(page().by_name) | {"labelwatch_skips_total"} == READ


def test_a_table_fits_80_columns_and_hides_nothing() -> None:
    out = io.StringIO()
    print_sites(read_sites(page()), read_limits(page()), 1_000_000.0, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    shown = [" ".join(line.split()) for line in lines]
    assert "manila-1 110 3 12 d ago 30 s ago named" in shown
    assert any("forged" in line and "202e" in line and "‮" not in line for line in shown)
    assert "sites: partition 1 uses 100 of its 125 (80%)" in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '[limits]\nremoved_sites = ["a\\"b"]\n'),
        ("[site.x]\n", '[site.x]\n\n[limits]\nremoved_sites = ["a\\"b"]\n'),
        (
            "[limits]  # small\nsites = 5\n[site.x]\n",
            '[limits]  # small\nremoved_sites = ["a\\"b"]\nsites = 5\n[site.x]\n',
        ),
        ('[limits]\nremoved_sites = ["x"]\n', '[limits]\nremoved_sites = ["x", "a\\"b"]\n'),
        ('[limits]\nremoved_sites = [\n  "x",\n]\n', '[limits]\nremoved_sites = [\n  "x","a\\"b"]\n'),
        ("[limits]\r\nsites = 5\r\n", '[limits]\r\nremoved_sites = ["a\\"b"]\nsites = 5\r\n'),
    ],
)
def test_a_removed_site_is_added_and_the_rest_stays(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(text.encode())
    before = Policy.load(file).limits.removed_sites
    remove('a"b', file)
    assert Policy.load(file).limits.removed_sites == [*before, 'a"b']
    assert file.read_bytes().decode() == expected


def test_what_is_beyond_the_limits_is_no_site_that_a_policy_names_or_removes(tmp_path: Path) -> None:
    samples = Samples()
    samples.by_name["labelwatch_site_info"] = [({"site": "other"}, 1)]
    samples.by_name["labelwatch_labels_total"] = [({"site": "other", "project": "p", "market": ""}, 9)]
    (use,) = read_sites(samples)
    assert not use.named
    out = io.StringIO()
    print_sites([use], [], 1_000_000.0, Console(file=out, width=80))
    assert "beyond limits" in out.getvalue()
    file = tmp_path / "policy.toml"
    file.write_text("")
    with pytest.raises(CommandError, match="'other' is no site"):
        remove("other", file)
    assert file.read_text() == ""
    with pytest.raises(PolicyError, match="removed_sites: 'other' is no site"):
        Policy.parse('[limits]\nremoved_sites = ["x", "other"]')


def test_what_cannot_be_changed_is_refused_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    for text, why in (
        ('[limits]\nremoved_sites = ["a"]\n', "removed already"),
        ("limits = { sites = 5 }\n", "by hand"),
        ("[limits]\nsites = 0\n", "limits.sites = 0"),
    ):
        file.write_text(text)
        with pytest.raises(CommandError, match=why):
            remove("a", file)
        assert file.read_text() == text
    with pytest.raises(CommandError, match="cannot be read"):
        remove("a", tmp_path / "none.toml")

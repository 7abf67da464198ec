"""The page about the policy file shows a whole file, with the defaults that are in force."""

import tomllib
from pathlib import Path

import msgspec

from schemas.policy import Defaults, Detection, Oncall, Policy, Utilization

SHOWN = (Path(__file__).parents[2] / "docs/policy.md").read_text().split("```toml\n")[1].split("```")[0]


def test_the_file_shown_is_a_policy_and_scopes_win_as_the_page_says() -> None:
    policy = Policy.parse(SHOWN)
    targets = {
        ("manila-1", "counterfeit", "US"): 0.975,
        ("manila-1", "counterfeit", ""): 0.975,
        ("cebu-2", "counterfeit", "US"): 0.98,
        ("cebu-2", "counterfeit", "DE"): 0.97,
        ("manila-1", "other", ""): 0.96,
        ("cebu-2", "other", ""): 0.95,
    }
    assert {scope: policy.resolve(*scope).accuracy for scope in targets} == targets


def test_values_shown_as_defaults_are_the_defaults_and_none_is_missing() -> None:
    shown = tomllib.loads(SHOWN)
    for name, table in (
        ("oncall", Oncall()),
        ("defaults", Defaults()),
        ("utilization", Utilization()),
        ("detection", Detection()),
    ):
        assert msgspec.convert(shown[name], type(table)) == table
        assert shown[name].keys() == set(table.__struct_fields__)

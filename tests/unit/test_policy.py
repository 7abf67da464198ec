"""The policy file: precedence, defaults, and errors that name file, key, value and what is allowed."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.policy import Policy, PolicyError, fallback

CONTRACT = """
[oncall]
false_pages_per_month = 1
false_tickets_per_month = 8
[defaults]
accuracy_target = 0.95
qa_accuracy_target = 0.98
critical_error_target = 0.005
utilization_target = 0.80
handle_seconds_target = 45
min_reviews = 30
[site.manila-1]
vendor = "acme"
accuracy_target = 0.96
timezone = "Asia/Manila"
[project.counterfeit]
accuracy_target = 0.97
[site.manila-1.project.counterfeit]
accuracy_target = 0.975
[site.manila-1.project.counterfeit.market.US]
accuracy_target = 0.98
[utilization]
logged_in = ["productive", "available", "training", "meeting", "break"]
"""


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (("manila-1", "counterfeit", "US"), 0.98),
        (("manila-1", "counterfeit", "DE"), 0.975),
        (("manila-1", "counterfeit", ""), 0.975),
        (("lima-2", "counterfeit", "US"), 0.97),
        (("manila-1", "hate", "US"), 0.96),
        (("lima-2", "hate", ""), 0.95),
    ],
)
def test_the_narrowest_scope_that_says_something_wins(scope: tuple[str, str, str], target: float) -> None:
    policy = Policy.parse(CONTRACT)
    assert policy.resolve(*scope).accuracy == target
    assert policy.resolve(*scope).min_reviews == 30


def test_no_file_gives_the_documented_defaults() -> None:
    targets = Policy.load(None).resolve("anywhere")
    assert (targets.accuracy, targets.qa_accuracy, targets.critical_error) == (0.95, 0.98, 0.005)
    assert (targets.utilization, targets.handle_seconds, targets.min_reviews) == (0.80, 45.0, 30)
    assert not Policy.load(None).names_site("anywhere")


def test_a_site_carries_its_vendor_and_zone() -> None:
    policy = Policy.parse(CONTRACT)
    assert (policy.vendor("manila-1"), policy.timezone("manila-1")) == ("acme", "Asia/Manila")


@pytest.mark.parametrize(
    ("zone", "at_ms", "hours"),
    [
        ("Asia/Manila", 1_763_800_000_000, 8),
        ("Asia/Kolkata", 1_763_800_000_000, 5.5),
        # 2025-10-26T00:59:59Z and a second later: clocks in Berlin go back.
        ("Europe/Berlin", 1_761_440_399_000, 2),
        ("Europe/Berlin", 1_761_440_400_000, 1),
        ("America/Lima", 1_763_800_000_000, -5),
    ],
)
def test_the_offset_of_a_site_is_that_of_the_moment(zone: str, at_ms: int, hours: float) -> None:
    policy = Policy.parse(f"[site.s]\ntimezone = '{zone}'")
    assert policy.utc_offset_seconds("s", at_ms) == hours * 3600
    assert policy.utc_offset_seconds("unknown", at_ms) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[defaults]\naccuracy_target = 1.9", "defaults.accuracy_target = 1.9: not allowed; give a number above 0"),
        ("[site.x]\nacuracy_target = 0.9", "unknown key site.x.acuracy_target; did you mean accuracy_target?"),
        ("[site.a]\nvendor = 'b'\n[site.x]\naccuracy_target = '7'", "site.x.accuracy_target = '7'"),
        ("[utilization]\nlogged_in = ['sleeping']", "one of 'productive', 'available'"),
        ("[site.x]\ntimezone = 'Mars/North'", "site.x.timezone = 'Mars/North': no such time zone"),
        ("weighted = true", "weighted: nothing in this release reads it"),
        ("[severity]\ncritical = 4.0", "severity: nothing in this release reads it: a quality score weighted"),
        ("[ramp]\naccuracy = [0.9, 1.0]", "ramp: nothing in this release reads it: targets of new joiners"),
        ("[site.x]\nshifts = [{ name = 'day' }]", "site.x.shifts: nothing in this release reads it: staffing"),
        ("site = 3", "site = 3: not allowed; give a table"),
        ("a =", "not valid TOML"),
        ("[defaults]\nmin_reviews = 0", "give a whole number from 1 up to 1,000,000"),
        ("[defaults]\naccuracy_target = nan", "give a number above 0 and below 1"),
        (
            "[defaults]\nheadline_sources = []",
            "give a list, each one of 'qa', 'audit', 'consensus' or 'gold', not empty",
        ),
    ],
)
def test_an_error_names_file_key_value_and_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(text, "ours.toml")
    assert str(caught.value).startswith("ours.toml: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.toml: cannot be read"):
        Policy.load(tmp_path / "absent.toml")


# --- properties

SITES, PROJECTS, MARKETS = ("lima-2", "manila-1"), ("counterfeit", "hate"), ("DE", "US")
NUMBERS = {
    "accuracy_target": ("accuracy", st.floats(0.01, 0.99)),
    "utilization_target": ("utilization", st.floats(0, 1)),
    "handle_seconds_target": ("handle_seconds", st.floats(0.5, 3600)),
    "turnaround_target_seconds": ("turnaround_target_seconds", st.floats(1, 7_776_000)),
    "min_reviews": ("min_reviews", st.integers(1, 500)),
}
#: Every scope that a file can name, the narrowest first, as the precedence has it.
SCOPES = (
    *itertools.product(SITES, PROJECTS, MARKETS),
    *itertools.product(SITES, PROJECTS, ("",)),
    *itertools.product(("",), PROJECTS, MARKETS),
    *itertools.product(("",), PROJECTS, ("",)),
    *itertools.product(SITES, ("",), ("",)),
    ("", "", ""),
)


def heading(site: str, project: str, market: str) -> str:
    parts = [(kind, name) for kind, name in (("site", site), ("project", project), ("market", market)) if name]
    return f"[{'.'.join(f'{kind}.{name}' for kind, name in parts) or 'defaults'}]"


@given(st.data())
def test_each_number_comes_from_the_narrowest_scope_that_has_it(data: st.DataObject) -> None:
    given_numbers = {
        scope: data.draw(st.fixed_dictionaries({}, optional={key: values for key, (_, values) in NUMBERS.items()}))
        for scope in data.draw(st.lists(st.sampled_from(SCOPES), unique=True))
    }
    text = "\n".join(
        "\n".join([heading(*scope), *(f"{key} = {value!r}" for key, value in numbers.items())])
        for scope, numbers in given_numbers.items()
    )
    policy = Policy.parse(text)
    asked = data.draw(st.sampled_from(SCOPES))
    targets = policy.resolve(*asked)
    for key, (name, _) in NUMBERS.items():
        # The scopes of the file that hold what was asked for, in the order of precedence.
        fits = [scope for scope in SCOPES if all(part in ("", ours) for part, ours in zip(scope, asked, strict=True))]
        found = [given_numbers[scope][key] for scope in fits if key in given_numbers.get(scope, {})]
        assert getattr(targets, name) == (found[0] if found else getattr(Policy().resolve(), name))


KEYS = (
    *("defaults", "site", "project", "oncall", "severity", "ramp", "utilization", "site.x", "site.x.project"),
    *("site.x.project.p.market", "project.p", "defaults.accuracy_target", "defaults.min_reviews", "ramp.accuracy"),
    *("defaults.headline_sources", "utilization.logged_in", "severity.major", "site.x.shifts", "site.x.timezone"),
    *("site.x.vendor", "oncall.false_pages_per_month", "defaults.handle_seconds_target", "nothing.known"),
)
VALUES = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(lambda value: str(value).replace("1e+", "1e")),
    st.booleans().map(lambda value: str(value).lower()),
    st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\\"'"), max_size=20).map(repr),
    st.sampled_from(["[]", "[1, 'a']", "[[0.5]]", "{}", "{ a = 1 }", "1979-05-27", "07:32:00", "'../../etc/passwd'"]),
)


@settings(max_examples=500)
@given(st.sampled_from(KEYS), VALUES)
def test_any_value_is_taken_or_refused_in_one_sentence(key: str, value: str) -> None:
    text, said = f"{key} = {value}", ""
    try:
        targets = Policy.parse(text, "ours.toml").resolve("x", "p", "m")
    except PolicyError as error:
        said = str(error)
    if said:
        assert said.startswith("ours.toml: ")
        assert "\n" not in said
    else:
        assert 0 < targets.accuracy < 1
        assert targets.min_reviews >= 1
        assert 0 < targets.handle_seconds <= 86_400


_SCOPES = [
    (site, project, market)
    for site in ("", "a", "b", "c")
    for project in ("", "p", "q", "r")
    for market in ("", "US", "FR")
    if project or not market
]
#: Another key by scope, so that a wider scope's own number shines through.
_NUMBERS = st.tuples(st.sampled_from(("accuracy", "qa_accuracy", "utilization")), st.sampled_from((0.5, 0.6, 0.7)))


@given(st.dictionaries(st.sampled_from([scope for scope in _SCOPES if any(scope)]), _NUMBERS, max_size=7))
def test_whoever_falls_back_to_an_exported_scope_finds_the_numbers_that_apply(
    numbers: dict[tuple[str, str, str], tuple[str, float]],
) -> None:
    lines = []
    for scope, (kind, target) in numbers.items():
        path = ".".join(f"{of}.{name}" for of, name in zip(("site", "project", "market"), scope, strict=True) if name)
        lines += [f"[{path}]", f"{kind}_target = {target}"]
    policy = Policy.parse("\n".join(lines))
    exported = policy.exported_scopes()
    assert set(policy.scopes()) <= set(exported)
    for scope in _SCOPES:
        assert policy.resolve(*scope) == policy.resolve(*fallback(scope, exported)), (scope, exported)


def test_a_scope_that_no_policy_names_is_not_exported() -> None:
    policy = Policy.parse("[site.a]\naccuracy_target = 0.9\n[project.p]\nqa_accuracy_target = 0.9\n")
    assert policy.exported_scopes() == [("", "", ""), ("", "p", ""), ("a", "", ""), ("a", "p", "")]
    assert Policy().exported_scopes() == [("", "", "")]

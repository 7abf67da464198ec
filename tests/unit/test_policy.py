import pytest

from schemas.policy import Policy, PolicyError

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
shifts = [{ name = "day", start = "08:00", end = "17:00", days = "mon-fri" }]
[project.counterfeit]
accuracy_target = 0.97
[site.manila-1.project.counterfeit]
accuracy_target = 0.975
[site.manila-1.project.counterfeit.market.US]
accuracy_target = 0.98
[utilization]
logged_in = ["productive", "available", "training", "meeting", "break"]
[severity]
minor = 0.25
major = 1.0
critical = 4.0
[ramp]
accuracy   = [0.90, 0.95, 0.98, 1.0]
throughput = [0.40, 0.60, 0.80, 1.0]
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
def test_the_narrowest_scope_that_says_something_wins(scope: tuple[str, str, str], target: float):
    policy = Policy.parse(CONTRACT)
    assert policy.resolve(*scope).accuracy == target
    assert policy.resolve(*scope).min_reviews == 30


def test_no_file_gives_the_documented_defaults():
    targets = Policy.load(None).resolve("anywhere")
    assert (targets.accuracy, targets.qa_accuracy, targets.critical_error) == (0.95, 0.98, 0.005)
    assert (targets.utilization, targets.handle_seconds, targets.min_reviews) == (0.80, 45.0, 30)
    assert not Policy.load(None).names_site("anywhere")


def test_a_site_carries_its_vendor_zone_and_shifts():
    policy = Policy.parse(CONTRACT)
    assert (policy.vendor("manila-1"), policy.timezone("manila-1")) == ("acme", "Asia/Manila")
    assert [(shift.start, shift.end, shift.days) for shift in policy.shifts("manila-1")] == [
        ("08:00", "17:00", "mon-fri")
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[defaults]\naccuracy_target = 1.9", "defaults.accuracy_target = 1.9: not allowed; give a number above 0"),
        ("[site.x]\nacuracy_target = 0.9", "unknown key site.x.acuracy_target; did you mean accuracy_target?"),
        ("[site.a]\nvendor = 'b'\n[site.x]\naccuracy_target = '7'", "site.x.accuracy_target = '7'"),
        ("[site.x]\nshifts = [{ name = 'a', start = '25:00', end = '09:00' }]", "a time of day as 'HH:MM'"),
        ("[site.x]\nshifts = [{ name = 'a', start = '23:00' }]", "site.x.shifts.0: end must be given"),
        ("[utilization]\nlogged_in = ['sleeping']", "one of 'productive', 'available'"),
        ("[site.x]\ntimezone = 'Mars/North'", "site.x.timezone = 'Mars/North': no such time zone"),
        ("weighted = true", "weighted"),
        ("site = 3", "site = 3: not allowed; give a table"),
        ("a =", "not valid TOML"),
    ],
)
def test_an_error_names_file_key_value_and_what_is_allowed(text: str, says: str):
    with pytest.raises(PolicyError) as caught:
        Policy.parse(text, "ours.toml")
    assert str(caught.value).startswith("ours.toml: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PolicyError, match=r"absent\.toml: cannot be read"):
        Policy.load(tmp_path / "absent.toml")

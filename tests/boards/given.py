"""Sites in every state, with names of every kind, on a page that the real exporter serves."""

import time

from streams.engine.figures import Figures

QUOTES = '日本 "quoted" {braces} <b>tag</b> back\\slash \' $(x)|.*'
LONG = "站" * 128
#: More than the wall has tiles for.
NEAR = tuple(f"near-{number:02}" for number in range(20))
PROVEN = ("proven", *(f"proven-{number}" for number in range(8)))
SITES = (QUOTES, LONG, "silent", "below", "blind", "asleep", "few", "gone", *PROVEN, *NEAR)
DRIFT = ("accuracy", "down", "page")
#: Of `QUOTES`, whose drift holds theirs.
PROJECT_WITHIN, AGENT_WITHIN = "counterfeit", "p-mfrggzdfmy2t"
_RATIOS = {"below": (0.88, 0.86, 0.90), **dict.fromkeys(PROVEN, (0.985, 0.975, 0.99))}
#: Has too few reviews for an accuracy: `blind` has labels, `few` hardly any.
_UNKNOWN = {"blind", "few", "silent", "asleep"}


def figures(sites: tuple[str, ...], partition: int) -> Figures:
    """What an engine would say of the sites now."""
    made = Figures()
    made.add("labelwatch_policy_min_reviews", ("", "", ""), 30)
    for site in sites:
        _policy(made, site, partition)
        away = {"silent": ("15m",), "asleep": ("15m", "1h")}.get(site, ())
        for window in ("15m", "1h", "24h", "7d"):
            made.add("labelwatch_site_active_agents", (site, "agent", window), 0 if window in away else 8)
        labels = 12 if site in {"few", "asleep"} else 5_000
        for window in ("1h", "24h", "7d"):
            made.add("labelwatch_site_labels", (site, window), labels)
            made.add("labelwatch_labels_window", (site, site, site, window), labels)
        newest = time.time() - (2_000 if site == "silent" else 1)
        made.add("labelwatch_site_last_event_timestamp_seconds", (site, "label_submitted"), newest)
        if site in _UNKNOWN:
            made.add("labelwatch_site_reviews", (site, "agent", "24h"), 7)
            made.add("labelwatch_site_correct_reviews", (site, "agent", "24h"), 7)
            continue
        for window in ("15m", "1h", "24h", "7d"):
            names = ("", "lower_", "upper_")
            for name, value in zip(names, _RATIOS.get(site, (0.95, 0.93, 0.97)), strict=True):
                made.add(f"labelwatch_site_accuracy_{name}ratio", (site, "agent", window), value)
            made.add("labelwatch_site_reviews", (site, "agent", window), 400)
            made.add("labelwatch_site_correct_reviews", (site, "agent", window), 380)
        for window in ("1h", "24h", "7d"):
            of = (site, site, site, "agent", "qa", "full", "true", window)
            made.add("labelwatch_reviews_window", of, 400)
            made.add("labelwatch_correct_reviews_window", of, 380)
    for site in {QUOTES, LONG} & set(sites):
        _drift(made, site)
    return made


def _policy(made: Figures, site: str, partition: int) -> None:
    made.add("labelwatch_site_info", (site, site, "UTC", str(partition)), 1)
    if site == QUOTES:
        made.add("labelwatch_site_presence_estimated", (site,), 1)
    made.add("labelwatch_policy_min_reviews", (site, "", ""), 30)
    for kind, target in (("accuracy", 0.95), ("qa_accuracy", 0.98), ("critical_error", 0.005), ("utilization", 0.8)):
        made.add("labelwatch_target_ratio", (site, "", "", kind), target)


def _drift(made: Figures, site: str) -> None:
    own = (site, "", "", *DRIFT)
    _open(made, own, 1.4, "d-" + site, "")
    made.add("labelwatch_drift_contribution", (*own, "project", site, "rate"), -0.03)
    if site == QUOTES:
        # Surer than the site's, which they belong to; each is the same news.
        _open(made, (site, PROJECT_WITHIN, "", *DRIFT), 9.0, "d-project", "d-" + site)
        _open(made, (site, "", AGENT_WITHIN, "agent_accuracy", "down", "ticket"), 3.0, "d-agent", "d-" + site)
        _open(made, (site, "", "", "accuracy_target", "down", "ticket"), 0.5, "d-target", "d-" + site)


def _open(made: Figures, of: tuple[str, ...], evidence: float, drift_id: str, parent: str) -> None:
    for name, value in (
        ("active", 1),
        ("evidence", evidence),
        ("baseline_ratio", 0.95),
        ("current_ratio", 0.9),
        ("reviews", 400),
        ("began_timestamp_seconds", time.time() - 3_600),
        ("run_length_reviews", 24_000),
    ):
        made.add(f"labelwatch_drift_{name}", of, value)
    made.add("labelwatch_drift_info", (*of, drift_id, parent, parent or drift_id), 1)

"""docs/metrics.md from the catalogue, so that the page cannot disagree with what is served.

Run: python -m streams.exporter.docs
"""

from collections.abc import Iterable
from pathlib import Path

from schemas.metrics import (
    BRIDGE_CATALOGUE,
    CATALOGUE,
    INGEST_CATALOGUE,
    WINDOWS,
    Kind,
    Merge,
    Metric,
    Origin,
    Page,
)
from streams.exporter.collector import MAX_SERIES
from streams.exporter.pseudonyms import ENVIRONMENT, FILE_ENVIRONMENT, KEY_FILE

PATH = Path("docs/metrics.md")


def document() -> str:
    """The whole page as Markdown."""
    sites = [metric for metric in CATALOGUE if metric.page is Page.SITES]
    people = [metric for metric in CATALOGUE if metric.page is Page.AGENTS]
    unmergeable = ", ".join(f"`{metric.name}`" for metric in CATALOGUE if metric.merge is Merge.NEITHER)
    return f"""<!-- Made from schemas/metrics.py by `python -m streams.exporter.docs`; a test compares. Do not edit. -->
# Metrics

A worker serves two pages in the Prometheus text format 0.0.4, by default on the loopback interface, port 9464:

| page | what | scrape |
|---|---|---|
| `{Page.SITES.value}` | sites, drift, pipeline, the process itself | every 5 to 15 s |
| `{Page.AGENTS.value}` | people, and drift of people | every 60 s, with a `sample_limit` above the cap below |

`/readyz` says whether the figures are complete, and if not, why. `/healthz` says whether the worker lives.

## How to read them

- **Absence means "not enough data", never 0.** A ratio appears from `min_reviews` of the policy on (30 by default);
  a window's count appears where it is above 0.
- **Windows**: {_windows(WINDOWS)}; `15m` for `labelwatch_site_*` only. The current minute or hour counts.
- **Durable counters** (marked so below) show their last checkpointed value, the same no matter who owns the partition:
  after a crash or a hand-over the next owner goes on from there. So the greatest of all workers' values never
  falls, and it comes first, over steps of about a scrape: `rate(max without (instance)
  (labelwatch_labels_total)[5m:15s])`, `increase(max without (instance) (labelwatch_labels_total)[1h:1m])`. Sums,
  over sites for example, come after it. Exact to the event: `max without (instance) (labelwatch_labels_total) - max
  without (instance) (labelwatch_labels_total offset 1h)`. Taken worker by worker, `sum without (instance)
  (increase(...))` misses what was counted between two owners, and when a partition returns to a worker, counts
  again what another one has counted meanwhile: it is right only over ranges in which no partition moved.
  docs/reliability.md has the measurement. Durable counters lag by a checkpoint interval; the windows do not.
- **All other counters** start at 0 with the process: `sum without (instance) (rate(...))`.
- **Queues** are as last measured (`queue_measured`): of several measurements the newest by `at`, of two of one time the
  later record. An older one that comes late changes nothing. What has arrived are the rises of `arrived_total`,
  counted at the measurement that shows them; where the total falls, the tool has begun anew, and what came before is
  not known. An empty queue has no oldest task, whatever its event says; an `oldest_at` more than 5 minutes after the
  measurement, 0 or in seconds is left out and counted as implausible. Counts beyond 10^12 count as that. The first
  100 queues of a site have series of their own, further ones are added up under the queue `other` of their project,
  by the newest measurement of each; queues of sites beyond the limits have no figures. Time to clear is the rule
  `site_project:labelwatch_queue_clear:seconds`: what waits in all queues of a project at a site, at the rate of the
  labels of the last hour.
- **Two exceptions for increases**: with a fourth SOP version the oldest one's whole count moves to `sop="older"`;
  and of a site in two partitions at two workers, `max` sees the larger part.
- **A partition's series** show only while this worker has it restored and caught up, and while the group still counts
  the worker as a member. A worker that was cut off shows its process metrics, `labelwatch_partition_owned` 0 and
  `labelwatch_ready{{reason="member"}}` 0.
- **`labelwatch_ready`** has a series for each reason: `member` (of the consumer group), `assigned`, `restored`,
  `caught_up`, `dead_letters` (they can be written), `clock` (the worker's agrees with the broker's). 0 names what is
  missing.
- **People are pseudonymous** by default: `agent="p-..."`, an HMAC-SHA256 of site and id. The key is `{ENVIRONMENT}`, or
  in the file that `{FILE_ENVIRONMENT}` names, or in the file `{KEY_FILE}` that the first start makes in the data
  directory (mode 0600). All workers of a group need the same key: its fingerprint, a short HMAC that says nothing else
  of it, is `key` of `labelwatch_build_info`, and `count(count by (key) (labelwatch_build_info)) > 1` finds two keys in
  one group. `--agent-labels plain` shows ids as they are. In
  `labelwatch_drift_contribution` the `member` is named alike where `by` is `agent` or `reviewer`.
- **The cap**: `{Page.AGENTS.value}` shows at most {MAX_SERIES:,} series, each person whole or not at all: people with
  an open drift or at risk first, then the busiest. `labelwatch_dropped_series` counts what was left out, by metric.
- **A site in two partitions** is a misconfigured producer. Counts, seconds and histograms of the parts are added; of
  the rest no part speaks for the whole, so while one worker has both parts, these are left out for the site and counted
  in `labelwatch_dropped_series`: {unmergeable}. `count by (site) (labelwatch_site_info) > 1` finds such sites.
- **Label values** hold at most 128 characters; a missing dimension is `""`.
- `process_*` and `python_gc_*` are prometheus_client's own.

## {Page.SITES.value}

{_table(sites)}

## {Page.AGENTS.value}

Metrics of `{Page.SITES.value}` that have an `agent` label are here too, for the series that name a person.

{_table(people)}

## /metrics of `labelwatch ingest`

The receiver of webhooks serves these, by default on the loopback interface, port 9470. They start with the process.

{_table(INGEST_CATALOGUE)}

## /metrics of `labelwatch bridge`

Each process serves these, by default on the loopback interface, port 9467.

{_table(BRIDGE_CATALOGUE)}

## Buckets

{_buckets()}
"""


def _windows(windows: Iterable[str]) -> str:
    return ", ".join(f"`{window}`" for window in windows)


def _table(metrics: Iterable[Metric]) -> str:
    rows = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        rows.append(f"| `{metric.name}` | {_type(metric)} | {labels} | {metric.help.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def _type(metric: Metric) -> str:
    unit = f", {metric.unit}" if metric.unit else ""
    durable = ", durable" if metric.origin is Origin.ENGINE and metric.kind is not Kind.GAUGE else ""
    return f"{metric.kind.value}{unit}{durable}"


def _buckets() -> str:
    return "\n".join(
        f"- `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)} {metric.unit}"
        for metric in (*CATALOGUE, *INGEST_CATALOGUE)
        if metric.buckets
    )


if __name__ == "__main__":
    PATH.write_text(document(), "utf-8")

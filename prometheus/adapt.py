"""The rules for a Prometheus that names things otherwise: jobs, severities, where links lead, labels of the house.

Run: python prometheus/adapt.py --job monitoring/worker --severity page=critical --severity ticket=warning OUT

Needs nothing but Python; reads the rules beside it and writes the same files to OUT. The alerts' names and the recorded
series stay. Boards ask by job and severity too: with --boards FOLDER they are written there with the same names.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RULES = Path(__file__).parent / "rules"
BOARDS = Path(__file__).parents[1] / "grafana" / "dashboards"
JOB, AGENTS_JOB = "labelwatch", "labelwatch-agents"
INGEST_JOB, BRIDGE_JOB = "labelwatch-ingest", "labelwatch-bridge"
SEVERITIES = ("page", "ticket", "info")
#: A job's name is in quotes; in a query within a text the quotes are escaped.
_JOB_MATCHER = re.compile(r'job=(\\?")(labelwatch(?:-agents|-ingest|-bridge)?)\\?"')
_SEVERITY = re.compile(r"labels: \{severity: (\w+)\}")
_SEVERITY_MATCHER = re.compile(r'severity=~(\\?")([a-z|]+)\\?"')
_EXTERNAL = re.compile(r"\{\{ \$externalLabels\.(\w+) \}\}")


def adapted(
    text: str,
    jobs: Mapping[str, str],
    severities: Mapping[str, str],
    links: Mapping[str, str],
    labels: Mapping[str, str],
) -> str:
    """A file of rules with other names.

    Args:
        text: The file.
        jobs: The shipped jobs' names to those of this Prometheus.
        severities: `page`, `ticket` and `info` to what routes go by here.
        links: `runbooks` and `dashboards` to an address; what is left out stays an external label.
        labels: Given to every alert.
    """

    def severity(match: re.Match[str]) -> str:
        wanted = {"severity": severities.get(match[1], match[1]), **labels}
        return f"labels: {{{', '.join(f'{name}: {_quoted(value)}' for name, value in wanted.items())}}}"

    def link(match: re.Match[str]) -> str:
        return links.get(match[1], match[0])

    return _EXTERNAL.sub(link, _SEVERITY.sub(severity, _with_jobs(text, jobs)))


def adapted_board(text: str, jobs: Mapping[str, str], severities: Mapping[str, str]) -> str:
    """A board's JSON that asks for other names; arguments as of `adapted`."""

    def severity(match: re.Match[str]) -> str:
        names = "|".join(severities.get(name, name) for name in match[2].split("|"))
        return f"severity=~{match[1]}{names}{match[1]}"

    return _SEVERITY_MATCHER.sub(severity, _with_jobs(text, jobs))


def _with_jobs(text: str, jobs: Mapping[str, str]) -> str:
    return _JOB_MATCHER.sub(lambda match: f"job={match[1]}{jobs.get(match[2], match[2])}{match[1]}", text)


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[a-z][\w-]*", value) else "'" + value.replace("'", "''") + "'"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name) or not value:
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=VALUE is needed")
    return name, value


def _severity(text: str) -> tuple[str, str]:
    ours, theirs = _pair(text)
    if ours not in SEVERITIES:
        raise argparse.ArgumentTypeError(f"{ours}: use {', '.join(SEVERITIES[:-1])} or {SEVERITIES[-1]}")
    if not re.fullmatch(r"[\w-]+", theirs):
        raise argparse.ArgumentTypeError(f"{theirs!r}: letters, digits, _ and - are allowed")
    return ours, theirs


def _job(text: str) -> str:
    if re.search(r'["\\\s]', text):
        raise argparse.ArgumentTypeError(f"{text!r}: no space, quote or backslash is allowed")
    return text


def _link(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s'\"{}]+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: an address that begins with http:// or https:// is needed")
    return text.rstrip("/")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the adapted rules, and boards where they are wanted; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the files; made when missing")
    parser.add_argument("--job", type=_job, default=JOB, help="job of the workers' /metrics")
    parser.add_argument("--agents-job", type=_job, default=AGENTS_JOB, help="job of /metrics/agents")
    parser.add_argument("--ingest-job", type=_job, default=INGEST_JOB, help="job of the receivers of webhooks")
    parser.add_argument("--bridge-job", type=_job, default=BRIDGE_JOB, help="job of the bridges")
    parser.add_argument("--severity", type=_severity, action="append", default=[], metavar="OURS=YOURS")
    parser.add_argument("--label", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="of every alert")
    parser.add_argument("--runbooks", type=_link, help="address in place of the external label")
    parser.add_argument("--dashboards", type=_link, help="address in place of the external label")
    parser.add_argument("--boards", type=Path, help="folder for the boards; made when missing")
    given = parser.parse_args(arguments)
    jobs = {
        JOB: given.job,
        AGENTS_JOB: given.agents_job,
        INGEST_JOB: given.ingest_job,
        BRIDGE_JOB: given.bridge_job,
    }
    severities = dict(given.severity)
    links = {name: value for name in ("runbooks", "dashboards") if (value := getattr(given, name))}
    given.out.mkdir(parents=True, exist_ok=True)
    for file in sorted(RULES.glob("*.yml")):
        text = adapted(file.read_text("utf-8"), jobs, severities, links, dict(given.label))
        (given.out / file.name).write_text(text, "utf-8")
    if given.boards is not None:
        given.boards.mkdir(parents=True, exist_ok=True)
        for file in sorted(BOARDS.glob("*.json")):
            (given.boards / file.name).write_text(adapted_board(file.read_text("utf-8"), jobs, severities), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Samples of a worker's /metrics or of a Prometheus, in one shape for the views."""

import json
import re
import ssl
import urllib.error
import urllib.parse
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from prometheus_client.parser import text_string_to_metric_families

from schemas.text import visible
from streams.views.http import Unreachable, open_url, request_to

#: For a board that is drawn again and again.
_TIMEOUT_SECONDS = 3.0
#: For who asks once: a page at the limits of the policy is rendered for seconds.
ONCE_SECONDS = 30.0
#: People's series and buckets may be a hundred thousand, and no view needs them.
_SERIES = '{__name__=~"labelwatch_.*",__name__!~"labelwatch_(agent|reviewer)_.*|.*_bucket"}'
_NAME = re.compile(r"[{ ]")
SampleLabels = Mapping[str, str]


@dataclass(slots=True)
class Samples:
    """Samples by metric name; labels that Prometheus adds (`instance`, `job`) are taken off."""

    by_name: dict[str, list[tuple[SampleLabels, float]]] = field(default_factory=dict)

    def select(self, name: str, **labels: str) -> Iterator[tuple[SampleLabels, float]]:
        """Samples of a metric that have these labels; a label that is not there is empty, as Prometheus has it."""
        for found, value in self.by_name.get(name, ()):
            if all(found.get(key, "") == wanted for key, wanted in labels.items()):
                yield found, value

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample with these labels; of several (two workers), the largest."""
        return max((value for _, value in self.select(name, **labels)), default=None)

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        return sum(value for _, value in self.select(name, **labels))


def read_worker(
    url: str,
    login: tuple[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
    *,
    names: Collection[str] = (),
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> Samples:
    """Reads a worker's sites page.

    Args:
        url: The worker's address.
        login: User name and password, where it asks for them.
        trust: Whose certificates are accepted, with https; None: the system's authorities decide.
        names: Of metrics; others are left out. Empty: all. A page may have 200,000 samples, 0.1 ms each.
        timeout_seconds: For connecting, and for each read.

    Raises:
        Unreachable: No answer, it lets us not in, or it is not a metrics page.
    """
    samples = Samples()
    page = _get(f"{url.rstrip('/')}/metrics", login, trust, timeout_seconds)
    if names:
        # Where nothing is left, the whole says whether it is a metrics page.
        page = "\n".join(line for line in page.split("\n") if _NAME.split(line, maxsplit=1)[0] in names) or page
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if names and sample.name not in names:
                    continue
                samples.by_name.setdefault(sample.name, []).append((_shown(sample.labels), sample.value))
    except ValueError as error:
        raise Unreachable(f"{url}/metrics is not a metrics page: {error}") from error
    return samples


def read_prometheus(
    url: str,
    trust: ssl.SSLContext | None = None,
    *,
    names: Collection[str] = (),
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> Samples:
    """Reads the newest samples of sites and pipeline from a Prometheus.

    Args:
        url: Its address.
        trust: See `read_worker`.
        names: See `read_worker`.
        timeout_seconds: See `read_worker`.

    Raises:
        Unreachable: No answer, or it is no Prometheus.
    """
    wanted = f'{{__name__=~"{"|".join(sorted(names))}"}}' if names else _SERIES
    query = urllib.parse.urlencode({"query": wanted})
    try:
        answer = json.loads(
            _get(f"{url.rstrip('/')}/api/v1/query?{query}", trust=trust, timeout_seconds=timeout_seconds)
        )
        found = answer["data"]["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{url} does not answer as a Prometheus does: {error}") from error
    samples = Samples()
    for series in found:
        labels = {key: value for key, value in series["metric"].items() if key not in ("instance", "job", "__name__")}
        samples.by_name.setdefault(series["metric"]["__name__"], []).append((_shown(labels), float(series["value"][1])))
    return samples


def _shown(labels: SampleLabels) -> SampleLabels:
    """Names as a terminal may show them, no matter who wrote the page."""
    return {key: visible(value) for key, value in labels.items()}


def _get(
    url: str,
    login: tuple[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> str:
    shown = url.partition("?")[0]
    try:
        request = request_to(url)
        if login is not None:
            # Not to where it might be sent on to.
            request.add_unredirected_header("Authorization", f"Basic {b64encode(':'.join(login).encode()).decode()}")
        with open_url(request, timeout_seconds, trust) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.BAD_REQUEST and url.startswith("http://"):
            raise Unreachable(f"{shown} refuses plain HTTP: write https://") from error
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise Unreachable(f"no answer from {shown}: {error.reason}") from error
        wrong = "needs a password" if login is None else "does not take this user name and password"
        raise Unreachable(
            f"{shown} {wrong}: set LABELWATCH_METRICS_USERNAME and LABELWATCH_METRICS_PASSWORD_FILE"
        ) from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Unreachable(
                f"the certificate of {shown} is not accepted ({reason.verify_message}): name its authority in "
                "LABELWATCH_METRICS_CAFILE, and write the address by a name that the certificate has"
            ) from error
        if isinstance(reason, ssl.SSLError):
            raise Unreachable(f"{shown} does not speak TLS ({reason.reason}): write http://") from error
        raise Unreachable(f"no answer from {shown}: {reason}") from error

"""Questions to a Prometheus over its HTTP API, for previews."""

import json
import urllib.error
import urllib.parse
from typing import Any

from streams.views.http import Unreachable, open_url, request_to

_TIMEOUT_SECONDS = 30.0


class QueryRefused(Exception):
    """Prometheus does not answer a query; the message is its own."""


class Prometheus:
    """A Prometheus by its address.

    Args:
        url: The address, without /api.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.asked = 0

    def instant(self, query: str, at: float) -> list[dict[str, Any]]:
        """Series with one `value` each; a scalar is a series without labels.

        Raises:
            QueryRefused: The query is wrong or too expensive.
            Unreachable: No answer, or it is no Prometheus.
        """
        answer = self._ask("query", query=query, time=f"{at:.3f}")
        if answer["resultType"] in ("scalar", "string"):
            return [{"metric": {}, "value": answer["result"]}]
        return list(answer["result"])

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Series with `values` each; raises as `instant` does."""
        answer = self._ask("query_range", query=query, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step:g}")
        return list(answer["result"])

    def label_values(self, label: str, selector: str, start: float, end: float) -> list[str]:
        """Values of a label, of all series or of those that a selector names; raises as `instant` does."""
        match = {"match[]": selector} if selector else {}
        path = f"label/{urllib.parse.quote(label, safe='')}/values"
        return list(self._ask(path, post=False, start=f"{start:.3f}", end=f"{end:.3f}", **match))

    def _ask(self, path: str, *, post: bool = True, **parameters: str) -> Any:
        url, encoded = f"{self._url}/api/v1/{path}", urllib.parse.urlencode(parameters)
        self.asked += 1
        try:
            # A long query does not fit into an address.
            request = request_to(url, encoded.encode()) if post else request_to(f"{url}?{encoded}")
            with open_url(request, _TIMEOUT_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (urllib.error.URLError, OSError) as error:
            raise Unreachable(f"no answer from {self._url}: {getattr(error, 'reason', error)}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"{self._url} does not answer as a Prometheus does: {error}") from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        try:
            with error:
                return QueryRefused(str(json.load(error)["error"]))
        except (ValueError, KeyError, TypeError):
            return Unreachable(f"{self._url} does not answer as a Prometheus does: {error}")

"""A paging service for one machine: takes Alertmanager's webhooks and prints each alert on a line.

Standard library only, so that it runs in the labelwatch image and without it.
"""

import argparse
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY_BYTES_MAX = 4 << 20


def lines(receiver: str, notification: dict[str, Any]) -> list[str]:
    """One JSON line an alert: who is told, firing or resolved, labels and annotations."""
    return [
        json.dumps(
            {"receiver": receiver, **{key: alert.get(key) for key in ("status", "labels", "annotations", "startsAt")}},
            ensure_ascii=False,
        )
        for alert in notification.get("alerts", [])
    ]


class Handler(BaseHTTPRequestHandler):
    """POST /RECEIVER takes a notification; GET says that the pager lives."""

    def do_POST(self) -> None:
        """Prints a notification."""
        length = int(self.headers.get("Content-Length") or 0)
        try:
            if not 0 < length <= BODY_BYTES_MAX:
                raise ValueError(f"a body of 1 to {BODY_BYTES_MAX} bytes is needed, not {length}")
            made = lines(self.path.strip("/"), json.loads(self.rfile.read(length)))
        except (ValueError, AttributeError, TypeError) as error:
            self.send_error(400, "Not a notification of Alertmanager", str(error))
            return
        sys.stdout.write("".join(f"{line}\n" for line in made))
        sys.stdout.flush()
        self._answer()

    def do_GET(self) -> None:
        """Says that the pager lives."""
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet: what is printed is what on-call gets."""


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    # Whoever reaches it can write what on-call reads: this machine alone, unless somebody says otherwise.
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()

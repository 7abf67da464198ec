"""A real Label Studio as a process, and people who label in it over its API; installed outside this project."""

import http.cookiejar
import json
import os
import re
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import free_port

#: The command `label-studio` of an environment of its own; `make test-label-studio` makes it.
VARIABLE = "LABEL_STUDIO"
START_SECONDS = 300.0
_QUIET = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "FEATURE_FLAGS_OFFLINE": "true",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    # Webhooks go to this machine.
    "SSRF_PROTECTION_ENABLED": "false",
}


class Person:
    """Somebody with a login; their requests go out as theirs.

    Args:
        url: Label Studio's address.
        token: Of its API (legacy); None: not yet.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self.number = 0 if token is None else int(self.ask("GET", "/api/current-user/whoami")["id"])

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """Asks the API; what it answers, decoded."""
        body = None if value is None else json.dumps(value).encode()
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Token {self.token}"
        request = urllib.request.Request(f"{self.url}{path}", body, headers, method=method)
        with self._opener.open(request, timeout=120) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def sign_up(self, path: str, email: str) -> None:
        """Joins by an invite link."""
        page = self._opener.open(f"{self.url}{path}", timeout=120).read().decode()
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert found is not None, "the page to sign up has a form"
        fields = {"csrfmiddlewaretoken": found[1], "email": email, "password": secrets.token_hex(12)}
        request = urllib.request.Request(
            f"{self.url}{path}", urllib.parse.urlencode(fields).encode(), {"Referer": f"{self.url}{path}"}
        )
        self._opener.open(request, timeout=120).read()
        self.token = self.ask("GET", "/api/current-user/token")["token"]
        self.number = int(self.ask("GET", "/api/current-user/whoami")["id"])


class LabelStudioServer:
    """A Label Studio with an empty database; ends with the block that opened it.

    Args:
        folder: For its data and log.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / "label-studio.log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        token = secrets.token_hex(20)
        data = folder / "label-studio"
        command = [
            *(os.environ[VARIABLE], "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)),
            *("--data-dir", str(data), "--username", "admin@example.com", "--password", secrets.token_hex(12)),
            *("--user-token", token, "--enable-legacy-api-token"),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **_QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(data)},
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready()
        self.admin = Person(self.url, token)

    def join(self, email: str) -> Person:
        """A new person, by the invite link."""
        link = self.admin.ask("GET", "/api/invite")["invite_url"]
        person = Person(self.url)
        person.sign_up(urllib.parse.urlsplit(link)._replace(scheme="", netloc="").geturl(), email)
        return person

    def log(self) -> str:
        """What it has said lately."""
        return self._log.read_text("utf-8", "replace")[-4000:]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=10).read()
                return
            except OSError:
                time.sleep(0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Its own processes and no other: it is the leader of their session.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

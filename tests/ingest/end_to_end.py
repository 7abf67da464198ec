"""The guide, run as it is written, against a real Label Studio: the figures are its own export's, whatever gets lost.

Not collected with the other tests: it needs Label Studio, which is a gigabyte. `make test-label-studio` runs it.
"""

import json
import logging
import os
import random
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import EVENTS
from tests.ingest.label_studio_server import LabelStudioServer, Person
from tests.ingest.topic import records
from tests.support.ports import free_port
from tests.support.tansu import Tansu, tansu

__all__ = ["tansu"]

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide/label-studio.md"
TASKS = 200
AT_ONCE = 4
WAIT_SECONDS = 300.0
CONFIG = """<View><Text name="text" value="$text"/><Choices name="verdict" toName="text">
<Choice value="ok"/><Choice value="violating"/></Choices></View>"""

Figures = dict[str, tuple[int, int, int]]

logger = logging.getLogger(__name__)


class Guide:
    """The guide's commands, in a shell, in a folder of their own; ports apart they run as they are written."""

    def __init__(self, folder: Path, **variables: str) -> None:
        text = GUIDE.read_text("utf-8")
        self._blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
        (folder / "roster.csv").write_text(re.findall(r"^```csv\n(.*?)^```", text, re.M | re.S)[0])
        self._folder = folder
        self.port = free_port()
        path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
        # Sooner than the default of a minute, so that the test waits less.
        more = {"LABELWATCH_INGEST_PORT": str(self.port), "LABELWATCH_INGEST_SWEEP_SECONDS": "3"}
        self._environ = {**os.environ, "PATH": path, **more, **variables}

    def command(self, words: str) -> str:
        """The one block that has these words."""
        (block,) = [block for block in self._blocks if words in block]
        return str(block).replace("127.0.0.1:9470", f"127.0.0.1:{self.port}")

    def run(self, words: str) -> str:
        """Runs a block to its end; what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.command(words)],
            env=self._environ,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, words: str, log: Path) -> "subprocess.Popen[bytes]":
        """Starts a block whose last command runs on; it is the leader of a session."""
        with log.open("ab") as output:
            return subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self.command(words)],
                env=self._environ,
                cwd=self._folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def page(self) -> dict[str, float]:
        """The receiver's metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def wait_for(what: Callable[[], Any], why: Callable[[], str]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if what():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, why()
        time.sleep(0.5)


def labeled(people: list[Person], project: int, tasks: list[int], outage: Callable[[int], None]) -> None:
    """Four at once: labels, skips, corrections, skips taken back, deletions, ground truth."""
    numbers, lock = iter(range(TASKS)), threading.Lock()

    def annotation(chance: random.Random, skipped: bool) -> dict[str, Any]:
        choice = {"choices": [chance.choice(["ok", "violating"])]}
        result = [] if skipped else [{"from_name": "verdict", "to_name": "text", "type": "choices", "value": choice}]
        return {"result": result, "was_cancelled": skipped, "lead_time": round(chance.uniform(1, 60), 3)}

    def work(place: int) -> None:
        chance = random.Random(place)
        person = people[place % len(people)]
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            outage(number)
            task = tasks[number]
            made = person.ask("POST", f"/api/tasks/{task}/annotations/", annotation(chance, number % 10 == 0))
            at = f"/api/annotations/{made['id']}/"
            if number % 20 == 0:
                person.ask("PATCH", at, annotation(chance, False))
            elif number % 5 == 1:
                person.ask("PATCH", at, annotation(chance, number % 25 == 1))
            elif number % 15 == 2:
                person.ask("DELETE", at)
            elif number % 15 == 3:
                person.ask("PATCH", at, {"ground_truth": True})
                other = people[(place + 1) % len(people)]
                other.ask("POST", f"/api/tasks/{task}/annotations/", annotation(chance, False))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(AT_ONCE)))
    people[0].ask("DELETE", f"/api/tasks/{tasks[7]}/")


def exported(admin: Person, project: int, names: dict[int, str]) -> Figures:
    """Labels, skips and milliseconds by agent, as Label Studio's own export has them: the truth."""
    found: Figures = {}
    for task in admin.ask("GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"):
        for each in task["annotations"]:
            by = each["completed_by"]
            agent = names[by["id"] if isinstance(by, dict) else by]
            labels, skips, ms = found.get(agent, (0, 0, 0))
            skipped = each["was_cancelled"]
            found[agent] = (labels + (not skipped), skips + skipped, ms + round(each["lead_time"] * 1000))
    return found


def counted(events: list[dict[str, Any]]) -> Figures:
    """The same after every event of the topic."""
    found: Figures = {}
    for event in events:
        changes: list[tuple[dict[str, Any] | None, int]]
        if event["type"] == "label_submitted":
            changes = [(event, 1)]
        elif event["type"] == "label_revised":
            changes = [(event["old"], -1), (event.get("new"), 1)]
        else:
            continue
        for version, weight in changes:
            if version is not None:
                labels, skips, ms = found.get(event["agent_id"], (0, 0, 0))
                skipped = bool(version.get("skipped"))
                found[event["agent_id"]] = (
                    labels + weight * (not skipped),
                    skips + weight * skipped,
                    ms + weight * version.get("handle_ms", 0),
                )
    return found


@pytest.mark.timeout(1800)
def test_the_guide_gives_label_studios_own_figures_through_an_outage(tansu: Tansu, tmp_path: Path) -> None:
    with LabelStudioServer(tmp_path) as tool:
        admin = tool.admin
        people = [admin, tool.join("b@example.com"), tool.join("c@example.com")]
        names = dict(zip([person.number for person in people], ["a-1001", "a-1002", "a-1003"], strict=True))
        assert sorted(names) == [1, 2, 3], "the guide's roster has these numbers"
        project = admin.ask("POST", "/api/projects", {"title": "end to end", "label_config": CONFIG})["id"]
        admin.ask("POST", f"/api/projects/{project}/import", [{"text": f"item {each}"} for each in range(TASKS)])
        listed = admin.ask("GET", f"/api/tasks/?project={project}&page_size={TASKS}")
        tasks = sorted(task["id"] for task in listed["tasks"])
        assert len(tasks) == TASKS

        variables = {"BOOTSTRAP": tansu.bootstrap, "LABEL_STUDIO": tool.url, "PROJECT": str(project)}
        guide = Guide(tmp_path, TOKEN=admin.token or "", **variables)
        log = tmp_path / "ingest.log"
        guide.run("topics create")
        guide.run("token_hex")
        receivers = [guide.start("labelwatch ingest", log)]

        def ready() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{guide.port}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)

        def swept() -> bool:
            return (
                guide.page().get(f'labelwatch_ingest_last_sweep_timestamp_seconds{{kind="all",project="{project}"}}', 0)
                > 0
            )

        def outage(number: int) -> None:
            if number == TASKS // 3:
                os.killpg(receivers[-1].pid, signal.SIGKILL)
                receivers[-1].wait()
            elif number == TASKS // 2:
                receivers.append(guide.start("labelwatch ingest", log))

        try:
            wait_for(ready, log.read_text)
            wait_for(swept, log.read_text)
            hook = json.loads(guide.run("api/webhooks"))
            assert hook["is_active"]
            labeled(people, project, tasks, outage)
            truth = exported(admin, project, names)
            wait_for(ready, log.read_text)

            def agree() -> bool:
                page = guide.page()
                waits = page["labelwatch_ingest_spool_records"]
                return not waits and counted(records(tansu.bootstrap, EVENTS)) == truth

            wait_for(
                agree,
                lambda: f"{truth}\n{counted(records(tansu.bootstrap, EVENTS))}\n{guide.page()}\n{log.read_text()}",
            )
            assert "ANNOTATION_CREATED" in guide.run("hooks_total")
            page = guide.page()
            missing = {
                kind: page[f'labelwatch_ingest_missing_total{{kind="{kind}"}}']
                for kind in ("created", "updated", "deleted")
            }
            assert missing["created"] > 0, "the outage lost some"
            secret = (tmp_path / "secret").read_text().strip()
            assert secret not in log.read_text()
            assert (admin.token or "?") not in log.read_text()
            assert not [
                file for file in (tmp_path / "labelwatch-data").iterdir() if secret.encode() in file.read_bytes()
            ]
        finally:
            for receiver in receivers:
                if receiver.poll() is None:
                    os.killpg(receiver.pid, signal.SIGTERM)
                    receiver.wait(60)
    events = records(tansu.bootstrap, EVENTS)
    ids = Counter(event["event_id"] for event in events)
    kinds = Counter(event["type"] for event in events)
    assert [name for name, count in ids.items() if count > 1] == []
    assert kinds["label_reviewed"] > 0
    logger.info("%d events %s; without a webhook %s; counted twice 0; by agent %s", len(events), kinds, missing, truth)

"""A Label Studio as its recorded answers are: tasks with their annotations over HTTP; and the hooks that it would send.

It knows nothing of the receiver's code. What it does was measured at a real server (the README of the recording):
pages, the filter by the task's `updated_at`, 404 past the last page and for what is deleted.
"""

import copy
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from tests.ingest.bodies import RECORDED

TOKEN = "0123456789abcdef"
_START_SECONDS = 1_795_390_600


class LabelStudio:
    """One project of tasks."""

    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.requests: list[dict[str, str]] = []
        self.status = 200
        #: Called when a page is made, before it arrives.
        self.on_the_way: Callable[[], Awaitable[object]] | None = None
        self._clock = _START_SECONDS
        self._annotations = 0
        app = web.Application()
        app.router.add_get("/api/tasks/", self._list)
        app.router.add_get("/api/tasks/{task}/", self._task)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> str:
        """Its address."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    # --- what people do there; each gives the hook that tells of it

    def make_task(self, number: int) -> None:
        """Without a hook: of the import nothing is counted."""
        task = copy.deepcopy(RECORDED["ANNOTATION_CREATED"]["task"])
        now = self._now()
        self.tasks[number] = {**task, "id": number, "created_at": now, "updated_at": now, "annotations": []}

    def create(self, task: int, user: int, seconds: float | None, choice: str | None) -> bytes:
        """A label; no choice is a skip."""
        self._annotations += 1
        now = self._now()
        annotation = {
            **copy.deepcopy(RECORDED["ANNOTATION_CREATED"]["annotation"]),
            "id": self._annotations,
            "task": task,
            "completed_by": user,
            "updated_by": user,
            "lead_time": seconds,
            "was_cancelled": choice is None,
            "created_at": now,
            "updated_at": now,
            "result": _result(choice),
        }
        self.tasks[task]["annotations"].append(annotation)
        return self._hook("ANNOTATION_CREATED", task, annotation)

    def update(self, task: int, seconds: float, choice: str | None) -> bytes:
        """Of a task's first annotation."""
        annotation = self.tasks[task]["annotations"][0]
        now = self._now()
        annotation.update(lead_time=seconds, was_cancelled=choice is None, result=_result(choice), updated_at=now)
        return self._hook("ANNOTATION_UPDATED", task, annotation)

    def set_gold(self, task: int) -> bytes:
        """A task's last annotation becomes its ground truth; the one before ceases to be, without hook or time."""
        for each in self.tasks[task]["annotations"]:
            each["ground_truth"] = False
        annotation = self.tasks[task]["annotations"][-1]
        annotation.update(ground_truth=True, updated_at=self._now())
        return self._hook("ANNOTATION_UPDATED", task, annotation)

    def delete(self, task: int) -> bytes:
        """A task's first annotation."""
        annotation = self.tasks[task]["annotations"].pop(0)
        self.tasks[task]["updated_at"] = self._now()
        body = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": annotation["id"]}], "project": {"id": 1}}
        return json.dumps(body).encode()

    def delete_task(self, task: int) -> bytes:
        del self.tasks[task]
        return json.dumps({"action": "TASKS_DELETED", "tasks": [{"id": task}], "project": {"id": 1}}).encode()

    def export(self) -> dict[str, tuple[int, int, int]]:
        """Labels, skips and milliseconds by user, of what is there: the truth."""
        found: dict[str, tuple[int, int, int]] = {}
        for task in self.tasks.values():
            for each in task["annotations"]:
                agent = f"ls-{each['completed_by']}"
                labels, skips, ms = found.get(agent, (0, 0, 0))
                skipped = each["was_cancelled"]
                ms += round((each["lead_time"] or 0) * 1000)
                found[agent] = (labels + (not skipped), skips + skipped, ms)
        return found

    def _hook(self, action: str, task: int, annotation: dict[str, Any]) -> bytes:
        whole = self.tasks[task]
        whole["updated_at"] = annotation["updated_at"]
        shown = {name: value for name, value in whole.items() if name != "annotations"}
        project = RECORDED["ANNOTATION_CREATED"]["project"]
        return json.dumps({"action": action, "annotation": annotation, "task": shown, "project": project}).encode()

    def pass_time(self, seconds: int) -> None:
        """Its clock goes on; it has one of its own, that of the recording."""
        self._clock += seconds

    def _now(self) -> str:
        self._clock += 1
        return datetime.fromtimestamp(self._clock, UTC).strftime("%Y-%m-%dT%H:%M:%S.000123Z")

    # --- its API

    async def _list(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.query))
        if request.headers.get("Authorization") != f"Token {TOKEN}":
            return web.json_response({"detail": "Invalid token."}, status=401)
        if self.status != 200:
            return web.Response(status=self.status)
        query = json.loads(request.query["query"])
        assert query["ordering"] == ["tasks:id"]
        tasks = [self.tasks[number] for number in sorted(self.tasks)]
        for item in query.get("filters", {}).get("items", []):
            assert (item["filter"], item["operator"]) == ("filter:tasks:updated_at", "greater")
            datetime.strptime(item["value"], "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007  # the form alone
            tasks = [task for task in tasks if task["updated_at"] > item["value"]]
        page, size = int(request.query["page"]), int(request.query["page_size"])
        shown = tasks[(page - 1) * size : page * size]
        if not shown and page > 1:
            return web.json_response({"detail": "Invalid page."}, status=404)
        date = format_datetime(datetime.fromtimestamp(self._clock, UTC), usegmt=True)
        answer = json.dumps({"tasks": shown, "total": len(tasks), "total_annotations": 0})
        if self.on_the_way is not None:
            await self.on_the_way()
        return web.Response(text=answer, content_type="application/json", headers={"Date": date})

    async def _task(self, request: web.Request) -> web.Response:
        task = self.tasks.get(int(request.match_info["task"]))
        return web.Response(status=404) if task is None else web.json_response(task)


def _result(choice: str | None) -> list[dict[str, Any]]:
    if choice is None:
        return []
    return [{"from_name": "verdict", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]

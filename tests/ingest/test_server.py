"""The receiver over HTTP: what it takes, what it refuses and how, and that it is durable by then."""

import asyncio
import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from schemas.metrics import INGEST_CATALOGUE
from streams.ingest import connections
from streams.ingest import server as serving
from streams.ingest.ledger import RosterEntry
from streams.ingest.metrics import IngestMetrics
from streams.ingest.receiver import ANY_PROJECT, Receiver
from streams.ingest.roster import Roster
from streams.ingest.server import IngestServer
from streams.ingest.spool import Spool, Transaction
from streams.runtime import certificates
from streams.runtime.certificates import ServerCertificate
from tests.ingest.bodies import RECORDED, body
from tests.support.certificates import Authority

SECRET = "a secret of the webhook"
HEADER = "X-Labelwatch-Secret"


class Running:
    """A receiver with its parts."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.spool = Spool(path / "ingest.sqlite", "ls", options.pop("bytes_max", 1 << 30))
        self.metrics = IngestMetrics()
        roster = Roster({1: RosterEntry("manila-1", "a-1"), 3: RosterEntry("lima-2", "a-3")}, "ls", "unassigned")
        self.receiver = Receiver(self.spool, "ls", roster, None, self.metrics, lambda: None)
        given = {"secret": SECRET, "secret_header": HEADER, "port": 0, **options}
        self.server = IngestServer(self.receiver, self.spool, self.metrics, **given)

    async def post(self, raw: Any, headers: dict[str, str] | None = None, path: str = serving.PATH) -> tuple[int, str]:
        return await self.ask("POST", path, raw, {HEADER: SECRET} if headers is None else headers)

    async def ask(
        self, method: str, path: str, raw: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        def go() -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            try:
                connection.request(method, path, raw, headers or {}, encode_chunked=not isinstance(raw, bytes | None))
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

        return await asyncio.to_thread(go)

    async def waiting(self) -> list[dict[str, Any]]:
        return [json.loads(each.value) for each in await self.spool.run(lambda file: file.waiting(10_000))]

    async def page(self) -> dict[str, float]:
        _, text = await self.ask("GET", "/metrics")
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path)
    await running.server.start()
    yield running
    await running.server.stop()
    running.spool.close()


async def test_a_hook_is_in_the_spool_when_it_is_answered(running: Running) -> None:
    assert await running.post(body("ANNOTATION_CREATED")) == (200, '{"events": 1}')
    (event,) = await running.waiting()
    assert (event["type"], event["site_id"], event["agent_id"]) == ("label_submitted", "manila-1", "a-1")
    assert await running.post(body("ANNOTATION_CREATED")) == (200, '{"events": 0}')
    assert len(await running.waiting()) == 1
    page = await running.page()
    assert page['labelwatch_ingest_hooks_total{action="ANNOTATION_CREATED"}'] == 2
    assert page["labelwatch_ingest_repeated_total"] == page["labelwatch_ingest_spool_records"] == 1
    assert page["labelwatch_ingest_answer_seconds_count"] == 2


async def test_the_page_has_every_metric_of_the_catalogue_and_no_other(running: Running) -> None:
    _, text = await running.ask("GET", "/metrics")
    served = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text)
    assert sorted(served) == sorted((metric.name, metric.kind.value) for metric in INGEST_CATALOGUE)


async def test_unknown_people_count_at_the_stated_site(running: Running) -> None:
    await running.post(body("ANNOTATION_CREATED", id=50, completed_by=7))
    await running.post(body("ANNOTATION_CREATED", id=51, completed_by=None))
    people = [(event["site_id"], event["agent_id"]) for event in await running.waiting()]
    assert people == [("unassigned", "ls-7"), ("unassigned", "ls-nobody")]
    assert (await running.page())["labelwatch_ingest_unknown_people"] == 2


@pytest.mark.parametrize(
    "headers", [{}, {HEADER: ""}, {HEADER: SECRET + "x"}, {HEADER: SECRET[:-1]}, {"X-Other": SECRET}]
)
async def test_without_the_secret_nothing_is_taken(running: Running, headers: dict[str, str]) -> None:
    status, text = await running.post(body("ANNOTATION_CREATED"), headers)
    assert (status, HEADER in text) == (401, True)
    assert not await running.waiting()
    assert (await running.page())['labelwatch_ingest_refused_total{reason="secret"}'] == 1


async def test_what_cannot_be_used_is_refused_with_a_sentence_noted_and_swept_for(running: Running) -> None:
    secret = json.loads(body("ANNOTATION_CREATED", lead_time="x"))
    secret["project"]["token"] = "s3cret"
    secret["task"]["data"] = {"text": "s3cret"}
    for raw, reason in (
        (json.dumps(secret).encode(), "schema"),
        (body("ANNOTATION_CREATED")[:-100], "not_json"),
        (body("ANNOTATION_CREATED_no_payload"), "no_payload"),
    ):
        status, text = await running.post(raw)
        assert status == 400
        assert len(text) > 30
        noted = (await running.spool.run(Transaction.refused))[-1]
        assert (noted[0], noted[1]) == (reason, text.strip())
    rows = await running.spool.run(Transaction.refused)
    assert json.loads(rows[0][2] or b"")["annotation"]["id"] == 1
    assert rows[1][2] is None
    assert b"s3cret" not in b"".join(row[2] or b"" for row in rows)
    assert await running.spool.run(lambda file: file.noted(f"sweep/{ANY_PROJECT}")) == b"3"


async def test_no_secret_of_a_body_reaches_the_disk(running: Running) -> None:
    for name, each in RECORDED.items():
        project = {**each.get("project", {}), "token": "s3cret", "task_data_password": "s3cret"}
        await running.post(json.dumps({**each, "project": project}).encode())
        await running.post(json.dumps({**each, "project": {**project, "id": "x"}}).encode())
        assert name
    folder = running.spool.path.parent
    assert len(list(folder.iterdir())) > 1
    assert not [path for path in folder.iterdir() if b"s3cret" in path.read_bytes()]


async def test_large_bodies_are_refused_unread_or_once_too_large(tmp_path: Path) -> None:
    running = Running(tmp_path, body_bytes_max=100_000)
    await running.server.start()
    try:
        raw = json.dumps({"action": "TASKS_CREATED", "tasks": [], "project": {"id": 1}, "x": "y" * 200_000}).encode()
        assert (await running.post(iter([raw[:50_000], raw[50_000:]])))[0] == 413
        # Of this one nothing but the head is sent: it is answered all the same.
        head = f"POST {serving.PATH} HTTP/1.1\r\nHost: x\r\n{HEADER}: {SECRET}\r\nContent-Length: 50000000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=30) as client:
            client.sendall(head.encode())
            answer = await asyncio.to_thread(client.recv, 4096)
        assert b" 413 " in answer
        assert b"100,000 bytes" in answer
        assert (await running.post(body("ANNOTATION_CREATED")))[0] == 200
    finally:
        await running.server.stop()
        running.spool.close()


async def test_who_sends_nothing_or_slowly_is_closed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(serving, "BODY_SECONDS", 0.5)
    silent = socket.create_connection(("127.0.0.1", running.server.port), timeout=30)
    half = socket.create_connection(("127.0.0.1", running.server.port), timeout=30)
    slow = socket.create_connection(("127.0.0.1", running.server.port), timeout=30)
    half.sendall(b"POST /label-studio HTTP/1.1\r\nHost:")
    slow.sendall(
        f"POST {serving.PATH} HTTP/1.1\r\nHost: x\r\n{HEADER}: {SECRET}\r\nContent-Length: 100\r\n\r\n{{".encode()
    )
    with silent, half, slow:
        assert b" 408 " in await asyncio.to_thread(slow.recv, 4096)
        for client in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.to_thread(client.recv, 4096) == b""
    assert (await running.post(body("ANNOTATION_CREATED")))[0] == 200


async def test_a_full_disk_is_said_and_over_when_there_is_room(tmp_path: Path) -> None:
    running = Running(tmp_path, bytes_max=24 * 4096)
    await running.server.start()
    try:
        sent = 0
        while (answer := await running.post(body("ANNOTATION_CREATED", id=sent, task=sent)))[0] == 200:
            sent += 1
        assert answer[0] == 503
        assert "make room" in answer[1]
        assert sent > 10
        assert len(await running.waiting()) == sent
        status, text = await running.ask("GET", "/readyz")
        assert (status, "make room" in text) == (503, True)
        assert (await running.ask("GET", "/healthz"))[0] == 200
        assert (await running.page())['labelwatch_ingest_refused_total{reason="spool"}'] == 1
        await running.spool.run(lambda file: file.land(sent))
        # What was refused has left no trace: it counts now, once.
        assert await running.post(body("ANNOTATION_CREATED", id=sent, task=sent)) == (200, '{"events": 1}')
        assert (await running.ask("GET", "/readyz"))[0] == 200
    finally:
        await running.server.stop()
        running.spool.close()


async def test_other_paths_and_methods_are_told_where_hooks_go(running: Running) -> None:
    for method, path in (("POST", "/"), ("GET", serving.PATH), ("PUT", serving.PATH)):
        status, text = await running.ask(method, path, b"{}", {HEADER: SECRET})
        assert status in (404, 405)
        assert f"POST {serving.PATH}" in text


async def test_many_at_once_are_all_taken_each_once(running: Running) -> None:
    raws = [body("ANNOTATION_CREATED", id=number, task=number) for number in range(40)]
    answers = await asyncio.gather(*(running.post(raw) for raw in [*raws, *raws]))
    assert {status for status, _ in answers} == {200}
    assert sum(json.loads(text)["events"] for _, text in answers) == 40
    assert len({event["event_id"] for event in await running.waiting()}) == 40


def hook_bytes(number: int) -> tuple[bytes, bytes]:
    """A hook as Python's own client sends it: head and body apart."""
    raw = body("ANNOTATION_CREATED", id=number, task=number)
    head = f"POST {serving.PATH} HTTP/1.1\r\nHost: x\r\n{HEADER}: {SECRET}\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode(), raw


def status_of(client: socket.socket) -> int | None:
    """Of the next answer; None where the connection was closed without one."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while not got.endswith(b"}") and (piece := client.recv(4096)):
            got += piece
    return int(got.split(b" ", 2)[1]) if got else None


async def test_a_crowd_closes_no_connection_with_a_hook_under_way(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(connections, "GIVE_WAY_SECONDS", 0.1)

    def crowd() -> list[int | None]:
        # Three times as many as there are places; the others wait in the kernel's queue.
        clients = [socket.create_connection(("127.0.0.1", running.server.port), timeout=30) for _ in range(12)]
        hooks = [hook_bytes(number) for number in range(12)]
        for client, (head, _) in zip(clients, hooks, strict=True):
            client.sendall(head)
        time.sleep(0.5)
        for client, (_, raw) in zip(clients, hooks, strict=True):
            client.sendall(raw)
        statuses = [status_of(client) for client in clients]
        for client in clients:
            client.close()
        return statuses

    assert await asyncio.to_thread(crowd) == [200] * 12
    assert len({event["event_id"] for event in await running.waiting()}) == 12


async def test_a_loop_that_is_behind_closes_no_connection_whose_hook_it_has_not_seen(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 8)
    monkeypatch.setattr(connections, "GIVE_WAY_SECONDS", 0.1)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.4)
    loop = asyncio.get_running_loop()

    def crowd() -> list[int | None]:
        clients = [socket.create_connection(("127.0.0.1", running.server.port), timeout=30) for _ in range(8)]
        for number, client in enumerate(clients):
            client.sendall(b"".join(hook_bytes(number)))
        statuses = [status_of(client) for client in clients]
        loop.call_soon_threadsafe(time.sleep, 1.0)
        time.sleep(0.2)
        # Kept open after an answer for longer than is allowed, as far as the loop has seen; and new ones want places.
        late = [socket.create_connection(("127.0.0.1", running.server.port), timeout=30) for _ in range(4)]
        clients += late
        for number, client in enumerate(clients, 100):
            client.sendall(b"".join(hook_bytes(number)))
        statuses += [status_of(client) for client in clients]
        for client in clients:
            client.close()
        return statuses

    assert await asyncio.to_thread(crowd) == [200] * 20
    assert len({event["event_id"] for event in await running.waiting()}) == 20


async def test_silent_connections_give_way_to_hooks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(connections, "GIVE_WAY_SECONDS", 0.1)
    silent = [socket.create_connection(("127.0.0.1", running.server.port), timeout=30) for _ in range(20)]
    for client in silent[::2]:
        client.sendall(b"POST /label-studio HTTP/1.1\r\nHost:")
    assert (await running.post(body("ANNOTATION_CREATED")))[0] == 200
    for client in silent:
        client.close()


async def test_what_was_not_answered_is_sent_again_and_counts_once(running: Running) -> None:
    def hang_up_and_send_again() -> int | None:
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=30) as client:
            client.sendall(b"".join(hook_bytes(1)))
            # As Label Studio does after a second: without a look at the answer.
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=30) as client:
            client.sendall(b"".join(hook_bytes(1)))
            return status_of(client)

    assert await asyncio.to_thread(hang_up_and_send_again) == 200
    assert len(await running.waiting()) == 1


async def test_with_a_certificate_the_port_speaks_tls_and_takes_a_renewed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "REFRESH_SECONDS", 0.0)
    authority = Authority(tmp_path / "certificates")
    file = authority.issue("receiver", "127.0.0.1")
    running = Running(tmp_path, certificate=ServerCertificate(file, None, None, "LABELWATCH_INGEST_KEY_PASSWORD_FILE"))
    await running.server.start()
    context = ssl.create_default_context(cafile=authority.file)

    def ask() -> tuple[int, bytes | None]:
        connection = http.client.HTTPSConnection("127.0.0.1", running.server.port, timeout=30, context=context)
        connection.request("POST", serving.PATH, body("ANNOTATION_CREATED"), {HEADER: SECRET})
        shown = connection.sock.getpeercert(binary_form=True)
        with contextlib.closing(connection):
            return connection.getresponse().status, shown

    try:
        status, first = await asyncio.to_thread(ask)
        assert status == 200
        assert await asyncio.to_thread(ask) == (200, first)
        authority.issue("receiver", "127.0.0.1")
        status, second = await asyncio.to_thread(ask)
        assert (status, second != first) == (200, True)
        # Who speaks in the clear, or not at all, holds up nobody.
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=30) as plain:
            plain.sendall(b"".join(hook_bytes(7)))
            assert (await asyncio.to_thread(ask))[0] == 200
        assert [event["task_id"] for event in await running.waiting()] == ["1"]
    finally:
        await running.server.stop()
        running.spool.close()


async def test_the_page_asks_for_a_login_where_there_is_one(tmp_path: Path) -> None:
    running = Running(tmp_path, login=("prometheus", "word"))
    await running.server.start()
    try:
        for given in ({}, {"Authorization": "Basic eA=="}, {HEADER: SECRET}):
            assert (await running.ask("GET", "/metrics", headers=given))[0] == 401
        right = {"Authorization": "Basic " + base64.b64encode(b"prometheus:word").decode()}
        assert (await running.ask("GET", "/metrics", headers=right))[0] == 200
        assert (await running.ask("GET", "/healthz"))[0] == 200
    finally:
        await running.server.stop()
        running.spool.close()


async def test_a_defect_of_ours_is_answered_noted_and_swept_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(body: bytes) -> int:
        raise KeyError(len(body))

    monkeypatch.setattr(running.receiver, "hook", fail)
    status, text = await running.post(body("ANNOTATION_CREATED"))
    assert (status, "its log says why" in text) == (500, True)
    assert [row[0] for row in await running.spool.run(Transaction.refused)] == ["defect"]
    assert await running.spool.run(lambda file: file.noted(f"sweep/{ANY_PROJECT}")) == b"1"

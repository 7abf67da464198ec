"""The whole worker on the embedded broker, which has no transactions: the plain form of checkpoints."""

import contextlib
import signal
import socket
from pathlib import Path
from typing import Any

from schemas.topics import EVENTS, topics
from tests.support.kafka import create_topics
from tests.support.tansu import Tansu
from tests.support.worker import WorkerProcess, make_load, produce

#: A listening socket in Linux' tables.
_LISTEN = "0A"


def test_exact_through_kill_9_and_restart(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, topics("main"), partitions=2)
    load = make_load(150_000, seed=1)
    produce(tansu.bootstrap, EVENTS, load.records)
    busy: dict[str, Any] = {"checkpoint_records": 3_000, "checkpoint_seconds": 0.2}
    for point in ("prepared:4", "half:3"):
        environ = {"LABELWATCH_CRASH": point}
        with WorkerProcess(tmp_path, tansu.bootstrap, environ=environ, **busy) as worker:
            assert worker.wait() == -signal.SIGKILL
    with WorkerProcess(tmp_path, tansu.bootstrap, **busy) as worker:
        figures = worker.wait_until("labelwatch_events_total", load.accepted)
        assert sum(figures["labelwatch_labels_total"].values()) == load.labels.total()
        assert sum(figures["labelwatch_reviews_total"].values()) == load.reviews.total()
        assert sum(figures["labelwatch_duplicates_total"].values()) == load.duplicates
        assert sum(figures["labelwatch_rejected_total"].values()) == len(load.broken)
        assert worker.get("/readyz") == (200, "ready\n")
        assert _listens_at(worker.process.pid) == {"127.0.0.1"}
        assert "without transactions, for one worker only" in worker.log
        assert worker.terminate() == 0
        assert "ERROR" not in worker.log


def test_a_missing_topic_is_not_made_by_asking_for_it(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, [topic for topic in topics("main") if topic.name != EVENTS], partitions=2)
    for _ in range(2):
        with WorkerProcess(tmp_path, tansu.bootstrap) as worker:
            assert worker.wait() == 1
            assert f"Topic {EVENTS} does not exist" in worker.log


def _listens_at(pid: int) -> set[str]:
    """Addresses of the sockets at which a process listens, by Linux' own tables; elsewhere as it should be."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    if not tables[0].exists():
        return {"127.0.0.1"}
    own, found = set(), set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            own.add(str(each.readlink()))
    for line in "".join(table.read_text() for table in tables).splitlines():
        _, local, _, state, *_ = fields = line.split()
        if state == _LISTEN and f"socket:[{fields[9]}]" in own:
            address = bytes.fromhex(local.partition(":")[0])
            found.add(socket.inet_ntoa(address[::-1]) if len(address) == 4 else address.hex())
    return found

"""`labelwatch import --to kafka` on real Kafka: killed in the middle, and twice at once, each row counts once."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from schemas.topics import EVENTS
from tests.kafka.conftest import FreshTopics, read_all
from tests.support.kafka import RealKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

#: More than one transaction holds.
ROWS = 21_000


def start(broker: RealKafka, folder: Path, crash: str = "") -> subprocess.Popen[str]:
    """One `labelwatch import` of the same file."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    command: list[str | Path] = [Path(sys.executable).with_name("labelwatch"), "import", folder / "labels.csv"]
    command += ["--map", "agent_id=who,task_id=item,at=at", "--set", "site_id=s-1", "--set", "project_id=p"]
    command += ["--to", "kafka", "--bootstrap", broker.bootstrap]
    return subprocess.Popen(
        command, env={**own, "LABELWATCH_CRASH": crash}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_import_and_two_at_once_count_each_row_once(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    fresh_topics(2)
    rows = [(f"a-{number % 40}", f"t-{number}", 1_790_000_000 + number) for number in range(ROWS)]
    (tmp_path / "labels.csv").write_text("who,item,at\n" + "".join(f"{a},{t},{at}\n" for a, t, at in rows))

    killed = start(broker, tmp_path, "prepared:1")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    # Stands still in its second transaction, when its first one counts.
    slow = start(broker, tmp_path, "prepared:2:stop")
    assert os.waitid(os.P_PID, slow.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT).si_status == signal.SIGSTOP  # type: ignore[union-attr]  # it waits
    assert len(read_all(broker.bootstrap, EVENTS)) == 20_000
    quick = start(broker, tmp_path)
    out, err = quick.communicate()
    assert quick.returncode == 0, err
    assert out.splitlines()[-2:] == [
        "1,000 events written to Kafka",
        "20,000 events were in the topic already, by an earlier import: left out",
    ]
    slow.send_signal(signal.SIGCONT)
    out, err = slow.communicate()
    assert slow.returncode == 1
    assert "labelwatch: another import into labeling.events.v1 has begun" in err
    again = start(broker, tmp_path)
    out, err = again.communicate()
    assert out.splitlines()[-2:] == [
        "0 events written to Kafka",
        "21,000 events were in the topic already, by an earlier import: left out",
    ], err

    events = [json.loads(message.value()) for message in read_all(broker.bootstrap, EVENTS)]
    labels = Counter(
        (event["agent_id"], event["task_id"], event["at"] // 1000)
        for event in events
        if event["type"] == "label_submitted"
    )
    assert labels == Counter(rows)
    # The killed one and the slow one, which had come to its clocks, had written what was rolled back.
    assert len(read_all(broker.bootstrap, EVENTS, committed=False)) == len(events) + 20_000 + 1_000 + 2

"""One person, one name: checkpoints remember which key names people, and another key is refused until that is meant."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.policy import Policy
from schemas.topics import EVENTS, checkpoints_topic, topics
from streams.engine.partition import PartitionEngine
from streams.ops.doctor import CheckMark, examine_all
from streams.runtime import build
from streams.runtime.broker import WorkerRefusal
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.settings import Settings
from tests.support.kafka import create_topics
from tests.support.tansu import Tansu
from tests.support.worker import WorkerProcess, make_load, produce

Opened = Callable[..., AbstractAsyncContextManager[CheckpointStore]]


@pytest.fixture
def opened(tansu: Tansu) -> Opened:
    """Opens the store of a worker with a key, after it has restored what there is."""
    create_topics(tansu.bootstrap, topics("main"), partitions=1)

    @asynccontextmanager
    async def store_of(key: str, replaced_key: str = "") -> AsyncIterator[CheckpointStore]:
        settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap, replaced_key=replaced_key)
        store = CheckpointStore(settings, 0, partitions=1, transactional=False, key_fingerprint=key)
        await store.start()
        try:
            await store.restore()
            yield store
        finally:
            await store.close()

    return store_of


async def test_another_key_is_refused_until_it_is_said_to_replace_the_old_one(opened: Opened) -> None:
    checkpoint = PartitionEngine(0, Policy()).checkpoint()
    # As builds before have left it: without a key. Any worker takes it, and the next checkpoint has one.
    async with opened("") as store:
        await store.write(checkpoint)
    async with opened("k-first") as store:
        await store.write(checkpoint)
    with pytest.raises(WorkerRefusal, match=r"every person would appear twice.*--replaced-key k-first\.$") as refused:
        async with opened("k-second"):
            pass
    assert checkpoints_topic("main") in str(refused.value)
    assert "LABELWATCH_PSEUDONYM_KEY_FILE" in str(refused.value)
    with pytest.raises(WorkerRefusal, match="by their plain ids: every person would appear twice"):
        async with opened("plain"):
            pass
    with pytest.raises(WorkerRefusal, match="--replaced-key k-first"):
        async with opened("k-second", replaced_key="k-third"):
            pass
    # On purpose: the setting may stay, and the old key is refused from the next checkpoint on.
    for _ in range(2):
        async with opened("k-second", replaced_key="k-first") as store:
            await store.write(checkpoint)
    async with opened("k-second") as store:
        await store.write(checkpoint)
    with pytest.raises(WorkerRefusal, match="--replaced-key k-second"):
        async with opened("k-first"):
            pass


def test_a_worker_with_another_data_folder_ends_with_one_sentence_and_doctor_says_so(
    tansu: Tansu, tmp_path: Path
) -> None:
    create_topics(tansu.bootstrap, topics("main"), partitions=1)
    load = make_load(50, seed=1)
    produce(tansu.bootstrap, EVENTS, load.records)
    named: dict[str, Any] = {"agent_labels": "pseudonym"}

    def doctor(data_dir: Path) -> str:
        settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap, data_dir=data_dir, metrics_port=0)
        (found,) = [f"{mark} {text}" for mark, about, text in examine_all(settings) if about == "key of the group"]
        return found

    with WorkerProcess(tmp_path / "one", tansu.bootstrap, **named) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        (labels,) = worker.figures()["labelwatch_build_info"]
        assert worker.terminate() == 0
    said = dict(labels)
    key = said["key"]
    secret = bytes.fromhex((tmp_path / "one" / "data" / "pseudonym.key").read_text())
    digest = hmac.new(secret, b"labelwatch key fingerprint", hashlib.sha256).digest()
    assert key == "k-" + base64.b32encode(digest).decode()[:8].lower()
    assert (said["commit"], said["policy"]) == (build.commit(), Policy().fingerprint)
    assert doctor(tmp_path / "one" / "data") == f"{CheckMark.OK} {key}"
    assert doctor(tmp_path / "none").startswith(f"{CheckMark.FAIL} it is {key}, and there is none here")

    with WorkerProcess(tmp_path / "two", tansu.bootstrap, **named) as worker:
        assert worker.wait() == 1
        assert worker.log.count("every person would appear twice") == 1
        assert "Traceback" not in worker.log
    assert f"--replaced-key {key}" in doctor(tmp_path / "two" / "data")
    with WorkerProcess(tmp_path / "two", tansu.bootstrap, **named, replaced_key=key) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        assert worker.terminate() == 0


def test_a_commit_is_the_images_or_what_pip_noted_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.commit({build.COMMIT_VARIABLE: "abc123"}) == "abc123"
    noted: list[str | None] = [
        '{"url": "git+https://git.example/l", "vcs_info": {"vcs": "git", "commit_id": "def456"}}'
    ]

    class Installed:
        def read_text(self, name: str) -> str | None:
            return noted[0] if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed())
    assert build.commit({}) == "def456"
    # From a folder, and from an index.
    for noted[0] in ('{"url": "file:///src", "dir_info": {"editable": true}}', None):
        assert build.commit({}) == "unknown"


def test_a_policys_fingerprint_is_of_what_it_means() -> None:
    plain = Policy().fingerprint
    assert (
        Policy.parse("[oncall]\nfalse_pages_per_month = 1.0\n[defaults]\naccuracy_target = 0.95\n").fingerprint == plain
    )
    one = Policy.parse('[site.a]\nvendor = "v"\n[site.b]\naccuracy_target = 0.9\n')
    other = Policy.parse('# in another order\n[site.b]\naccuracy_target = 0.90\n[site.a]\nvendor = "v"\n')
    assert one.fingerprint == other.fingerprint != plain
    assert Policy.parse("[site.b]\naccuracy_target = 0.91\n").fingerprint != one.fingerprint

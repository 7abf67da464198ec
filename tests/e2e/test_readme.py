"""README's commands over files, as they stand there, on a clone with nothing beside it and the embedded broker."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from streams.ops.embedded import EmbeddedBroker

ROOT = Path(__file__).parents[2]
#: Those that end by themselves and need files alone, beside a broker.
COMMANDS = ("simulate", "compute", "replay", "topics", "backtest", "policy")


def test_the_commands_over_files_run_as_they_stand(tansu: EmbeddedBroker, tmp_path: Path) -> None:
    # What they write goes beside a clone's own files, not into this one.
    for name in ("policy.toml", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    chosen = [line[1:] for line in lines if line[:1] == ["labelwatch"] and line[1] in COMMANDS]
    assert {line[0] for line in chosen} >= {"simulate", "compute", "replay", "topics"}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    environ["LABELWATCH_BOOTSTRAP"] = tansu.bootstrap
    for words in chosen:
        if "--bootstrap" in words:
            words[words.index("--bootstrap") + 1] = tansu.bootstrap
        command = [sys.executable, "-m", "streams.cli", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=240, check=False)
        assert done.returncode == 0, (words, done.stderr)


def test_nothing_is_read_from_outside_of_the_clone() -> None:
    named = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    beside = "../" + "shared"
    assert [name for name in named if beside in (ROOT / name).read_text("utf-8", errors="replace")] == []

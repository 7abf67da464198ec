"""Where the peers live: a virtual environment and a built jar in the user's cache, made once for each version."""

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
#: Flink serializes with Kryo, which looks into the JDK's own classes.
_OPENS = ("--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED")


def python(requirements: str = "requirements.txt") -> str:
    """The interpreter of an environment with peers that need other versions than labelwatch, or than each other."""
    version, file = f"{sys.version_info.major}.{sys.version_info.minor}", HERE / requirements

    def build(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(file)], check=True)

    # An environment cannot be moved, so it is made where it stays, and marked when it is whole.
    return str(_made(f"peers-{version}-{_digest(file)}", build, moves=False) / "bin" / "python")


def streams_command() -> list[str]:
    """How to run the Kafka Streams peer; its arguments follow."""
    return ["java", "-Xmx1g", "-cp", _class_path("kafka-streams"), "labelwatch.peer.CountByPerson"]


def flink_command() -> list[str]:
    """How to run the Flink SQL peer; its arguments follow."""
    return ["java", "-Xmx2g", *_OPENS, "-cp", _class_path("flink"), "labelwatch.peer.FlinkSql"]


def _class_path(project: str) -> str:
    """The classes and libraries of a Maven project beside this file, built if they are not there yet."""
    root = HERE / project
    sources = sorted(path for path in root.rglob("*") if path.is_file() and "target" not in path.parts)

    def build(folder: Path) -> None:
        pom = str(root / "pom.xml")
        subprocess.run(["mvn", "--quiet", "--batch-mode", "--file", pom, f"-Dout={folder}", "package"], check=True)

    folder = _made(f"{project}-{_digest(*sources)}", build, moves=True)
    return f"{folder / 'classes'}:{folder / 'lib'}/*"


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _made(name: str, build: Callable[[Path], None], *, moves: bool) -> Path:
    """A folder of the cache, built if it is not there yet; a build that was broken off does not count."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelwatch"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    if moves:
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as part:
                build(Path(part) / "out")
                (Path(part) / "out").rename(folder)
        return folder
    whole = folder / ".whole"
    if not whole.exists():
        build(folder)
        whole.touch()
    return folder

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
REQUIREMENTS = HERE / "requirements.txt"
STREAMS = HERE / "kafka-streams"
MAIN_CLASS = "labelwatch.peer.CountByPerson"


def python() -> Path:
    """The interpreter of an environment with Quix Streams and Bytewax, which need other versions than labelwatch."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"

    def build(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)

    # An environment cannot be moved, so it is made where it stays, and marked when it is whole.
    return _made(f"peers-{version}-{_digest(REQUIREMENTS)}", build, moves=False) / "bin" / "python"


def streams_command() -> list[str]:
    """How to run the Kafka Streams peer; its arguments follow."""
    sources = sorted(
        path for path in STREAMS.rglob("*") if path.suffix in (".java", ".xml") and "target" not in path.parts
    )

    def build(folder: Path) -> None:
        subprocess.run(
            ["mvn", "--quiet", "--batch-mode", "--file", str(STREAMS / "pom.xml"), f"-Dout={folder}", "package"],
            check=True,
        )

    folder = _made(f"streams-{_digest(*sources)}", build, moves=True)
    return ["java", "-Xmx1g", "-cp", f"{folder / 'classes'}:{folder / 'lib'}/*", MAIN_CLASS]


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

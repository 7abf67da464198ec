"""docker-compose.yml, Dockerfile and what they mount, without a Docker engine."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from schemas.policy import Policy
from streams.runtime.settings import Settings
from tests.stack.native import COMPOSE, ROOT, compose

LOADER = Path(__file__).parent / "compose"
SERVICES = compose()["services"]


@pytest.fixture(scope="session")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        pytest.skip("go is missing: the loader of Docker Compose is a Go library")
    program = tmp_path_factory.mktemp("compose") / "compose"
    subprocess.run(["go", "build", "-o", program, "."], cwd=LOADER, check=True, timeout=600)
    return program


def load(loader: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """Loads a compose file as if it stood in the project's root."""
    return subprocess.run([loader, ROOT, file], capture_output=True, text=True, check=False)


@pytest.mark.promtool
@pytest.mark.timeout(600)
def test_docker_compose_would_load_the_file(loader: Path) -> None:
    done = load(loader, COMPOSE)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "no variable may be unset"
    assert set(done.stdout.strip("[]\n").split()) == set(SERVICES)


@pytest.mark.promtool
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("networks: [labelwatch]", "networks: [labelwach]"),
        ("topics: {condition", "topic: {condition"),
        ("prometheus-data:/prometheus", "prometheus-dat:/prometheus"),
        ("127.0.0.1:9090:9090", "127.0.0.1:9090:9090x"),
        ("restart: unless-stopped", "restrat: unless-stopped"),
    ],
)
def test_the_loader_finds_faults(loader: Path, tmp_path: Path, right: str, wrong: str) -> None:
    text = COMPOSE.read_text("utf-8")
    assert right in text
    file = tmp_path / COMPOSE.name
    file.write_text(text.replace(right, wrong), "utf-8")
    assert load(loader, file).returncode != 0


@pytest.mark.promtool
def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_pinned_in_one_place() -> None:
    pinned = dict(re.findall(r"^(\w+_IMAGE)=(\S+)$", (ROOT / ".env").read_text(), re.M))
    asked = set(re.findall(r"\$\{(\w+_IMAGE)\}", COMPOSE.read_text("utf-8")))
    assert asked == set(pinned)
    for image in pinned.values():
        assert re.search(r":v?\d+\.\d+\.\d+", image), f"{image} is no exact version"
    (default,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert default == pinned["PYTHON_IMAGE"]
    pom = (ROOT / "tests" / "support" / "kafka-pom.xml").read_text()
    assert f"<version>{pinned['KAFKA_IMAGE'].partition('@')[0].rpartition(':')[2]}</version>" in pom, (
        "tests run another Kafka"
    )


def test_the_image_installs_what_constraints_say_and_by_hash_alone() -> None:
    text = (ROOT / "hashes.txt").read_text("utf-8")
    assert "://" not in text, "an address of an index has no place in it"
    blocks = [block for block in re.split(r"(?m)^(?=[a-z])", text) if not block.startswith("#")]
    hashed: dict[str, str] = {}
    for block in blocks:
        found = re.match(r"([a-z0-9._-]+)==(\S+) \\\n((?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)$", block)
        assert found, f"not a version with its hashes: {block.splitlines()[0]}"
        hashed[canonicalize_name(found[1])] = found[2]
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if "==" in line
    )
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    assert hashed.pop("setuptools", None), "builds the package, in no environment of ours"
    assert {name: version for name, version in hashed.items() if pinned.get(name) != version} == {}, "run `make hashes`"
    # All that the package needs, and what that needs, on the image's system and Python.
    python = re.search(r"python:(\d+\.\d+)", (ROOT / ".env").read_text("utf-8"))
    assert python
    where = {"python_version": python[1], "sys_platform": "linux", "platform_system": "Linux", "extra": ""}
    wanted = [
        Requirement(each) for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    needed: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        extras = ["", *requirement.extras]
        if name in needed and not requirement.extras:
            continue
        needed.add(name)
        for each in map(Requirement, metadata.requires(name) or ()):
            if each.marker is None or any(each.marker.evaluate(where | {"extra": extra}) for extra in extras):
                wanted.append(each)
    assert set(hashed) == needed, "run `make hashes`"


def test_everything_mounted_exists() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert all((ROOT / path).exists() for path in mounted if path.startswith("."))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_held_in_bounds(name: str) -> None:
    service = SERVICES[name]
    one_shot = service["restart"] == "no"
    assert one_shot or "limits" in service["deploy"]["resources"]
    assert one_shot or "test" in service["healthcheck"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), "nothing is open to the network"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_workers_differ_by_their_name_alone() -> None:
    one, two = (SERVICES[name] for name in ("worker-1", "worker-2"))
    assert {key for key in one if one[key] != two[key]} == {"environment", "ports"}
    assert one["environment"] | {"LABELWATCH_INSTANCE_ID": ""} == two["environment"] | {"LABELWATCH_INSTANCE_ID": ""}
    settings = Settings.resolve(environ=one["environment"])
    assert settings.instance_id == "worker-1"
    seconds = int(one["stop_grace_period"].removesuffix("s"))
    assert seconds > settings.stop_seconds, "Docker would kill a worker that still writes"


def test_prometheus_asks_the_workers_that_there_are() -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    for job in config["scrape_configs"]:
        if not job["job_name"].startswith("labelwatch"):
            continue
        (group,) = job["static_configs"]
        assert {target.split(":")[0] for target in group["targets"]} == {n for n in SERVICES if n.startswith("worker-")}
    assert "--storage.tsdb.retention.time=90d" in SERVICES["prometheus"]["command"]


def test_the_policy_names_the_simulated_sites() -> None:
    from streams.sources.world import PLACES

    policy = Policy.load(ROOT / "policy.toml")
    for name, vendor, timezone, *_ in PLACES:
        assert policy.names_site(name)
        assert (policy.vendor(name), policy.timezone(name)) == (vendor, timezone)


def test_the_image_is_built_from_what_the_dockerfile_copies(tmp_path: Path) -> None:
    """The package's own build finds all it needs among the copied files, and nothing more is sent to Docker."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M) for word in line.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= copied

"""Real Apache Kafka for tests and benchmarks: a KRaft node from Maven Central's jars, started and killed at will."""

import atexit
import base64
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka.admin import KafkaAdminClient, NewTopic

from schemas.topics import Topic
from tests.support.ports import free_ports

POM = Path(__file__).with_name("kafka-pom.xml")
START_SECONDS = 180
STOP_SECONDS = 30
#: Settings with which a compacted topic is compacted while a test waits.
COMPACTS_SOON = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"}
#: A broker that lives for a minute compiles no more than it needs: it starts at half of the cost.
LIGHT_JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
#: Kafka's own scripts and what each of them starts.
TOOLS = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-transactions.sh": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-delete-records.sh": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-get-offsets.sh": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-reassign-partitions.sh": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}


class BrokerError(RuntimeError):
    """The broker did not do as told; the message ends with the last lines of its log."""


def missing_tools() -> list[str]:
    """The programs that real Kafka needs and this machine lacks."""
    return [tool for tool in ("java", "mvn") if shutil.which(tool) is None]


def jars() -> Path:
    """The folder of Kafka's jars, fetched once for each version and user, and safe against a second fetch beside it."""
    cache = _cache()
    folder = cache / f"kafka-{_version()}"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as part:
        lib = Path(part) / "lib"
        subprocess.run(
            [
                *("mvn", "--quiet", "--batch-mode", "--file", POM, "dependency:copy-dependencies"),
                *("-DincludeScope=runtime", f"-DoutputDirectory={lib}"),
            ],
            check=True,
        )
        try:
            lib.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    return folder


def light_java() -> Sequence[str]:
    """Java's options for a broker of a test, with the classes of a broker as Java keeps them between processes.

    The archive of classes is made once for each version of Kafka and Java, by a broker that does nothing else; it
    saves half of every later start. A Java that keeps none gets an empty file, and starts without.
    """
    java = Path(shutil.which("java") or "java").resolve()
    this_java = hashlib.sha256(f"{java} {java.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    archive = _cache() / f"classes-{_version()}-{this_java}.jsa"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=archive.parent) as part:
            made = Path(part) / archive.name
            broker = RealKafka(Path(part) / "broker", java=(*LIGHT_JAVA, f"-XX:ArchiveClassesAtExit={made}"))
            broker.start()
            create_topics(broker.bootstrap, ["any"])
            broker.stop()
            made.touch()
            made.replace(archive)
    if not archive.stat().st_size:
        return LIGHT_JAVA
    # Where it does not fit after all, Java says so and reads the jars: not on standard output, which tests read.
    return (*LIGHT_JAVA, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=error:stderr")


def _version() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()[:12]


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelwatch"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


class RealKafka:
    """One broker and controller in one process, on ports of its own; its log outlives `kill9` and `restart`.

    Args:
        folder: Where its configuration, log directories and output go; must be empty.
        heap: Java's `-Xmx`.
        java: More of Java's options; None for those of a broker that starts quickly.
        properties: Broker settings beside the defaults below.
        listeners: More listeners beside the plain one, by name, with their protocol; `addresses` says where.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heap: str = "512m",
        java: Sequence[str] | None = None,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.output = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(listeners or {})}
        ports = free_ports(len(protocols))
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in zip(protocols, ports, strict=True)}
        self.bootstrap = self.addresses["PLAINTEXT"]
        self._config = folder / "server.properties"
        options = light_java() if java is None else java
        self._java = ["java", f"-Xmx{heap}", *options, "-cp", f"{jars()}/*"]
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.addresses['CONTROLLER']}",
            "listeners": ",".join(f"{name}://{address}" for name, address in self.addresses.items()),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": str(folder / "logs"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            **(properties or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        # As `kafka-storage.sh random-uuid` makes them: never one that looks like an option.
        cluster_id = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        self._tool("format", "-t", cluster_id, "-c", str(self._config))

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        if self._process is None:
            raise BrokerError("The broker is not running: call start() first.")
        return self._process.pid

    def start(self) -> "RealKafka":
        """Starts the broker on its log directories and waits until it answers.

        Raises:
            BrokerError: It ended, or did not answer within 180 s.
        """
        if self._process is not None:
            raise BrokerError(f"The broker runs already, as process {self._process.pid}.")
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._config)], stdout=output, stderr=output, cwd=self.folder
            )
        atexit.register(self.kill9)
        self._wait_until_ready(self._process)
        return self

    def stop(self) -> None:
        """Ends the broker in good order (SIGTERM), or kills it when that takes more than 30 s."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ended()

    def kill9(self) -> None:
        """Kills the broker at once (SIGKILL). What it wrote stays: the page cache outlives the process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._ended()

    def restart(self) -> None:
        """Stops the broker if it runs, and starts it on the same port and log directories."""
        self.stop()
        self.start()

    def run(self, script: str, *arguments: str) -> str:
        """Runs one of Kafka's own scripts and gives back what it printed.

        Raises:
            BrokerError: It failed.
        """
        done = subprocess.run(
            [*self._java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", TOOLS[script], *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise BrokerError(f"{script} {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def write_scripts(self, folder: Path) -> None:
        """Writes Kafka's own scripts into a folder, for a shell that has it in its PATH."""
        for script, program in TOOLS.items():
            words = [*self._java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", program]
            path = folder / script
            path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            path.chmod(0o755)

    def _ended(self) -> None:
        self._process = None
        atexit.unregister(self.kill9)

    def _tool(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._java, "kafka.tools.StorageTool", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BrokerError(f"kafka.tools.StorageTool {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self._ended()
                raise BrokerError(f"The broker ended with code {process.returncode}.\n{self._last_lines()}")
            try:
                if admin.list_topics(timeout=0.5).brokers:
                    return
            except KafkaException:
                continue  # not listening yet
        self.kill9()
        raise BrokerError(f"The broker did not answer within {START_SECONDS} s.\n{self._last_lines()}")

    def _last_lines(self, count: int = 20) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-count:])


def create_topics(
    bootstrap: str,
    topics: Iterable[str | Topic],
    *,
    partitions: int = 1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Creates topics and returns once the broker lists them; works with Kafka and with the embedded broker.

    Args:
        bootstrap: `host:port` of a broker.
        topics: Names, or topics of `schemas.topics`, whose settings are used.
        partitions: Of each topic.
        config: Settings for all of them, over their own.
    """
    wanted = {
        each.name: {**each.config, **(config or {})} if isinstance(each, Topic) else dict(config or {})
        for each in (Topic(each) if isinstance(each, str) else each for each in topics)
    }
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics(
            [
                NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=settings)
                for name, settings in wanted.items()
            ]
        )
        deadline = time.monotonic() + START_SECONDS
        while not wanted.keys() <= set(admin.list_topics()):
            if time.monotonic() > deadline:
                raise BrokerError(f"The broker at {bootstrap} does not list {sorted(wanted)}.")
            time.sleep(0.05)
    finally:
        admin.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """One real broker for the whole run; a test that kills it restarts it. A test that uses it is marked `kafka`."""
    if missing := missing_tools():
        pytest.skip(f"real Kafka needs {' and '.join(missing)}: install Java 17 or newer and Maven")
    broker = RealKafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()

"""TLS and login on real Kafka: every command of ours honours them, and says in one sentence what is wrong with them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.topics import EVENTS
from tests.support.certificates import Authority
from tests.support.kafka import RealKafka
from tests.support.worker import WAIT_SECONDS, WorkerProcess, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

#: Odd on purpose: as JAAS, SASL and HTTP must carry them.
PASSWORD = "pa55 w0rd=,€"
WRONG = "wr0ng-pa55w0rd"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Secured(NamedTuple):
    """A broker, who signed for it, and somebody else who did not."""

    kafka: RealKafka
    authority: Authority
    stranger: Authority

    def environ(self, listener: str = "SECURE", **settings: Any) -> dict[str, str]:
        """A client's settings: all right for the listener, but for those given; None takes one away."""
        folder = self.kafka.folder.parent
        (folder / "password").write_text(f"{PASSWORD}\n", "utf-8")
        right: dict[str, object] = {
            "bootstrap": self.kafka.addresses[listener],
            "security_protocol": {"SECURE": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT", "PLAINTEXT": "PLAINTEXT"}.get(
                listener, "SSL"
            ),
            "ssl_cafile": self.authority.file,
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": "somebody",
            "sasl_password_file": folder / "password",
            "session_timeout_seconds": 6,
        } | settings
        return {f"LABELWATCH_{name.upper()}": str(value) for name, value in right.items() if value is not None}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One broker with a listener for everything that can be wrong."""
    folder = tmp_path_factory.mktemp("secured")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "theirs", "stranger")
    here = ("localhost", "127.0.0.1")
    keystores = {
        "secure": authority.issue("broker", *here),
        "expired": authority.issue("expired", *here, days=-1),
        "misnamed": authority.issue("misnamed", "kafka.example"),
        "mutual": authority.issue("mutual", *here),
    }
    properties = {
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(authority.file),
        "listener.name.secure.sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "listener.name.secure.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
        f'required user_somebody="{PASSWORD}";'.encode("unicode_escape").decode(),
        "listener.name.clear.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    }
    for listener, mechanism in (("secure", "256"), ("secure", "512"), ("clear", "512")):
        properties[f"listener.name.{listener}.scram-sha-{mechanism}.sasl.jaas.config"] = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        )
    for listener, file in keystores.items():
        properties[f"listener.name.{listener}.ssl.keystore.type"] = "PEM"
        properties[f"listener.name.{listener}.ssl.keystore.location"] = str(file)
    protocols = {"SECURE": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT", "EXPIRED": "SSL", "MISNAMED": "SSL", "MUTUAL": "SSL"}
    kafka = RealKafka(folder / "broker", properties=properties, listeners=protocols).start()
    try:
        for mechanism in MECHANISMS[1:]:
            added = folder / f"{mechanism}.properties"
            added.write_text(f"{mechanism}=password={PASSWORD}".encode("unicode_escape").decode())
            kafka.run(
                *("kafka-configs.sh", "--bootstrap-server", kafka.bootstrap, "--alter", "--entity-type", "users"),
                *("--entity-name", "somebody", "--add-config-file", str(added)),
            )
        yield Secured(kafka, authority, stranger)
    finally:
        kafka.stop()


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str


def labelwatch(environ: Mapping[str, str], *arguments: object) -> Ended:
    """Runs a command to its end; nothing that it says may hold a password."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *map(str, arguments)],
        env={**own, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    out = done.stdout + done.stderr
    assert PASSWORD not in out
    assert WRONG not in out
    return Ended(done.returncode, out)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    file = tmp_path / "events.jsonl"
    load = make_load(200, seed=31, sites=2)
    file.write_bytes(b"\n".join(value for _, value in load.records if value))
    return file


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_command_logs_in(secured: Secured, events: Path, tmp_path: Path, mechanism: str) -> None:
    worker_id = f"in-{mechanism}"
    environ = secured.environ(sasl_mechanism=mechanism, id=worker_id)
    assert "checkpoints: created" in labelwatch(environ, "topics", "create", "--partitions", 2).out
    assert labelwatch(environ, "replay", events, "--plain").code == 0
    settings: dict[str, Any] = {name.removeprefix("LABELWATCH_").lower(): value for name, value in environ.items()}
    with WorkerProcess(tmp_path, settings.pop("bootstrap"), **settings) as worker:
        worker.wait_for("partition=0 caught up")
        worker.wait_for("partition=1 caught up")
        while sum(worker.figures()["labelwatch_events_total"].values()) < 200:
            assert worker.process.poll() is None
            time.sleep(0.1)
        commands = Path(f"/proc/{worker.process.pid}").glob("task/*/children")
        pids = [worker.process.pid, *(int(pid) for file in commands for pid in file.read_text().split())]
        assert all(PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        assert worker.terminate() == 0
        assert PASSWORD not in worker.log
        assert "WARNING" not in worker.log
        assert "ERROR" not in worker.log
    if mechanism != MECHANISMS[-1]:
        return  # the others use the same clients
    assert labelwatch(environ, "topics", "check").out == "All topics are there, with their settings.\n"
    assert labelwatch(environ, "simulate", "--seconds", 1, "--rate", 20).code == 0
    asked = ("explain", "--site", "site-0", "--figure", "labels", "--window", "7d", "--clock", "event", "--plain")
    assert "# labels: " in labelwatch(environ, *asked).out
    told = labelwatch(environ, "doctor", "--agent-labels", "plain", "--metrics-port", 0)
    assert told.code == 0, told.out
    assert "ok    transactions: offered" in told.out


COMMANDS = {
    "worker": ("worker", "--metrics-port", "0"),
    "topics check": ("topics", "check"),
    "topics create": ("topics", "create"),
    "doctor": ("doctor", "--metrics-port", "0"),
    "simulate": ("simulate", "--seconds", "1"),
    "replay": ("replay", "FILE", "--plain"),
    "explain": ("explain", "--site", "site-0", "--figure", "labels", "--window", "1h"),
}


def refused(environ: Mapping[str, str], command: str, events: Path, code: int = 1) -> str:
    """The one sentence with which a command ends."""
    arguments = [str(events) if word == "FILE" else word for word in COMMANDS[command]]
    folder = ("--data-dir", str(events.parent)) if command in ("worker", "doctor") else ()
    ended = labelwatch(environ, *arguments, *folder)
    assert ended.code == code, ended.out
    assert "Traceback" not in ended.out
    assert "defect" not in ended.out
    lines = [line for line in ended.out.splitlines() if not re.match(r"ok |note |\S+ INFO ", line)]
    assert len(lines) == 1, ended.out
    return re.sub(r"^(labelwatch: |FAIL  broker: |\S+ ERROR +\S+/\S+ )", "", lines[0]).rstrip(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_is_one_sentence(secured: Secured, events: Path, command: str) -> None:
    environ = secured.environ(sasl_password_file=None, sasl_password=WRONG)
    assert refused(environ, command, events) == (
        f"The broker at {secured.kafka.addresses['SECURE']} does not let user 'somebody' in with SCRAM-SHA-512: name "
        "or password is wrong, or the user has no SCRAM-SHA-512 password; check LABELWATCH_SASL_USERNAME and "
        "LABELWATCH_SASL_PASSWORD"
    )


@pytest.mark.parametrize("mechanism", MECHANISMS[:2])
def test_and_with_the_other_mechanisms(secured: Secured, events: Path, tmp_path: Path, mechanism: str) -> None:
    (tmp_path / "wrong").write_text(WRONG)
    environ = secured.environ(sasl_password_file=tmp_path / "wrong", sasl_mechanism=mechanism)
    sentence = refused(environ, "worker", events)
    assert f"does not let user 'somebody' in with {mechanism}: " in sentence
    assert sentence.endswith("check LABELWATCH_SASL_USERNAME and LABELWATCH_SASL_PASSWORD_FILE")


def test_a_traceback_shows_no_password_either(secured: Secured, events: Path) -> None:
    for settings in ({"sasl_password_file": None, "sasl_password": WRONG}, {"ssl_cafile": secured.stranger.file}):
        environ = secured.environ(**settings) | {"LABELWATCH_DEBUG": "1", "PYTHONASYNCIODEBUG": "1"}
        for arguments in (("topics", "create"), ("topics", "check"), ("replay", events, "--plain")):
            ended = labelwatch(environ, *arguments)
            assert ended.code == 1
            assert "Traceback" in ended.out


#: What is wrong: the listener, the settings for it, and what is said.
TROUBLES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "another authority": (
        "SECURE",
        {"ssl_cafile": "STRANGER"},
        "shows a certificate that was issued by an authority that is not the one in STRANGER: give the certificate of "
        "the brokers' authority in LABELWATCH_SSL_CAFILE",
    ),
    "no authority": (
        "SECURE",
        {"ssl_cafile": None},
        "shows a certificate that was issued by an authority that is not among this machine's own: give the "
        "certificate of the brokers' authority in LABELWATCH_SSL_CAFILE",
    ),
    "expired": (
        "EXPIRED",
        {},
        "shows a certificate that has expired, or its authority's has: have a new one issued for the broker",
    ),
    "another name": (
        "MISNAMED",
        {},
        "shows a certificate that is for other names than '127.0.0.1': connect by a name that it has, or have "
        "one issued for this name (subjectAltName)",
    ),
    "no certificate of its own": (
        "MUTUAL",
        {},
        "ends the connection after the handshake: it may want a client's certificate (LABELWATCH_SSL_CERTFILE), or "
        "LABELWATCH_SECURITY_PROTOCOL is not that of its listener",
    ),
    "another mechanism": (
        "CLEAR",
        {"sasl_mechanism": "PLAIN"},
        "does not offer PLAIN for logging in: set LABELWATCH_SASL_MECHANISM to one of its listener's "
        "sasl.enabled.mechanisms",
    ),
    "plain where TLS is spoken": (
        "SECURE",
        {"security_protocol": "PLAINTEXT"},
        "speaks TLS there, and LABELWATCH_SECURITY_PROTOCOL is PLAINTEXT: set it to SSL or SASL_SSL",
    ),
    "a login where TLS is spoken": (
        "SECURE",
        {"security_protocol": "SASL_PLAINTEXT"},
        "speaks TLS there, and LABELWATCH_SECURITY_PROTOCOL is SASL_PLAINTEXT: set it to SASL_SSL",
    ),
    "TLS where none is spoken": (
        "PLAINTEXT",
        {"security_protocol": "SSL"},
        "does not speak TLS there, and LABELWATCH_SECURITY_PROTOCOL is SSL: check the port and "
        "LABELWATCH_SECURITY_PROTOCOL",
    ),
    "no login where one is wanted": (
        "CLEAR",
        {"security_protocol": "PLAINTEXT"},
        "ends the connection unless a client logs in, and LABELWATCH_SECURITY_PROTOCOL is PLAINTEXT: set it as its "
        "listener",
    ),
}


@pytest.mark.parametrize(
    ("trouble", "command"),
    [(trouble, "worker") for trouble in TROUBLES]
    # The two other ways to a broker: kafka-python, and a producer without group.
    + [(trouble, command) for trouble in ("another authority", "expired") for command in ("topics create", "replay")],
)
def test_what_is_wrong_is_one_sentence(secured: Secured, events: Path, trouble: str, command: str) -> None:
    listener, settings, said = TROUBLES[trouble]
    stranger = str(secured.stranger.file)
    wrong = {name: stranger if value == "STRANGER" else value for name, value in settings.items()}
    address = secured.kafka.addresses[listener]
    assert refused(secured.environ(listener, **wrong), command, events) == (
        f"The broker at {address} {said.replace('STRANGER', stranger)}"
    )


def test_a_name_that_nobody_knows_is_one_sentence(secured: Secured, events: Path) -> None:
    environ = secured.environ(bootstrap="no-such-broker.invalid:9092")
    assert refused(environ, "worker", events) == (
        "The name 'no-such-broker.invalid' is not known here: check --bootstrap, or the broker's advertised.listeners"
    )


def test_a_certificate_is_as_good_as_a_login(secured: Secured, events: Path) -> None:
    own = secured.authority.issue("client")
    environ = secured.environ("MUTUAL", ssl_certfile=own)
    assert labelwatch(environ, "topics", "create", "--partitions", 2).code == 0
    assert labelwatch(environ, "replay", events, "--plain").code == 0
    foreign = secured.environ("MUTUAL", ssl_certfile=secured.stranger.issue("foreign"))
    assert "ends the connection after the handshake" in refused(foreign, "worker", events)


def test_a_session_that_the_broker_does_not_allow_is_one_sentence(secured: Secured, events: Path) -> None:
    environ = secured.environ(session_timeout_seconds=2)
    assert labelwatch(environ, "topics", "create", "--partitions", 2).code == 0
    assert refused(environ, "worker", events) == (
        "The broker does not allow --session-timeout-seconds 2: choose one between its "
        "group.min.session.timeout.ms and group.max.session.timeout.ms"
    )


@pytest.mark.parametrize(
    ("command", "settings", "sentence"),
    [
        ("worker", {"ssl_cafile": "/no/file"}, "LABELWATCH_SSL_CAFILE: cannot read /no/file: No such file"),
        ("replay", {"ssl_cafile": "/no/file"}, "LABELWATCH_SSL_CAFILE: cannot read /no/file: No such file"),
        ("explain", {"ssl_cafile": "/no/file"}, "LABELWATCH_SSL_CAFILE: cannot read /no/file: No such file"),
        ("topics check", {"ssl_certfile": "/no/file"}, "LABELWATCH_SSL_CERTFILE: cannot use /no/file with the key in"),
        ("topics create", {"sasl_password_file": "/no/file"}, "LABELWATCH_SASL_PASSWORD_FILE: cannot read /no/file:"),
        ("worker", {"sasl_password_file": None}, "LABELWATCH_SECURITY_PROTOCOL=SASL_SSL needs LABELWATCH_SASL_USERN"),
        ("worker", {"sasl_mechanism": "GSSAPI"}, "LABELWATCH_SASL_MECHANISM 'GSSAPI': use PLAIN, SCRAM-SHA-256"),
    ],
)
def test_wrong_settings_end_with_code_2(
    secured: Secured, events: Path, command: str, settings: dict[str, Any], sentence: str
) -> None:
    assert refused(secured.environ(**settings), command, events, code=2).startswith(sentence)


def test_a_worker_says_when_it_is_no_longer_let_in_and_goes_on_when_it_is(secured: Secured, tmp_path: Path) -> None:
    """The password is changed while it runs, and the connections are cut; then changed back."""
    environ = secured.environ(id="changed")
    assert labelwatch(environ, "topics", "create", "--partitions", 2).code == 0
    settings: dict[str, Any] = {name.removeprefix("LABELWATCH_").lower(): value for name, value in environ.items()}

    def change(password: str) -> None:
        added = tmp_path / "changed.properties"
        added.write_text(f"SCRAM-SHA-512=password={password}".encode("unicode_escape").decode())
        secured.kafka.run(
            *("kafka-configs.sh", "--bootstrap-server", secured.kafka.bootstrap, "--alter", "--entity-type", "users"),
            *("--entity-name", "somebody", "--add-config-file", str(added)),
        )

    with WorkerProcess(tmp_path, settings.pop("bootstrap"), **settings) as worker:
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        try:
            change(WRONG)
            secured.kafka.restart()
            worker.wait_for("broker away: The broker at .* does not let user 'somebody' in with SCRAM-SHA-512: name or")
        finally:
            change(PASSWORD)
        worker.wait_for("broker back")
        load = make_load(100, seed=32)
        later = [(b"later", value and value.replace(b"site-", b"later-")) for _, value in load.records]
        produce(secured.kafka.bootstrap, EVENTS, later)
        deadline = time.monotonic() + WAIT_SECONDS
        while _labels(worker, "later-") != load.labels.total():
            assert time.monotonic() < deadline, worker.log
            time.sleep(0.2)
        assert worker.terminate() == 0
        assert WRONG not in worker.log
        assert PASSWORD not in worker.log


def _labels(worker: WorkerProcess, prefix: str) -> float:
    labels = worker.figures().get("labelwatch_labels_total", {})
    return sum(value for series, value in labels.items() if dict(series)["site"].startswith(prefix))

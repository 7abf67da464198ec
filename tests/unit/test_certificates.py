"""Our own certificates against an authority of the test's making: until when, what is wrong with them, renewal."""

import datetime as dt
import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from streams.cli import app
from streams.exporter import MetricsServer
from streams.exporter.pseudonyms import plain
from streams.ops.doctor import CheckMark, _certificates, _port
from streams.ops.probe import probe
from streams.runtime import certificates
from streams.runtime.settings import Settings, SettingsError
from streams.views.http import Unreachable
from streams.views.samples import read_worker
from tests.support.certificates import Authority
from tests.support.exporter import FakeEngine, showing

LOGIN = ("prometheus", "s3cret")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def environ(**settings: Any) -> dict[str, str]:
    return {f"LABELWATCH_{name.upper()}": str(value) for name, value in settings.items()}


def serve(certfile: Path, **more: Any) -> tuple[MetricsServer, Settings]:
    settings = Settings.resolve(environ=environ(metrics_certfile=certfile, metrics_password=LOGIN[1], **more))
    server = MetricsServer(
        showing(FakeEngine()),
        plain,
        port=0,
        login=settings.metrics_login(),
        certificate=settings.metrics_certificate(),
    )
    return server, settings


def end_of(file: Path) -> float:
    """By another library than ours."""
    return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()


# Until when.


@pytest.mark.parametrize("days", [-3, 1, 30, 3_650, 36_500])
def test_the_end_is_what_another_library_reads(authority: Authority, days: float) -> None:
    """Beyond 2049 the time is written in another form."""
    file = authority.issue("worker", "localhost", days=days)
    assert certificates.expiry_seconds(file) == end_of(file)


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "worker.pem"
    file.write_text(text)
    with pytest.raises(certificates.CertificateError, match=str(file)):
        certificates.expiry_seconds(file)


# What is wrong.


def encrypted(key: ec.EllipticCurvePrivateKey) -> bytes:
    how = serialization.BestAvailableEncryption(b"s3cret")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def test_each_fault_of_certificate_and_key_has_its_sentence(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.issue("worker", "localhost"), authority.issue("other", "localhost")
    certificate_alone, empty, locked = tmp_path / "certificate.pem", tmp_path / "empty.pem", tmp_path / "locked.pem"
    certificate_alone.write_bytes(
        x509.load_pem_x509_certificate(good.read_bytes()).public_bytes(serialization.Encoding.PEM)
    )
    empty.write_text("")
    key = serialization.load_pem_private_key(good.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    locked.write_bytes(encrypted(key))
    (passphrase := tmp_path / "passphrase").write_text("s3cret\n")
    (wrong := tmp_path / "wrong").write_text("wr0ng\n")
    for files, sentence in (
        ({"metrics_certfile": tmp_path / "none"}, "No such file or directory"),
        ({"metrics_certfile": empty}, "there is no certificate in it; a PEM file is needed"),
        ({"metrics_certfile": certificate_alone}, f"there is no key in {certificate_alone}; a PEM file is needed"),
        ({"metrics_certfile": good, "metrics_keyfile": other}, "the key is of another certificate"),
        ({"metrics_certfile": good, "metrics_keyfile": locked}, "give its passphrase in LABELWATCH_METRICS_KEY_PASSW"),
        (
            {"metrics_certfile": good, "metrics_keyfile": locked, "metrics_key_password_file": wrong},
            "the passphrase in LABELWATCH_METRICS_KEY_PASSWORD_FILE does not open it",
        ),
    ):
        with pytest.raises(SettingsError) as caught:
            Settings.resolve(environ=environ(**files)).metrics_certificate()
        assert str(caught.value).startswith(f"LABELWATCH_METRICS_CERTFILE: cannot use {files['metrics_certfile']} with")
        assert sentence in str(caught.value)
        assert "wr0ng" not in str(caught.value)
    with pytest.raises(SettingsError, match="LABELWATCH_METRICS_KEYFILE needs LABELWATCH_METRICS_CERTFILE"):
        Settings.resolve(environ=environ(metrics_keyfile=good))
    opened = environ(metrics_certfile=good, metrics_keyfile=locked, metrics_key_password_file=passphrase)
    found = Settings.resolve(environ=opened).metrics_certificate()
    assert found is not None
    assert found.expires_at_seconds == end_of(certificate_alone)


def test_a_worker_with_a_wrong_certificate_ends_with_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from streams.cli import main; main()", "worker"]
    given = os.environ | environ(metrics_certfile=tmp_path / "none")
    result = subprocess.run(command, env=given, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "LABELWATCH_METRICS_CERTFILE: cannot use" in result.stderr


# Who reads.


def test_pages_and_probes_speak_tls_to_whoever_knows_the_authority(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = authority.issue("worker", "localhost", "127.0.0.1")
    server, _ = serve(file)
    with server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        trust = Settings.resolve(environ=environ(metrics_cafile=authority.file)).metrics_trust()
        found = read_worker(server.url, LOGIN, trust)
        assert found.value("labelwatch_certificate_expiry_timestamp_seconds", use="metrics") == end_of(file)
        with pytest.raises(Unreachable, match=r"is not accepted .*LABELWATCH_METRICS_CAFILE"):
            read_worker(server.url, LOGIN)
        with pytest.raises(Unreachable, match="needs a password"):
            read_worker(server.url, None, trust)
        with pytest.raises(Unreachable, match="refuses plain HTTP: write https://"):
            read_worker(server.url.replace("https", "http"), LOGIN)
        monkeypatch.setenv("LABELWATCH_METRICS_CERTFILE", str(file))
        assert probe(f"http://localhost:{server.port}/readyz") is None
        assert str(probe(f"http://localhost:{server.port}/nothing")).startswith("Not found")
        svg = tmp_path / "board.svg"
        watched = CliRunner().invoke(
            app,
            ["watch", "--url", server.url, "--metrics-cafile", str(authority.file), "--svg", str(svg)],
            env=environ(metrics_password=LOGIN[1]),
        )
        assert watched.exit_code == 0, watched.output
        assert svg.exists()


def test_doctor_knows_its_own_worker_by_the_certificate_and_says_when_it_ends(authority: Authority) -> None:
    """The certificate is for another name than loopback's."""
    server, _ = serve(file := authority.issue("worker", "worker-1", days=10))
    with server:
        here = environ(metrics_certfile=file, metrics_password=LOGIN[1], metrics_port=server.port)
        settings = Settings.resolve(environ=here)
        assert _port(settings).text == f"a labelwatch worker answers at {server.port}"
        # A stranger at the port, with a certificate that the same authority has signed, does not get the password.
        stranger = environ(
            metrics_certfile=authority.issue("stranger", "worker-1"),
            metrics_password=LOGIN[1],
            metrics_port=server.port,
        )
        assert _port(Settings.resolve(environ=stranger)).mark is CheckMark.FAIL
    (line,) = _certificates(settings)
    assert (line.mark, line.about) == (CheckMark.NOTE, "metrics certificate")
    assert f"holds until {dt.datetime.fromtimestamp(end_of(file), dt.UTC):%Y-%m-%d %H:%M} UTC: renew it" in line.text
    ended = Settings.resolve(environ=environ(metrics_certfile=authority.issue("old", "worker-1", days=-1)))
    assert [line.mark for line in _certificates(ended)] == [CheckMark.FAIL]


def test_whoever_never_shakes_hands_keeps_nobody_out(authority: Authority) -> None:
    server, _ = serve(authority.issue("worker", "localhost", "127.0.0.1"))
    trust = ssl.create_default_context(cafile=authority.file)
    with server:
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(40)]
        assert probe_with(server, trust, "/healthz") == 200
        assert probe_with(server, trust, "/metrics") == 200
        for each in silent:
            each.close()


def probe_with(server: MetricsServer, trust: ssl.SSLContext, path: str) -> int:
    headers = {"Authorization": f"Basic {b64encode(':'.join(LOGIN).encode()).decode()}"}
    with closing(http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=trust)) as connection:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


# Renewal.


def test_a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificates, "REFRESH_SECONDS", 0.05)
    first, second = authority.issue("first", "127.0.0.1", days=5), authority.issue("second", "127.0.0.1", days=50)
    (served := tmp_path / "served.pem").write_bytes(first.read_bytes())
    server, _ = serve(served)
    trust = Settings.resolve(environ=environ(metrics_cafile=authority.file)).metrics_trust()

    def expiry() -> float | None:
        name = "labelwatch_certificate_expiry_timestamp_seconds"
        return read_worker(server.url, LOGIN, trust).value(name, use="metrics")

    def shown() -> float:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain_socket,
            ssl.create_default_context(cafile=authority.file).wrap_socket(
                plain_socket, server_hostname="127.0.0.1"
            ) as secured,
        ):
            peer = secured.getpeercert()
            assert peer is not None
            return float(ssl.cert_time_to_seconds(str(peer["notAfter"])))

    def until(done: object) -> None:
        deadline = time.monotonic() + 60
        while not done():  # type: ignore[operator]  # a condition
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with server:
        assert shown() == expiry() == end_of(first)
        served.write_text("half of a file")
        until(lambda: "is not taken, the old one goes on" in caplog.text)
        assert shown() == expiry() == end_of(first)
        # As a secret of Kubernetes is: another file under the same name.
        (draft := tmp_path / "draft.pem").write_bytes(second.read_bytes())
        draft.replace(served)
        until(lambda: shown() == end_of(second))
        assert expiry() == end_of(second)
    assert caplog.text.count("is not taken") == 1, "once, however often it is looked at"

"""Settings: flag, else environment, else default; and a sentence for whatever is wrong."""

import dataclasses
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from streams.runtime.settings import (
    CONNECTION,
    Settings,
    SettingsError,
    default_of,
    help_of,
    option_of,
    service_links,
    variable_of,
)
from tests.support.certificates import Authority


def test_flag_before_environment_before_default() -> None:
    environ = {"LABELWATCH_CHECKPOINT_SECONDS": "2.5", "LABELWATCH_ID": "from-environment", "UNRELATED": "x"}
    settings = Settings.resolve(environ=environ, id="from-flag", policy=None)
    assert settings.id == "from-flag"
    assert settings.checkpoint_seconds == 2.5
    assert settings.policy is None
    assert settings.metrics_port == default_of("metrics_port") == 9464


def test_an_empty_variable_is_no_value() -> None:
    assert Settings.resolve(environ={"LABELWATCH_POLICY": ""}).policy is None


def test_text_becomes_the_settings_own_type() -> None:
    environ = {"LABELWATCH_POLICY": "/p.toml", "LABELWATCH_METRICS_PORT": "0", "LABELWATCH_SSL_CAFILE": "ca.pem"}
    settings = Settings.resolve(environ=environ)
    assert settings.policy == Path("/p.toml")
    assert settings.metrics_port == 0
    assert settings.ssl_cafile == Path("ca.pem")


@pytest.mark.parametrize(
    ("flags", "environ", "sentence"),
    [
        ({"clock": "sundial"}, {}, "--clock 'sundial': use wall or event."),
        ({}, {"CLOCK": "sundial"}, "LABELWATCH_CLOCK 'sundial': use wall or event."),
        ({"metrics_port": "web"}, {}, "--metrics-port 'web': a whole number is needed."),
        ({"metrics_port": 70_000}, {}, "--metrics-port 70000: use 0 to 65535."),
        ({"metrics_port": -1}, {}, "--metrics-port '-1': 0 or more is needed."),
        ({"checkpoint_seconds": 0}, {}, "--checkpoint-seconds '0': a number above 0 is needed."),
        ({}, {"WATCHDOG_SECONDS": "inf"}, "LABELWATCH_WATCHDOG_SECONDS 'inf': a number above 0 is needed."),
        ({}, {"STOP_SECONDS": "nan"}, "LABELWATCH_STOP_SECONDS 'nan': a number above 0 is needed."),
        ({"id": "a b"}, {}, "--id 'a b': use only letters, digits, dot, underscore and minus."),
        ({"bootstrap": "kafka:9092,nowhere"}, {}, "--bootstrap 'kafka:9092,nowhere': 'nowhere' is not host:port."),
        *(
            (
                {"bootstrap": f"kafka:9092,{address}"},
                {},
                f"--bootstrap 'kafka:9092,{address}': {address!r} is not {why}.",
            )
            for address, why in {
                "host:65536": "host:port: port 65536 is not between 1 and 65535",
                "host:0": "host:port: port 0 is not between 1 and 65535",
                "host:\uff19092": "host:port: use only ASCII letters, digits, dot, underscore and minus",
                "\uff48ost:9092": "host:port: use only ASCII letters, digits, dot, underscore and minus",
                ":9092": "host:port",
                "": "host:port",
                "[]:9092": "host:port",
                "host:": "host:port",
                "[::1::]:9092": "host:port: '::1::' is no IPv6 address",
                "::1:9092": "host:port",
                "kafka://host:9092": "host:port",
            }.items()
        ),
        ({"metrics_host": ""}, {}, "--metrics-host '': an address is needed, without brackets; 0.0.0.0 is every one."),
        (
            {"metrics_host": "[::1]"},
            {},
            "--metrics-host '[::1]': an address is needed, without brackets; 0.0.0.0 is every one.",
        ),
    ],
)
def test_what_is_wrong_is_named(flags: dict[str, Any], environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.resolve(environ={f"LABELWATCH_{name}": value for name, value in environ.items()}, **flags)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "address", ["kafka:9092", "10.0.0.1:9092,10.0.0.2:9092", "[::1]:9092", "[fe80::1%eth0]:65535", "a.b-c_d:1, e:2"]
)
def test_addresses_that_are_fine(address: str) -> None:
    assert Settings.resolve(environ={}, bootstrap=address).bootstrap == address


def service_link(service: str) -> dict[str, str]:
    """What Kubernetes sets in every pod of a namespace for a service with one unnamed and one named port."""
    name, at = service.upper().replace("-", "_"), "10.96.0.5"
    first = {f"{name}_SERVICE_HOST": at, f"{name}_SERVICE_PORT": "9464", f"{name}_SERVICE_PORT_WEB": "80"}
    links = {f"{name}_PORT": f"tcp://{at}:9464"}
    for port, protocol in (("9464", "tcp"), ("80", "tcp"), ("53", "udp")):
        link = f"{name}_PORT_{port}_{protocol.upper()}"
        links |= {
            link: f"{protocol}://{at}:{port}",
            f"{link}_PROTO": protocol,
            f"{link}_PORT": port,
            f"{link}_ADDR": at,
        }
    return first | links


def test_what_kubernetes_sets_for_a_service_is_no_setting() -> None:
    names = [each.name.replace("_", "-") for each in dataclasses.fields(Settings)]
    # Services named like each setting, and like each beginning of one.
    parts = {name.rsplit("-", count)[0] for name in names for count in range(3)}
    environ: dict[str, str] = {}
    for service in ("labelwatch", *(f"labelwatch-{part}" for part in parts)):
        environ |= service_link(service)
    assert environ["LABELWATCH_METRICS_PORT"] == "tcp://10.96.0.5:9464"
    assert Settings.resolve(environ=environ) == Settings()
    (said,) = service_links(environ=environ)
    assert said.startswith("LABELWATCH_METRICS_PORT=tcp://10.96.0.5:9464 is ignored: Kubernetes sets it")
    assert service_links(only=["bootstrap"], environ=environ) == []
    assert service_links(environ={"LABELWATCH_METRICS_PORT": "9464"}) == []


def test_a_setting_that_is_not_used_is_not_looked_at() -> None:
    environ = {"LABELWATCH_METRICS_PORT": "web", "LABELWATCH_BOOTSTRAP": "kafka:9092", "LABELWATCH_ID": "a b"}
    settings = Settings.resolve(only=CONNECTION, environ=environ, policy=None)
    assert (settings.bootstrap, settings.metrics_port, settings.id) == ("kafka:9092", 9464, "main")
    with pytest.raises(SettingsError, match="LABELWATCH_METRICS_PORT 'web'"):
        Settings.resolve(only=CONNECTION, environ=environ, metrics_port=None)


@pytest.mark.parametrize("name", ["sasl_password", "metrics_password"])
def test_a_byte_order_mark_is_no_part_of_a_password(name: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbfs3cret\r\n")
    settings = Settings.resolve(environ={f"LABELWATCH_{name.upper()}_FILE": str(file)})
    assert "s3cret" in (settings.password(), (settings.metrics_login() or ("", ""))[1])


def test_an_encrypted_key_opens_with_its_passphrase_and_says_so_without(tmp_path: Path) -> None:
    plain = Authority(tmp_path).issue("client")
    key = serialization.load_pem_private_key(plain.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"s3cret")
    file, words = tmp_path / "client.key", tmp_path / "passphrase"
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, secret))

        def tls(**environ: str) -> object:
            files = {"LABELWATCH_SSL_CERTFILE": str(plain), "LABELWATCH_SSL_KEYFILE": str(file)}
            named = {f"LABELWATCH_SSL_KEY_PASSWORD{name}": value for name, value in environ.items()}
            return Settings.resolve(security_protocol="SSL", environ=files | named).security()["ssl_context"]

        begin = f"LABELWATCH_SSL_CERTFILE: cannot use {plain} with the key in {file}: the "
        with pytest.raises(SettingsError) as caught:
            tls()
        assert str(caught.value) == begin + "key is encrypted; give its passphrase in LABELWATCH_SSL_KEY_PASSWORD_FILE."
        for wrong in ("wr0ng", "w" * 2000):
            with pytest.raises(SettingsError, match=r"with the key in .*: ") as caught:
                tls(**{"": wrong})
            assert wrong not in str(caught.value)
        with pytest.raises(SettingsError) as caught:
            tls(**{"": "wr0ng"})
        assert str(caught.value) == begin + "passphrase in LABELWATCH_SSL_KEY_PASSWORD_FILE does not open it."
        assert tls(**{"": "s3cret"}) is not None
        words.write_bytes(b"\xef\xbb\xbfs3cret\r\n")
        assert tls(_FILE=str(words)) is not None


def test_login_needs_name_and_password() -> None:
    environ = {"LABELWATCH_SECURITY_PROTOCOL": "SASL_SSL", "LABELWATCH_SASL_USERNAME": "u"}
    with pytest.raises(SettingsError, match="LABELWATCH_SASL_PASSWORD_FILE"):
        Settings.resolve(environ=environ)
    settings = Settings.resolve(environ=environ | {"LABELWATCH_SASL_PASSWORD": "p"})
    arguments = settings.security()
    assert arguments["sasl_plain_username"] == "u"
    assert arguments["sasl_plain_password"] == "p"
    assert arguments["sasl_mechanism"] == "PLAIN"
    assert "ssl_context" in arguments


def test_a_password_file_comes_before_the_environment_and_loses_its_line_break(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" s3cret \n")
    settings = Settings.resolve(
        environ={"LABELWATCH_SASL_PASSWORD": "other", "LABELWATCH_SASL_PASSWORD_FILE": str(file)}
    )
    assert settings.password() == " s3cret "
    file.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        settings.password()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    settings = Settings.resolve(environ={}, ssl_cafile=file, security_protocol="SSL")
    with pytest.raises(SettingsError, match=f"LABELWATCH_SSL_CAFILE: cannot read {file}: No such file"):
        settings.security()
    file.write_text("not a certificate")
    with pytest.raises(SettingsError, match="LABELWATCH_SSL_CAFILE: cannot read"):
        settings.security()


def test_secrets_are_never_shown_nor_given_as_flags() -> None:
    settings = Settings.resolve(environ={"LABELWATCH_SASL_PASSWORD": "s3cret"})
    assert "s3cret" not in f"{settings}{settings!r}"
    with pytest.raises(TypeError, match="sasl_password"):
        Settings.resolve(environ={}, sasl_password="s3cret")
    with pytest.raises(TypeError, match="bogus"):
        Settings.resolve(environ={}, bogus=1)


def test_a_password_file_in_another_encoding_shows_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"s3cret\xff")
    with pytest.raises(SettingsError, match="it is not UTF-8") as caught:
        Settings.resolve(environ={"LABELWATCH_SASL_PASSWORD_FILE": str(file)}).password()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_metrics_have_a_password_where_one_is_given(tmp_path: Path) -> None:
    assert Settings.resolve(environ={}).metrics_login() is None
    environ = {"LABELWATCH_METRICS_PASSWORD": "s3cret", "LABELWATCH_METRICS_USERNAME": "scraper"}
    assert Settings.resolve(environ=environ).metrics_login() == ("scraper", "s3cret")
    assert "s3cret" not in repr(Settings.resolve(environ=environ))
    file = tmp_path / "password"
    file.write_text("f1le\n")
    environ["LABELWATCH_METRICS_PASSWORD_FILE"] = str(file)
    assert Settings.resolve(environ=environ).metrics_login() == ("scraper", "f1le")
    file.write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        Settings.resolve(environ=environ).metrics_login()
    with pytest.raises(SettingsError, match="use no colon"):
        Settings.resolve(environ={"LABELWATCH_METRICS_USERNAME": "a:b"})


@pytest.mark.parametrize(
    ("host", "exposed"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("127.9.9.9", False), ("0.0.0.0", True), ("::", True),
     ("10.0.0.7", True), ("worker-1", True)],
)  # fmt: skip
def test_who_may_read_the_metrics(host: str, exposed: bool) -> None:
    assert Settings.resolve(environ={}, metrics_host=host).metrics_exposed is exposed
    assert not Settings.resolve(environ={"LABELWATCH_METRICS_PASSWORD": "x"}, metrics_host=host).metrics_exposed


def test_every_setting_has_help_and_both_names() -> None:
    for each in dataclasses.fields(Settings):
        assert help_of(each.name).endswith(f" [{variable_of(each.name)}]")
        assert each.metadata["help"].endswith(".")
        assert option_of(each.name).startswith("--")


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.resolve(environ={}).id = "other"  # type: ignore[misc]  # what must be refused

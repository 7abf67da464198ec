"""Settings: flag, else environment, else default; and a sentence for whatever is wrong."""

import dataclasses
import traceback
from pathlib import Path

import pytest

from streams.runtime.settings import Settings, SettingsError, default_of, help_of, option_of, variable_of


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
        ({"clock": "sundial"}, {}, "--clock 'sundial': one of wall, event is allowed."),
        ({}, {"CLOCK": "sundial"}, "LABELWATCH_CLOCK 'sundial': one of wall, event is allowed."),
        ({"metrics_port": "web"}, {}, "--metrics-port 'web': a whole number is needed."),
        ({"metrics_port": 70_000}, {}, "--metrics-port 70000: 0 to 65535 is allowed."),
        ({"metrics_port": -1}, {}, "--metrics-port '-1': 0 or more is needed."),
        ({"checkpoint_seconds": 0}, {}, "--checkpoint-seconds '0': a number above 0 is needed."),
        ({}, {"WATCHDOG_SECONDS": "inf"}, "LABELWATCH_WATCHDOG_SECONDS 'inf': a number above 0 is needed."),
        ({}, {"STOP_SECONDS": "nan"}, "LABELWATCH_STOP_SECONDS 'nan': a number above 0 is needed."),
        ({"id": "a b"}, {}, "--id 'a b': only letters, digits, dot, underscore and minus are allowed."),
        ({"bootstrap": "kafka:9092,nowhere"}, {}, "--bootstrap 'kafka:9092,nowhere': 'nowhere' is not host:port."),
    ],
)
def test_what_is_wrong_is_named(flags: dict[str, object], environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.resolve(environ={f"LABELWATCH_{name}": value for name, value in environ.items()}, **flags)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("address", ["kafka:9092", "10.0.0.1:9092,10.0.0.2:9092", "[::1]:9092", "a.b-c.d:1, e:2"])
def test_addresses_that_are_fine(address: str) -> None:
    assert Settings.resolve(environ={}, bootstrap=address).bootstrap == address


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
    with pytest.raises(SettingsError, match="a colon is not allowed"):
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
        Settings.resolve(environ={}).id = "other"  # type: ignore[misc]

"""What the receiver is told: wrong settings and rosters end it at the start, with a sentence."""

from pathlib import Path
from typing import Any

import pytest

from streams.ingest.ledger import RosterEntry
from streams.ingest.roster import RosterError, read_roster
from streams.ingest.settings import USED, IngestSettings
from streams.runtime.settings import SettingsError
from tests.support.certificates import Authority


def test_it_listens_on_loopback_and_needs_a_secret_beyond() -> None:
    assert IngestSettings.resolve(environ={}).ingest_host == "127.0.0.1"
    assert IngestSettings.resolve(environ={}, ingest_host="::1").secret() is None
    with pytest.raises(SettingsError, match="LABELWATCH_INGEST_SECRET_FILE"):
        IngestSettings.resolve(environ={}, ingest_host="0.0.0.0")
    given = {"LABELWATCH_INGEST_SECRET": "s3cret", "LABELWATCH_INGEST_HOST": "0.0.0.0"}
    settings = IngestSettings.resolve(only=USED, environ=given)
    assert settings.secret() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_what_crosses_the_network_in_the_clear_is_known(tmp_path: Path) -> None:
    given = {"LABELWATCH_INGEST_SECRET": "s3cret"}
    here = IngestSettings.resolve(environ=given)
    assert (here.is_readable_on_the_way, here.is_page_open) == (False, False)
    beyond = IngestSettings.resolve(environ=given, ingest_host="0.0.0.0")
    assert (beyond.is_readable_on_the_way, beyond.is_page_open) == (True, True)
    file = Authority(tmp_path).issue("receiver", "127.0.0.1")
    given["LABELWATCH_METRICS_PASSWORD"] = "word"
    safe = IngestSettings.resolve(only=USED, environ=given, ingest_host="0.0.0.0", ingest_certfile=file)
    assert (safe.is_readable_on_the_way, safe.is_page_open) == (False, False)
    assert safe.certificate() is not None
    with pytest.raises(SettingsError, match="LABELWATCH_INGEST_CERTFILE"):
        IngestSettings.resolve(environ=given, ingest_certfile=tmp_path / "none.pem").certificate()


def test_an_empty_secret_is_none_that_anyone_meant(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        IngestSettings.resolve(environ={}, ingest_secret_file=file)
    file.write_text("s3cret\n")
    assert IngestSettings.resolve(environ={}, ingest_secret_file=file).secret() == "s3cret"


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("label_studio_url", "http://127.0.0.1:1", "needs --label-studio-projects"),
        ("label_studio_url", "http://me:word@127.0.0.1:1", "without a password"),
        ("label_studio_url", "127.0.0.1:1", "give http"),
        ("ingest_sweep_all_hour", 24, "use 0 to 23"),
        ("ingest_port", 70000, "use 0 to 65535"),
        ("ingest_keyfile", "key.pem", "needs LABELWATCH_INGEST_CERTFILE"),
        ("ingest_source", "a b", "letters, digits"),
        ("ingest_site", "", "1 to 128"),
        ("ingest_secret_header", "X: Y", "letters, digits"),
    ],
)
def test_a_wrong_value_is_named(flag: str, value: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        IngestSettings.resolve(environ={}, only=None, **{flag: value})
    assert "word@" not in str(refused.value)


def test_projects_are_numbers() -> None:
    assert IngestSettings.resolve(environ={}, label_studio_projects=" 1, 27").projects() == [1, 27]
    for text in ("1,x", "-1", "1.5", "0"):
        with pytest.raises(SettingsError, match="is no number of a project"):
            IngestSettings.resolve(environ={}, label_studio_projects=text).projects()


def test_a_roster_says_who_users_are(tmp_path: Path) -> None:
    file = tmp_path / "roster.csv"
    file.write_text("name,user,site_id,agent_id\r\nAna,1,manila-1,a-1\r\n", "utf-8-sig")
    assert read_roster(file) == {1: RosterEntry("manila-1", "a-1")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,agent_id\n1,a\n", "no column site_id"),
        ("", "no column user, agent_id, site_id"),
        ("user,agent_id,site_id\n1,a,b\nx,a,b\n", "line 3: user 'x' is no number"),
        ("user,agent_id,site_id\n1,,b\n", "line 2: agent_id"),
        ("user,agent_id,site_id\n1,a\n", "line 2: site_id"),
        ("user,agent_id,site_id\n1,a,b\n1,a,c\n", "line 3: user 1 is there twice"),
        (f"user,agent_id,site_id\n1,{'a' * 129},b\n", "line 2: agent_id .* must have 1 to 128"),
    ],
)
def test_a_wrong_roster_is_named_by_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "roster.csv"
    file.write_text(text)
    with pytest.raises(RosterError, match=words):
        read_roster(file)
    with pytest.raises(RosterError, match="cannot be read"):
        read_roster(tmp_path / "none.csv")

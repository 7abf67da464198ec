import base64
import hashlib
import hmac
import stat
import threading
from pathlib import Path

import pytest

from streams.exporter import PseudonymKeyError, agent_names
from streams.exporter.pseudonyms import ENVIRONMENT, FILE_ENVIRONMENT, KEY_FILE, Pseudonyms

KEY = "a key of enough length"


def test_a_name_is_the_hmac_of_site_and_agent() -> None:
    digest = hmac.new(KEY.encode(), b"manila-1\0a-1007", hashlib.sha256).digest()
    expected = "p-" + base64.b32encode(digest).decode()[:12].lower()
    assert Pseudonyms(KEY.encode())("manila-1", "a-1007") == expected


def test_names_differ_by_site_agent_and_key_and_by_nothing_else() -> None:
    names = Pseudonyms(KEY.encode())
    assert names("s", "a") == Pseudonyms(KEY.encode())("s", "a")
    assert len({names("s", "a"), names("s", "b"), names("t", "a"), Pseudonyms(b"another")("s", "a")}) == 4
    assert names("a", "bc") != names("ab", "c")


def test_a_name_says_nothing_of_the_id_and_suits_any_label() -> None:
    name = Pseudonyms(KEY.encode())("s", 'Robert"); 质检员\n')
    assert name.startswith("p-")
    assert len(name) == 14
    assert name.removeprefix("p-").isalnum()
    assert name.isascii()


def test_no_person_stays_no_person() -> None:
    assert Pseudonyms(KEY.encode())("s", "") == ""


def test_plain_labels_are_the_ids_and_need_no_key(tmp_path: Path) -> None:
    assert agent_names("plain", tmp_path, {})("s", "a-1") == "a-1"
    assert list(tmp_path.iterdir()) == []


def test_the_first_start_makes_a_key_that_later_starts_use(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "there"
    first = agent_names("pseudonym", data_dir, {})
    assert [path.name for path in data_dir.iterdir()] == [KEY_FILE]
    assert stat.S_IMODE((data_dir / KEY_FILE).stat().st_mode) == 0o600
    assert agent_names("pseudonym", data_dir, {})("s", "a") == first("s", "a")
    assert agent_names("pseudonym", tmp_path / "other", {})("s", "a") != first("s", "a")


def test_workers_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    together, found = threading.Barrier(8), []

    def start() -> None:
        together.wait()
        found.append(agent_names("pseudonym", tmp_path, {})("s", "a"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    names = agent_names("pseudonym", tmp_path, {ENVIRONMENT: KEY})
    assert names("s", "a") == Pseudonyms(KEY.encode())("s", "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("short", ["", "secret"])
def test_a_short_key_is_refused_without_being_told(tmp_path: Path, short: str) -> None:
    with pytest.raises(PseudonymKeyError, match=rf"{ENVIRONMENT} has {len(short)} bytes; give at least 16") as error:
        agent_names("pseudonym", tmp_path, {ENVIRONMENT: short})
    assert not short or short not in str(error.value)


@pytest.mark.parametrize("text", ["", "no hex at all", "abcd", "质检员", "ab" * 15])
def test_a_damaged_key_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text, "utf-8")
    with pytest.raises(PseudonymKeyError, match=r"holds no pseudonym key .* restore it from a backup") as error:
        agent_names("pseudonym", tmp_path, {})
    assert not text or text not in str(error.value)


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PseudonymKeyError, match=r"choose another --data-dir"):
        agent_names("pseudonym", tmp_path / "file" / "dir", {})


def test_a_key_that_others_can_read_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agent_names("pseudonym", tmp_path, {})
    (tmp_path / KEY_FILE).chmod(0o644)
    agent_names("pseudonym", tmp_path, {})
    assert "can be read by others; chmod 600 it" in caplog.text
    assert (tmp_path / KEY_FILE).read_text().strip() not in caplog.text


def test_a_mounted_file_is_the_key_and_is_never_made(tmp_path: Path) -> None:
    mounted = tmp_path / "secret"
    environ = {FILE_ENVIRONMENT: str(mounted)}
    with pytest.raises(PseudonymKeyError, match=f"{FILE_ENVIRONMENT}=.*there is no such file"):
        agent_names("pseudonym", tmp_path / "data", environ)
    mounted.write_text("00" * 31 + "ff\n")
    mounted.chmod(0o600)
    names = agent_names("pseudonym", tmp_path / "data", environ)
    assert names("s", "a") == Pseudonyms(bytes(31) + b"\xff")("s", "a")
    # No key of its own beside it, which the next start could take.
    assert not (tmp_path / "data").exists()
    with pytest.raises(PseudonymKeyError, match="both set"):
        agent_names("pseudonym", tmp_path, environ | {ENVIRONMENT: KEY})
    mounted.write_text("not hex")
    with pytest.raises(PseudonymKeyError, match="holds no pseudonym key"):
        agent_names("pseudonym", tmp_path, environ)

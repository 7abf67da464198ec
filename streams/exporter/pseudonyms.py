"""Agent ids as the pages show them: keyed pseudonyms by default, so that a metrics store names no person."""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

AgentLabels = Literal["pseudonym", "plain"]
#: (site, agent) to the `agent` label's value.
AgentNames = Callable[[str, str], str]

ENVIRONMENT = "LABELWATCH_PSEUDONYM_KEY"
#: A file in place of the value, as secrets are mounted: of the form that the worker makes, and never made here.
FILE_ENVIRONMENT = "LABELWATCH_PSEUDONYM_KEY_FILE"
KEY_FILE = "pseudonym.key"
KEY_BYTES = 32
_KEY_LENGTH_MIN = 16
#: 60 bits: among 100,000 people two share a name once in 10^8 operations.
_DIGITS = 12
#: In place of a fingerprint, where people appear by their own ids.
PLAIN = "plain"
#: 40 bits: enough to tell two keys apart.
_FINGERPRINT_DIGITS = 8

logger = logging.getLogger(__name__)


class PseudonymKeyError(Exception):
    """The key cannot be had; the message says what to do."""


class Pseudonyms:
    """Stable names such as `p-mfrggzdfmy2t` by HMAC-SHA256 of site and agent.

    The same person at the same site has the same name as long as the key stays. Who has the key
    can name a person by trying ids; who has it not can neither reverse nor link names.

    Args:
        key: The secret, the same for all workers of a group.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, site: str, agent: str) -> str:
        """The name of an agent; the empty id (no person) stays empty."""
        if not agent:
            return ""
        # Identifiers hold no control characters, so NUL keeps ("a", "bc") apart from ("ab", "c").
        message = f"{site}\0{agent}".encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._key, message, hashlib.sha256)
        return "p-" + base64.b32encode(digest[:8])[:_DIGITS].decode().lower()

    @property
    def fingerprint(self) -> str:
        """Which key this is, `k-` and 8 characters: says whether two workers have the same one, and nothing of it."""
        # No person's message: those have a NUL between site and agent.
        digest = hmac.digest(self._key, b"labelwatch key fingerprint", hashlib.sha256)
        return "k-" + base64.b32encode(digest[:5])[:_FINGERPRINT_DIGITS].decode().lower()


def plain(site: str, agent: str) -> str:
    """The agent's own id, for `--agent-labels plain`."""
    return agent


def fingerprint(names: AgentNames) -> str:
    """Of the key from which agents have their names, or `plain`: the same fingerprint, the same names."""
    return names.fingerprint if isinstance(names, Pseudonyms) else PLAIN


def key_source(data_dir: Path | str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Where the key comes from: a variable's name, or the path of a file; None: it is made at the first start."""
    for variable in (ENVIRONMENT, FILE_ENVIRONMENT):
        if variable in environ:
            return variable
    file = Path(data_dir) / KEY_FILE
    return str(file) if file.exists() else None


def agent_names(mode: AgentLabels, data_dir: Path | str, environ: Mapping[str, str] = os.environ) -> AgentNames:
    """How agents are called on the pages.

    Args:
        mode: `pseudonym`, with the key of the environment, of the file that it names, or else of a file made at the
            first start; or `plain`.
        data_dir: Where the key file lives; made when missing.
        environ: The environment.

    Raises:
        PseudonymKeyError: The key is too short, or its file cannot be read or made.
    """
    if mode == "plain":
        return plain
    named = environ.get(FILE_ENVIRONMENT)
    if named is not None and ENVIRONMENT in environ:
        raise PseudonymKeyError(f"{ENVIRONMENT} and {FILE_ENVIRONMENT} are both set; which one is the key? Unset one")
    if named is not None:
        if not Path(named).is_file():
            raise PseudonymKeyError(
                f"{FILE_ENVIRONMENT}={named}: there is no such file; give the group's key file, {KEY_BYTES} random "
                "bytes in hex, as the first worker made it"
            )
        return Pseudonyms(key_file(Path(named)))
    if (text := environ.get(ENVIRONMENT)) is not None:
        if len(text.encode()) < _KEY_LENGTH_MIN:
            raise PseudonymKeyError(
                f"{ENVIRONMENT} has {len(text.encode())} bytes; give at least {_KEY_LENGTH_MIN} random ones, "
                "the same to every worker, or unset it and let the worker make a key file"
            )
        return Pseudonyms(text.encode())
    return Pseudonyms(key_file(Path(data_dir) / KEY_FILE))


def key_file(path: Path) -> bytes:
    """Reads the key, after making it when there is none: 32 random bytes in hex, readable by the owner alone.

    Raises:
        PseudonymKeyError: The file cannot be made or read, or does not hold a key.
    """
    try:
        if not path.exists():
            _make(path)
        text = path.read_text("ascii").strip()
        if path.stat().st_mode & 0o077:
            logger.warning("The pseudonym key %s can be read by others; chmod 600 it", path)
        key = binascii.unhexlify(text)
    except OSError as error:
        raise PseudonymKeyError(
            f"the pseudonym key {path} cannot be made or read ({error.strerror}): "
            f"choose another --data-dir, set {ENVIRONMENT}, or pass --agent-labels plain"
        ) from error
    except ValueError as error:
        raise PseudonymKeyError(_damaged(path)) from error
    if len(key) < _KEY_LENGTH_MIN:
        raise PseudonymKeyError(_damaged(path))
    return key


def _damaged(path: Path) -> str:
    return (
        f"{path} holds no pseudonym key ({KEY_BYTES} bytes in hex): restore it from a backup, "
        "or remove it, and every agent gets a new name"
    )


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where another worker was first: one key wins, and nobody reads half of one.
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        logger.info("Made the pseudonym key %s: back it up, and give it to every worker of the group", path)
    finally:
        draft.unlink(missing_ok=True)

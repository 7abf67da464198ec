"""Settings of the receiver, declared as a worker's are."""

# ruff: noqa: RUF009 - setting() is dataclasses.field() with a help text; each call makes a fresh one
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.runtime.certificates import ServerCertificate
from streams.runtime.settings import (
    CONNECTION,
    Settings,
    SettingsError,
    certificate_of,
    is_loopback,
    secret_of,
    setting,
    variable_of,
)

_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,32}")
_HEADER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SITE_LENGTH_MAX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(Settings):
    """What the receiver is given from outside, beside how to reach Kafka."""

    ingest_host: str = setting("127.0.0.1", "Address to receive webhooks at.")
    ingest_port: int = setting(9470, "Port of it; 0 picks a free one.", above=-1)
    ingest_secret_header: str = setting("X-Labelwatch-Secret", "Header in which the tool sends the secret.")
    ingest_secret_file: Path | None = setting(None, "File that holds the secret.")
    ingest_secret: str | None = setting(None, "The secret itself, where a file is not possible.", secret=True)
    ingest_certfile: Path | None = setting(None, "Certificate (PEM) of the port, which then speaks TLS alone.")
    ingest_keyfile: Path | None = setting(None, "The key to it; else the certificate's file holds it.")
    ingest_key_password_file: Path | None = setting(None, "File that holds the passphrase of an encrypted key.")
    ingest_spool: Path = setting(Path("labelwatch-data/ingest.sqlite"), "File of what waits and what is remembered.")
    ingest_spool_bytes_max: int = setting(4 << 30, "The file grows no further; hooks are refused then.", above=1 << 20)
    ingest_body_bytes_max: int = setting(16 << 20, "A larger body is refused.", above=1023)
    ingest_source: str = setting("ls", "Name of the tool, with which ids of events begin; one spool has one.")
    ingest_roster: Path | None = setting(None, "CSV file with user, agent_id, site_id: who the tool's users are.")
    ingest_site: str = setting("unassigned", "Site of users who are not in the roster.")
    ingest_control: str | None = setting(None, "Control (name in the labeling setup) that is the label; else all.")
    label_studio_url: str | None = setting(None, "Address of Label Studio, to find lost hooks; else none are found.")
    label_studio_token_file: Path | None = setting(None, "File that holds a token of its API (legacy token).")
    label_studio_token: str | None = setting(None, "The token itself, where a file is not possible.", secret=True)
    label_studio_projects: str = setting("", "Numbers of the projects to compare, separated by commas.")
    ingest_sweep_seconds: float = setting(60.0, "What changed in the projects is compared so often.", above=0)
    ingest_sweep_all_hour: int = setting(2, "Hour of the day, in UTC, after which all of it is compared.", above=-1)

    def _check(self) -> None:
        # Not super(): a class with slots is made anew, and super() would look for the old one.
        Settings._check(self)
        if not self.ingest_host or self.ingest_host.startswith("["):
            raise SettingsError(f"--ingest-host {self.ingest_host!r}: an address is needed, without brackets.")
        if self.ingest_port > 65535:
            raise SettingsError(f"--ingest-port {self.ingest_port}: use 0 to 65535.")
        if self.ingest_sweep_all_hour > 23:
            raise SettingsError(f"--ingest-sweep-all-hour {self.ingest_sweep_all_hour}: use 0 to 23.")
        if not _SOURCE.fullmatch(self.ingest_source):
            raise SettingsError(
                f"--ingest-source {self.ingest_source!r}: use 1 to 32 letters, digits, dot, underscore and minus."
            )
        if not _HEADER.fullmatch(self.ingest_secret_header):
            raise SettingsError(
                f"--ingest-secret-header {self.ingest_secret_header!r}: use letters, digits, underscore and minus."
            )
        if not 1 <= len(self.ingest_site) <= _SITE_LENGTH_MAX or not self.ingest_site.isprintable():
            raise SettingsError(f"--ingest-site {self.ingest_site!r}: use 1 to {_SITE_LENGTH_MAX} characters.")
        if self.ingest_keyfile is not None and self.ingest_certfile is None:
            raise SettingsError(f"{variable_of('ingest_keyfile')} needs {variable_of('ingest_certfile')} beside it.")
        if self.secret() is None and not is_loopback(self.ingest_host):
            raise SettingsError(
                f"--ingest-host {self.ingest_host} lets others in: "
                f"{variable_of('ingest_secret_file')} must name a file with a secret."
            )
        if self.label_studio_url is not None:
            if not re.match(r"https?://[^@]+\Z", self.label_studio_url):
                raise SettingsError("--label-studio-url: give http:// or https:// and a host, without a password.")
            if not self.token() or not self.projects():
                raise SettingsError(
                    f"--label-studio-url needs --label-studio-projects and {variable_of('label_studio_token_file')}."
                )

    @property
    def is_readable_on_the_way(self) -> bool:
        """Whether secret and bodies go over the network unencrypted."""
        return self.ingest_certfile is None and not is_loopback(self.ingest_host)

    @property
    def is_page_open(self) -> bool:
        """Whether other machines can read /metrics without a password."""
        return self.metrics_login() is None and not is_loopback(self.ingest_host)

    def certificate(self) -> ServerCertificate | None:
        """The certificate of the port; None: it speaks plain HTTP.

        Raises:
            SettingsError: The certificate, its key or the passphrase cannot be used.
        """
        return certificate_of(
            "ingest", "the receiver", self.ingest_certfile, self.ingest_keyfile, self.ingest_key_password_file
        )

    def secret(self) -> str | None:
        """What the tool's header must have; None: anyone who can connect may send.

        Raises:
            SettingsError: The file cannot be read, or there is nothing in it.
        """
        secret = secret_of("ingest_secret_file", self.ingest_secret_file, self.ingest_secret)
        if secret == "":
            raise SettingsError(f"{variable_of('ingest_secret_file')}: {self.ingest_secret_file} is empty.")
        return secret

    def token(self) -> str | None:
        """Of Label Studio's API.

        Raises:
            SettingsError: The file cannot be read.
        """
        return secret_of("label_studio_token_file", self.label_studio_token_file, self.label_studio_token)

    def projects(self) -> Sequence[int]:
        """Projects to compare.

        Raises:
            SettingsError: One is no number.
        """
        parts = [part.strip() for part in self.label_studio_projects.split(",") if part.strip()]
        for part in parts:
            if not part.isascii() or not part.isdecimal() or not int(part):
                raise SettingsError(f"--label-studio-projects: {part!r} is no number of a project, as in its address.")
        return [int(part) for part in parts]


#: What the receiver uses.
USED = (
    *CONNECTION,
    "log_format",
    "log_level",
    "metrics_username",
    "metrics_password_file",
    "metrics_password",
    *(name for name in IngestSettings.__slots__ if name.startswith(("ingest_", "label_studio_"))),
)

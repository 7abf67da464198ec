"""All settings in one frozen object, read once: from the flag, else LABELWATCH_<NAME>, else the default."""

# ruff: noqa: RUF009 - setting() is dataclasses.field() with a help text; each call makes a fresh one
import dataclasses
import ipaddress
import math
import os
import re
import socket
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from schemas.text import choice
from streams.runtime import certificates

PREFIX = "LABELWATCH_"
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ADDRESS = re.compile(r"(?:\[(?P<ip6>[^\[\]]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
#: The form of what Kubernetes puts into LABELWATCH_METRICS_PORT for a service named labelwatch-metrics.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")
#: Settings that a client of the brokers needs, and those that a reader of /metrics needs.
CONNECTION = (
    "bootstrap",
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password_file",
    "sasl_password",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_key_password_file",
    "ssl_key_password",
)
LOGIN = ("metrics_username", "metrics_password_file", "metrics_password", "metrics_cafile")
#: Settings by which a worker's pages are protected.
PROTECTION = (
    "metrics_username",
    "metrics_password_file",
    "metrics_password",
    "metrics_certfile",
    "metrics_keyfile",
    "metrics_key_password_file",
)


class SettingsError(ValueError):
    """A setting cannot be used; the message names it, its value, where it came from and what is allowed."""


def setting(default: Any, help: str, *, above: float | None = None, secret: bool = False) -> Any:
    """A field of settings: its default, its help, what it must be above, and whether it is a secret."""
    return field(default=default, repr=not secret, metadata={"help": help, "above": above, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A worker's settings. Secrets come from the environment or a file, never from a flag."""

    bootstrap: str = setting("127.0.0.1:9092", "Brokers, host:port, separated by commas.")
    id: str = setting("main", "Name of the group of workers that share the work and its durable state.")
    policy: Path | None = setting(None, "Policy file; without one every default applies.")
    metrics_port: int = setting(9464, "Port of /metrics; 0 picks a free one.", above=-1)
    metrics_host: str = setting("127.0.0.1", "Address of /metrics.")
    clock: Literal["wall", "event"] = setting("wall", "Time of the windows: now, or the highest event time seen.")
    data_dir: Path = setting(Path("labelwatch-data"), "Folder for the key of the pseudonyms.")
    agent_labels: Literal["pseudonym", "plain"] = setting("pseudonym", "How people are named in metrics.")
    replaced_key: str = setting(
        "", "Fingerprint of the key that this worker's replaces on purpose; else that is refused."
    )
    checkpoint_seconds: float = setting(5.0, "Durable state is written at least this often.", above=0)
    checkpoint_records: int = setting(250_000, "And at the latest after this many records.", above=0)
    session_timeout_seconds: float = setting(10.0, "A worker silent for so long loses its partitions.", above=0)
    watchdog_seconds: float = setting(60.0, "Lag without progress for so long ends the worker with code 70.", above=0)
    stop_seconds: float = setting(20.0, "The worker ends within this time after SIGTERM.", above=0)
    restore_seconds: float = setting(120.0, "A partition's state must be read back within this time.", above=0)
    log_format: Literal["text", "json"] = setting("text", "A line of the log: text for people, or an object of JSON.")
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "The least that the log says.")
    instance_id: str | None = setting(None, "Static membership: a stable name of this worker makes restarts short.")
    security_protocol: SecurityProtocol = setting("PLAINTEXT", "How to talk to Kafka.")
    sasl_mechanism: SaslMechanism = setting("PLAIN", "How to log in, with a SASL protocol.")
    sasl_username: str | None = setting(None, "User name, with a SASL protocol.")
    sasl_password_file: Path | None = setting(None, "File that holds the password.")
    sasl_password: str | None = setting(None, "The password itself, where a file is not possible.", secret=True)
    ssl_cafile: Path | None = setting(None, "Certificate authority of the brokers; else the system's own.")
    ssl_certfile: Path | None = setting(None, "This client's own certificate, where the brokers ask for one.")
    ssl_keyfile: Path | None = setting(None, "The key to it; else the certificate's file holds it.")
    ssl_key_password_file: Path | None = setting(None, "File that holds the passphrase of an encrypted key.")
    ssl_key_password: str | None = setting(None, "The passphrase itself, where a file is not possible.", secret=True)
    metrics_username: str = setting("prometheus", "User name of /metrics, where it has a password.")
    metrics_password_file: Path | None = setting(None, "File that holds the password of /metrics; else it has none.")
    metrics_password: str | None = setting(None, "The password itself, where a file is not possible.", secret=True)
    metrics_certfile: Path | None = setting(None, "Certificate (PEM) of /metrics, which then speaks TLS alone.")
    metrics_keyfile: Path | None = setting(None, "The key to it; else the certificate's file holds it.")
    metrics_key_password_file: Path | None = setting(None, "File that holds the passphrase of an encrypted key.")
    metrics_cafile: Path | None = setting(None, "Authority of workers' certificates, for watch; else the system's own.")

    @classmethod
    def resolve(
        cls, *, only: Collection[str] | None = None, environ: Mapping[str, str] = os.environ, **flags: Any
    ) -> Self:
        """Settings from flags (None: not given), else from the environment, else defaults.

        Args:
            only: Settings that are also read from the environment; None: all. Others keep their defaults, unless given
                as flags.
            environ: The environment.
            **flags: Values of flags, by setting.

        Raises:
            SettingsError: A value is of the wrong kind or out of range.
            TypeError: A flag is no setting, or a secret.
        """
        known = {each.name: each for each in dataclasses.fields(cls)}
        if wrong := [name for name in flags if name not in known or known[name].metadata["secret"]]:
            raise TypeError(f"not a flag: {', '.join(wrong)}")
        values = {}
        for name, each in known.items():
            variable = variable_of(name)
            if flags.get(name) is not None:
                values[name] = _convert(each, flags[name], option_of(name))
            elif (only is None or name in only or name in flags) and _given(variable, environ):
                values[name] = _convert(each, environ[variable], variable)
        settings = cls(**values)
        settings._check()
        return settings

    def _check(self) -> None:
        if not _ID.fullmatch(self.id):
            raise SettingsError(f"--id {self.id!r}: use only letters, digits, dot, underscore and minus.")
        for address in self.bootstrap.split(","):
            if (wrong := _wrong_address(address.strip())) is not None:
                raise SettingsError(f"--bootstrap {self.bootstrap!r}: {address!r} is not host:port{wrong}.")
        if not self.metrics_host or self.metrics_host.startswith("["):
            raise SettingsError(
                f"--metrics-host {self.metrics_host!r}: an address is needed, without brackets; 0.0.0.0 is every one."
            )
        if self.metrics_port > 65535:
            raise SettingsError(f"--metrics-port {self.metrics_port}: use 0 to 65535.")
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.password()):
            raise SettingsError(
                f"{variable_of('security_protocol')}={self.security_protocol} needs {variable_of('sasl_username')} and "
                f"a password in {variable_of('sasl_password_file')} or {variable_of('sasl_password')}."
            )
        if self.metrics_keyfile is not None and self.metrics_certfile is None:
            raise SettingsError(f"{variable_of('metrics_keyfile')} needs {variable_of('metrics_certfile')} beside it.")
        if ":" in self.metrics_username:
            raise SettingsError(f"{variable_of('metrics_username')} {self.metrics_username!r}: use no colon.")

    @property
    def group(self) -> str:
        """The consumer group, which is also the prefix of transactional ids."""
        return f"labelwatch-{self.id}"

    @property
    def worker_name(self) -> str:
        """Name of this worker within its group, for the log."""
        return self.instance_id or f"{socket.gethostname()}-{os.getpid()}"

    def password(self) -> str | None:
        """The SASL password: the file's text without its last line break, else the environment's.

        Raises:
            SettingsError: The file cannot be read.
        """
        return secret_of("sasl_password_file", self.sasl_password_file, self.sasl_password)

    def metrics_login(self) -> tuple[str, str] | None:
        """User name and password of /metrics; None: anyone who can connect may read them.

        Raises:
            SettingsError: The file cannot be read, or is empty.
        """
        password = secret_of("metrics_password_file", self.metrics_password_file, self.metrics_password)
        if password is None:
            return None
        if not password:
            raise SettingsError(f"{variable_of('metrics_password_file')}: {self.metrics_password_file} is empty.")
        return self.metrics_username, password

    @property
    def metrics_exposed(self) -> bool:
        """Whether other machines can read /metrics without a password."""
        return not self._metrics_here and self.metrics_login() is None

    @property
    def metrics_readable(self) -> bool:
        """Whether a password of /metrics goes over the network unencrypted."""
        return not self._metrics_here and self.metrics_login() is not None and self.metrics_certfile is None

    @property
    def _metrics_here(self) -> bool:
        """Whether only this machine reaches /metrics."""
        return is_loopback(self.metrics_host)

    def metrics_certificate(self) -> certificates.ServerCertificate | None:
        """The certificate of /metrics; None: it speaks plain HTTP.

        Raises:
            SettingsError: The certificate, its key or the passphrase cannot be used.
        """
        return certificate_of(
            "metrics", "the metrics pages", self.metrics_certfile, self.metrics_keyfile, self.metrics_key_password_file
        )

    def metrics_trust(self) -> ssl.SSLContext | None:
        """Which authority's certificates a reader of workers' pages accepts; None: those of the system's authorities.

        Raises:
            SettingsError: The file cannot be read.
        """
        return None if self.metrics_cafile is None else _trust("metrics_cafile", self.metrics_cafile)

    def kafka_certificate_expiry_seconds(self) -> float | None:
        """When this client's certificate for the brokers expires, epoch seconds; None: there is none.

        Raises:
            SettingsError: It cannot be read.
        """
        if self.ssl_certfile is None or not self.security_protocol.endswith("SSL"):
            return None
        try:
            return certificates.expiry_seconds(self.ssl_certfile)
        except certificates.CertificateError as error:
            raise SettingsError(f"{variable_of('ssl_certfile')}: {error}.") from error

    def security(self) -> dict[str, Any]:
        """Keyword arguments of any Kafka client (aiokafka, kafka-python) for TLS and login.

        Raises:
            SettingsError: A certificate, its key or the password cannot be read.
        """
        arguments: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._tls()
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.password()
        return arguments

    def _tls(self) -> ssl.SSLContext:
        context = _trust("ssl_cafile", self.ssl_cafile)
        if self.ssl_certfile is not None:
            passphrase = secret_of("ssl_key_password_file", self.ssl_key_password_file, self.ssl_key_password)
            variable = variable_of("ssl_key_password_file")
            try:
                certificates.load(context, self.ssl_certfile, self.ssl_keyfile, passphrase, variable)
            except certificates.CertificateError as error:
                raise SettingsError(f"{variable_of('ssl_certfile')}: {error}.") from error
        return context


def service_links(*, only: Collection[str] | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each setting's variable that Kubernetes has set to the address of a service; it is ignored.

    Args:
        only: Settings that matter; None is all.
        environ: The environment.
    """
    names = [variable_of(each.name) for each in dataclasses.fields(Settings) if only is None or each.name in only]
    return [
        f"{name}={environ[name]} is ignored: Kubernetes sets it for a service of that name "
        "(enableServiceLinks: false in the pod's spec ends that)."
        for name in names
        if _is_service_link(name, environ)
    ]


def _is_service_link(variable: str, environ: Mapping[str, str]) -> bool:
    return variable.endswith("_PORT") and _SERVICE_LINK.fullmatch(environ.get(variable, "")) is not None


def _given(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether a variable is set, not empty, and not set by Kubernetes."""
    return bool(environ.get(variable)) and not _is_service_link(variable, environ)


def _wrong_address(address: str) -> str | None:
    """What is wrong with a broker's address, as the end of a sentence; None where nothing is."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return "" if address.isascii() else ": use only ASCII letters, digits, dot, underscore and minus"
    if not 1 <= int(found["port"]) <= 65535:
        return f": port {found['port']} is not between 1 and 65535"
    if found["ip6"] is not None:
        try:
            ipaddress.IPv6Address(found["ip6"])
        except ValueError:
            return f": {found['ip6']!r} is no IPv6 address"
    return None


def option_of(name: str) -> str:
    """The name of a setting's flag."""
    return f"--{name.replace('_', '-')}"


def variable_of(name: str) -> str:
    """The name of a setting's environment variable."""
    return PREFIX + name.upper()


def help_of(name: str, of: "type[Settings]" = Settings) -> str:
    """One line for `--help`: what the setting is, and its name in the environment."""
    each = next(each for each in dataclasses.fields(of) if each.name == name)
    return f"{each.metadata['help']} [{variable_of(name)}]"


def default_of(name: str, of: "type[Settings]" = Settings) -> Any:
    """The default of a setting."""
    return next(each.default for each in dataclasses.fields(of) if each.name == name)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def certificate_of(
    prefix: str, use: str, certfile: Path | None, keyfile: Path | None, password_file: Path | None
) -> certificates.ServerCertificate | None:
    """The certificate of a port of ours; None: it speaks plain HTTP.

    Args:
        prefix: Of the settings that name the files.
        use: Of what it is, for the log.
        certfile: Its file.
        keyfile: The file of its key; None: the certificate's file holds it.
        password_file: The file of the key's passphrase.

    Raises:
        SettingsError: The certificate, its key or the passphrase cannot be used.
    """
    if certfile is None:
        return None
    name = f"{prefix}_key_password_file"
    passphrase = secret_of(name, password_file, None)
    try:
        return certificates.ServerCertificate(certfile, keyfile, passphrase, variable_of(name), use)
    except certificates.CertificateError as error:
        raise SettingsError(f"{variable_of(f'{prefix}_certfile')}: {error}.") from error


def secret_of(name: str, file: Path | None, given: str | None) -> str | None:
    """A file's text without its last line break, or what the environment gave.

    Args:
        name: The setting that names the file.
        file: The file.
        given: What the environment gave.

    Raises:
        SettingsError: The file cannot be read.
    """
    if file is None:
        return given
    try:
        # Editors on Windows write a byte order mark, which is no part of the secret.
        return file.read_text("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        # Not the error's own message: that of a wrong encoding shows bytes of the secret.
        reason = _reason(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{variable_of(name)}: cannot read {file}: {reason}.") from None


def _trust(name: str, file: Path | None) -> ssl.SSLContext:
    """A client's context that accepts what an authority has signed; None: the system's authorities."""
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{variable_of(name)}: cannot read {file}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _convert(each: "dataclasses.Field[Any]", value: Any, origin: str) -> Any:
    """A flag's or variable's value in the setting's own type; `origin` names it in an error."""
    allowed = [kind for kind in (get_args(each.type) or (each.type,)) if kind is not type(None)]
    shown = "" if each.metadata["secret"] else f" {str(value)!r}"
    if isinstance(allowed[0], str):
        if value not in allowed:
            raise SettingsError(f"{origin}{shown}: use {choice(allowed)}.")
        return value
    try:
        converted = allowed[0](value)
    except (TypeError, ValueError) as error:
        kind = {int: "a whole number", float: "a number"}.get(allowed[0], allowed[0].__name__)
        raise SettingsError(f"{origin}{shown}: {kind} is needed.") from error
    above = each.metadata["above"]
    if above is not None and not (above < converted and math.isfinite(converted)):
        least = "0 or more" if above < 0 else f"a number above {above:g}"
        raise SettingsError(f"{origin}{shown}: {least} is needed.")
    return converted

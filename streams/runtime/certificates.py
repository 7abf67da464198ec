"""Our own certificates: loads them with their keys, takes renewed ones, and finds out when they expire."""

import datetime as dt
import logging
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

#: How often the files are checked for changes.
REFRESH_SECONDS = 10.0
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
#: Tags of ASN.1: of the version, and of a time with a year of two digits.
_VERSION, _UTC_TIME = 0xA0, 0x17

log = logging.getLogger(__name__)


class CertificateError(ValueError):
    """A certificate or its key cannot be used; the message says which, why and what to do, without a full stop."""


def load(context: ssl.SSLContext, certfile: Path, keyfile: Path | None, passphrase: str | None, variable: str) -> None:
    """Loads a certificate and its key.

    Args:
        context: Gets the certificate and its key.
        certfile: PEM file: the certificate first, then its chain.
        keyfile: PEM file of the key; None: it is in `certfile`.
        passphrase: Passphrase of an encrypted key.
        variable: The environment variable that names the passphrase's file.

    Raises:
        CertificateError: They cannot be used.
    """
    key = keyfile or certfile
    try:
        # Without a password of its own OpenSSL asks for one at the terminal.
        context.load_cert_chain(certfile, keyfile, password=passphrase or "")
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"cannot use {certfile} with the key in {key}: {_reason(error, certfile, key, passphrase, variable)}"
        ) from error


def trust_only(certfile: Path) -> ssl.SSLContext:
    """A context that accepts only this certificate, at any host name, so that a password goes to its holder alone."""
    context = ssl.create_default_context(cafile=certfile)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def expiry_seconds(certfile: Path) -> float:
    """When the first certificate of a PEM file expires, epoch seconds.

    Raises:
        CertificateError: There is no readable certificate.
    """
    try:
        found = _PEM.search(certfile.read_text("ascii", "replace"))
    except OSError as error:
        raise CertificateError(f"cannot read {certfile}: {error.strerror}") from error
    if found is None:
        raise CertificateError(f"there is no certificate in {certfile}: a PEM file is needed")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(found[0]))
    except (ValueError, IndexError, StopIteration) as error:
        raise CertificateError(f"the certificate in {certfile} is damaged") from error


class ServerCertificate:
    """The certificate of a port of ours; a renewed one is taken without a restart.

    Args:
        certfile: PEM file: the certificate first, then its chain.
        keyfile: PEM file of the key; None: it is in `certfile`.
        passphrase: Passphrase of an encrypted key.
        variable: The environment variable that names the passphrase's file.
        use: Of what it is, for the log.

    Raises:
        CertificateError: They cannot be used.
    """

    def __init__(
        self,
        certfile: Path,
        keyfile: Path | None,
        passphrase: str | None,
        variable: str,
        use: str = "the metrics pages",
    ) -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._passphrase = passphrase
        self._variable = variable
        self._use = use
        self._looked_at = time.monotonic()
        self._seen = self._signature()
        self.context, self.expires_at_seconds = self._loaded()

    def refresh(self) -> None:
        """Takes a renewed certificate. One that cannot be used is logged, and the old one stays in use."""
        now = time.monotonic()
        if now - self._looked_at < REFRESH_SECONDS:
            return
        self._looked_at = now
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self.context, self.expires_at_seconds = self._loaded()
        except CertificateError as error:
            # Certificate and key are two files, and the second may come a moment later: each change is tried.
            log.error("the renewed certificate of %s is not taken, the old one goes on: %s", self._use, error)
            return
        log.info("the certificate of %s was renewed: it holds until %s", self._use, when(self.expires_at_seconds))

    def _loaded(self) -> tuple[ssl.SSLContext, float]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load(context, self._certfile, self._keyfile, self._passphrase, self._variable)
        return context, expiry_seconds(self._certfile)

    def _signature(self) -> list[tuple[int, ...] | None]:
        """For each file, numbers that change when it is written, replaced or made readable; None: it is not there."""
        found: list[tuple[int, ...] | None] = []
        for file in (self._certfile, self._keyfile or self._certfile):
            try:
                now = file.stat()
            except OSError:
                found.append(None)
                continue
            found.append((now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns))
        return found


def when(at_seconds: float) -> str:
    """A time as text for people, in UTC."""
    return dt.datetime.fromtimestamp(at_seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _reason(error: Exception, certfile: Path, key: Path, passphrase: str | None, variable: str) -> str:
    """Why a certificate and its key do not load. OpenSSL itself says "[SSL] PEM lib" for almost anything."""
    if not isinstance(error, ssl.SSLError):
        return getattr(error, "strerror", None) or str(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key is of another certificate ({error})"
    if _PEM.search(certfile.read_text("ascii", "replace")) is None:
        return "there is no certificate in it; a PEM file is needed"
    text = key.read_text("ascii", "replace")
    if "ENCRYPTED" in text:
        if not passphrase:
            return f"the key is encrypted; give its passphrase in {variable}"
        return f"the passphrase in {variable} does not open it"
    if "PRIVATE KEY-----" not in text:
        return f"there is no key in {key}; a PEM file is needed"
    return str(error)


def _not_after(der: bytes) -> float:
    """The end of a certificate's validity (RFC 5280, 4.1); the ssl module shows it only for a peer's certificate."""
    _, certificate = next(_elements(der))
    _, signed = next(_elements(certificate))
    fields = [content for tag, content in _elements(signed) if tag != _VERSION]
    _, (tag, content) = _elements(fields[3])  # serial number, algorithm, issuer, validity
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if text < "50" else "19") + text
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of a DER sequence's content."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        yield tag, der[at : at + length]
        at += length

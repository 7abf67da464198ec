"""After a failure: finds out why the brokers do not let this client in, and says in one sentence what to do."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidSessionTimeoutError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.runtime.settings import Settings, variable_of

_CONNECT_SECONDS = 5.0
_ALL_SECONDS = 15.0

#: OpenSSL's codes for what is wrong with a certificate.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)


class _Place(NamedTuple):
    """An address of a broker, and whether a broker advertises it; otherwise it is from the settings."""

    host: str
    port: int
    advertised: bool = False

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class _Shut(Exception):
    """A broker cannot be used; the message is the whole sentence for the log, empty where there is no answer."""


async def why_not(settings: Settings) -> str | None:
    """Connects to every address, and then to every broker at the address that it advertises.

    Returns:
        What is wrong and what to do about it; None where nothing is wrong, or where there is no answer at all.
    """
    security = settings.security()
    try:
        async with asyncio.timeout(_ALL_SECONDS):
            return await _first_obstacle(settings, security)
    except TimeoutError:
        return None


async def _first_obstacle(settings: Settings, security: dict[str, Any]) -> str | None:
    sentences = []
    for host, port in _addresses(settings.bootstrap):
        try:
            brokers = await _knock(_Place(host, port), settings, security)
        except _Shut as shut:
            sentences.append(str(shut))
            continue
        for place in brokers:
            try:
                await _knock(place, settings, security)
            except _Shut as shut:
                return str(shut) or (
                    f"The broker advertises the address {place}, from which there is no answer: set its "
                    "advertised.listeners to an address that can be reached from here."
                )
        return None
    return next(filter(None, sentences), None)


def _addresses(bootstrap: str) -> Iterable[tuple[str, int]]:
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        yield host.strip("[]"), int(port)


async def _knock(place: _Place, settings: Settings, security: dict[str, Any]) -> list[_Place]:
    """Connects, logs in and asks for the brokers.

    Raises:
        _Shut: One of these failed.
    """
    try:
        connection = await create_conn(
            place.host, place.port, request_timeout_ms=int(_CONNECT_SECONDS * 1000), **security
        )
        try:
            answer = await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    except (KafkaError, OSError, TimeoutError) as error:
        raise _Shut(await _sentence(error, place, settings)) from error
    return [_Place(host, port, advertised=True) for _, host, port, *_ in answer.brokers]


async def _sentence(error: BaseException, place: _Place, settings: Settings) -> str:
    where = f"The broker {'that advertises' if place.advertised else 'at'} {place}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error, place, where, settings)
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed)):
        name = "sasl_password" if settings.sasl_password_file is None else "sasl_password_file"
        return (
            f"{where} does not let user {settings.sasl_username!r} in with {settings.sasl_mechanism}: name or password "
            f"is wrong, or the user has no {settings.sasl_mechanism} password; check {variable_of('sasl_username')} "
            f"and {variable_of(name)}."
        )
    if isinstance(error, (UnsupportedSaslMechanismError, AuthenticationMethodNotSupported, IllegalSaslStateError)):
        return (
            f"{where} does not offer {settings.sasl_mechanism} for logging in: set {variable_of('sasl_mechanism')} to "
            "one of its listener's sasl.enabled.mechanisms."
        )
    if isinstance(error, socket.gaierror):
        return f"The name {place.host!r} is not known here: check --bootstrap, or the broker's advertised.listeners."
    if isinstance(error, ConnectionRefusedError):
        return ""
    return await _of_protocol(error, place, where, settings)


def _of_certificate(error: ssl.SSLCertVerificationError, place: _Place, where: str, settings: Settings) -> str:
    code = error.verify_code
    whose = f"{where} shows a certificate that"
    if code == _EXPIRED:
        return f"{whose} has expired, or its authority's has: have a new one issued for the broker."
    if code == _NOT_YET_VALID:
        return f"{whose} is not valid yet: check the clock of this machine and of the one that issued it."
    if code in _UNKNOWN_AUTHORITY:
        known = f"the one in {settings.ssl_cafile}" if settings.ssl_cafile else "among this machine's own"
        return (
            f"{whose} was issued by an authority that is not {known}: give the certificate of the brokers' authority "
            f"in {variable_of('ssl_cafile')}."
        )
    if code in _OTHER_NAME:
        return (
            f"{whose} is for other names than {place.host!r}: connect by a name that it has, or have one issued "
            "for this name (subjectAltName)."
        )
    return f"{whose} cannot be trusted: {error.verify_message}."


async def _of_protocol(error: BaseException, place: _Place, where: str, settings: Settings) -> str:
    """A sentence for a connection that broke or had no answer: mostly only one side speaks TLS, or expects a login."""
    variable, is_now = variable_of("security_protocol"), settings.security_protocol
    silent = isinstance(error, TimeoutError)
    if is_now.endswith("SSL") and silent:
        return ""
    tls = await _speaks_tls(place)
    if is_now.endswith("SSL"):
        if tls:
            return (
                f"{where} ends the connection after the handshake: it may want a client's certificate "
                f"({variable_of('ssl_certfile')}), or {variable} is not that of its listener."
            )
        return f"{where} does not speak TLS there, and {variable} is {is_now}: check the port and {variable}."
    if tls:
        better = "SASL_SSL" if is_now.startswith("SASL") else "SSL or SASL_SSL"
        return f"{where} speaks TLS there, and {variable} is {is_now}: set it to {better}."
    if is_now == "PLAINTEXT" and not silent and await _is_open(place):
        return (
            f"{where} ends the connection unless a client logs in, and {variable} is {is_now}: set it as its listener."
        )
    return ""


async def _speaks_tls(place: _Place) -> bool:
    """Whether the broker speaks TLS. Its certificate is not checked, since nothing is sent."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CONNECT_SECONDS / 2):
            _, writer = await asyncio.open_connection(place.host, place.port, ssl=anyone)
        writer.transport.abort()
        return True
    return False


async def _is_open(place: _Place) -> bool:
    """Whether a Kafka broker without TLS is there: each says which versions it supports, even before a login."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        connection = await create_conn(place.host, place.port, request_timeout_ms=int(_CONNECT_SECONDS / 2 * 1000))
        connection.close()
        return True
    return False


def denied(error: BaseException, settings: Settings) -> str | None:
    """A sentence for an error by which the broker forbids something; None for any other error."""
    who = f"User {settings.sasl_username!r}" if settings.security_protocol.startswith("SASL") else "This client"
    mend = "the rules that a worker needs are in docs/security.md"
    if isinstance(error, TopicAuthorizationFailedError):
        return f"{who} may not use topic {_names(error)} as is needed: {mend}."
    if isinstance(error, GroupAuthorizationFailedError):
        return f"{who} may not join group {settings.group}: {mend}."
    if isinstance(error, InvalidSessionTimeoutError):
        return (
            f"The broker does not allow --session-timeout-seconds {settings.session_timeout_seconds:g}: choose one "
            "between its group.min.session.timeout.ms and group.max.session.timeout.ms."
        )
    if isinstance(error, TransactionalIdAuthorizationFailed):
        return f"{who} may not use transactional ids that begin with {settings.group}-: {mend}."
    return None


def _names(error: BaseException) -> str:
    names = [
        name
        for argument in error.args
        for name in ([argument] if isinstance(argument, str) else argument if isinstance(argument, Iterable) else ())
    ]
    return ", ".join(sorted(map(str, names))) or "(the broker does not say which)"

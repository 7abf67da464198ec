"""The one way out over HTTP, to workers and Prometheus: checks addresses, uses a proxy only where one is needed."""

import ipaddress
import ssl
import urllib.request
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit


class Unreachable(Exception):
    """No answer from the address, or not what was expected; the message is one sentence."""


def request_to(url: str, data: bytes | None = None) -> urllib.request.Request:
    """A request; with data, a POST.

    Raises:
        Unreachable: The address makes no sense.
    """
    _host(url)
    return urllib.request.Request(url, data)


def open_url(
    request: urllib.request.Request, timeout_seconds: float, trust: ssl.SSLContext | None = None
) -> HTTPResponse:
    """Sends a request. Loopback is never asked through a proxy; others follow the environment and its `no_proxy`.

    Args:
        request: From `request_to`.
        timeout_seconds: For connecting, and for each read.
        trust: Whose certificates are accepted, with https; None: the system's authorities decide.

    Raises:
        Unreachable: What answers does not speak HTTP.
        urllib.error.HTTPError: Who answers refuses.
        OSError: No answer.
    """
    url = request.full_url
    host = _host(url)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=trust)]
    if is_here(host) or _excepted(host):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        answer: HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=timeout_seconds)
    except HTTPException as error:
        raise Unreachable(f"{url.partition('?')[0]} does not answer in HTTP: {type(error).__name__}") from error
    return answer


def is_here(host: str) -> bool:
    """Whether a name or address means this machine: no proxy can reach what that is to us."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def _excepted(host: str) -> bool:
    """Whether `no_proxy` names a network that holds an address, 10.0.0.0/8: urllib knows names and addresses alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for each in urllib.request.getproxies().get("no", "").split(","):
        try:
            if "/" in each and address in ipaddress.ip_network(each.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        # Asked for, since only then is it looked at.
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host = 0, None
    if not host or not host.isascii() or port == 0 or not url.startswith(("http://", "https://")):
        raise Unreachable(
            f"{url.partition('?')[0]!r} is no address: write http://HOST:PORT, the port from 1 to 65535 in plain digits"
        )
    return host

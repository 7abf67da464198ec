"""A container's health check: asks this machine's worker a path, over TLS where its pages speak that; light to start.

Run: python -m streams.ops.probe http://localhost:9464/readyz
"""

import os
import ssl
import sys
import urllib.error
import urllib.request

from streams.runtime.settings import variable_of

_TIMEOUT_SECONDS = 2.0


def probe(url: str) -> str | None:
    """Asks an address of this machine.

    Args:
        url: http://; https:// is asked where the environment names a certificate for the pages.

    Returns:
        What is wrong; None: it answers well.
    """
    # As a kubelet's probe: nothing secret is sent, and a certificate that has ended is no reason to call a worker dead.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if os.environ.get(variable_of("metrics_certfile")):
        url = url.replace("http://", "https://", 1)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        opener.open(url, timeout=_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.read(4096).decode(errors="replace").strip()
    except OSError as error:
        return f"nobody answers at {url}: {error}"
    return None


if __name__ == "__main__":
    if (wrong := probe(sys.argv[1])) is not None:
        sys.exit(wrong)

"""A container's health check: asks this machine's worker a path, over TLS where its pages speak that; light to start.

Run: python -m streams.ops.probe http://localhost:9464/readyz
"""

import os
import ssl
import sys
import urllib.error

from streams.runtime.settings import variable_of
from streams.views.http import Unreachable, open_url, request_to

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
    try:
        open_url(request_to(url), _TIMEOUT_SECONDS, context).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.read(4096).decode(errors="replace").strip()
    except Unreachable as error:
        return str(error)
    except OSError as error:
        return f"no answer from {url}: {error}"
    return None


if __name__ == "__main__":
    if (wrong := probe(sys.argv[1])) is not None:
        sys.exit(wrong)

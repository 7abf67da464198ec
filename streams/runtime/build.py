"""Which build this is: its version and, if known, the commit that it was made from."""

import importlib.metadata
import json
import os
from collections.abc import Mapping

#: Set in the image, from the build argument COMMIT.
COMMIT_VARIABLE = "LABELWATCH_COMMIT"
UNKNOWN = "unknown"


def version() -> str:
    """The version of the installed package."""
    try:
        return importlib.metadata.version("labelwatch")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN


def commit(environ: Mapping[str, str] = os.environ) -> str:
    """The commit of the image, else the one that pip recorded when it installed from git, else `unknown`."""
    if given := environ.get(COMMIT_VARIABLE):
        return given
    try:
        noted = importlib.metadata.distribution("labelwatch").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    # PEP 610; absent from installations that come from an index.
    return str(json.loads(noted or "{}").get("vcs_info", {}).get("commit_id", UNKNOWN))

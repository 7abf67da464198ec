"""Whether the native reader is there: the one place that looks for it, and where it is switched off.

It is the twin of Python's reader for what is frequent (docs/native.md), built where cargo is there.
"""

import importlib
import logging
import os
from typing import Any

log = logging.getLogger(__name__)

#: `0` leaves everything to Python's reader.
SWITCH = "LABELWATCH_NATIVE"
#: Of what Python and the module hand each other: one more with each change to it, here and in native/src/lib.rs.
INTERFACE = 3


def load() -> Any:
    """The compiled module, switched off or not; None where it was not built."""
    try:
        return importlib.import_module("streams._native")
    except ImportError:
        return None


def is_stale() -> bool:
    """Whether a module is there that was built for other code than this."""
    module = load()
    return module is not None and getattr(module, "INTERFACE", 1) != INTERFACE


def _look() -> tuple[Any, str]:
    if os.environ.get(SWITCH) == "0":
        return None, f"switched off by {SWITCH}=0"
    module = load()
    if module is None:
        return None, "not built, cargo was missing when labelwatch was installed"
    if is_stale():
        return None, "of another version of labelwatch: run make setup"
    return module, ""


#: The compiled module, None where Python's reader runs; and why it is not there.
MODULE, WHY_NOT = _look()
#: How many times it has failed.
failures = 0


def failed(offset: int) -> None:
    """Leaves what is read from now on to Python's reader: the native one has failed at an offset."""
    global MODULE, WHY_NOT, failures
    MODULE, WHY_NOT = None, f"failed at offset {offset}"
    failures += 1
    log.error("the native reader failed at offset %d; Python's reader goes on, and this is a defect: report it", offset)


def name() -> str:
    """Which reader runs: `native` or `python`."""
    return "python" if MODULE is None else "native"

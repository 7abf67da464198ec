"""The console script in this process, as a fixture: that is quick."""

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from streams import cli


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the console script's own entry point, without any setting of the environment."""
    for name in [name for name in os.environ if name.startswith("LABELWATCH_")]:
        monkeypatch.delenv(name)

    def ended(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["labelwatch", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return ended

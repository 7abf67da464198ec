"""docs/guide/spreadsheet.md, executed as it is written: a spreadsheet becomes figures, then boards."""

import csv
import datetime
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import openpyxl
import pytest

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide/spreadsheet.md").read_text("utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROWS = 400

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(600)]


def a_sheet(path: Path) -> float:
    """A sheet as the page describes it, of real labels; returns the share of answers that are the gold one."""
    with (ROOT / "tests/data/crowd/zencrowd_us.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))[:ROWS]
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    header = re.search(r"^\| (Agent .*) \|$", PAGE, re.MULTILINE)
    assert header is not None
    sheet.append(header[1].split(" | "))
    at = datetime.datetime(2025, 11, 28, 9)  # noqa: DTZ001  # sheets have no zones; 01:00 UTC in Manila
    for label in labels:
        at += datetime.timedelta(seconds=37)
        sheet.append([label["worker"], label["item"], at, float(label["seconds"]), label["label"], label["gold"]])
    book.save(path)
    right = [label for label in labels if label["label"] == label["gold"]]
    return len(right) / ROWS


def test_the_guide_brings_a_spreadsheet_to_the_boards(tmp_path: Path) -> None:
    share = f"{100 * a_sheet(tmp_path / 'labels.xlsx'):.1f}%"
    port = free_port()
    # The page is for a shell in which `make setup` is done.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    environment |= {"PATH": path, "COLUMNS": "120"}
    said = []
    setup, *steps = (commands.replace("127.0.0.1:9090", f"127.0.0.1:{port}") for commands in COMMANDS)
    assert setup == "make setup && source .venv/bin/activate\n"
    server = None
    try:
        for commands in steps:
            if commands.startswith("prometheus"):
                server = subprocess.Popen(commands.split(), cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
                until_ready(port)
                continue
            done = subprocess.run(
                ["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, commands + done.stdout + done.stderr
            said.append(done.stdout)
    finally:
        if server is not None:
            server.terminate()
            server.wait()
    suggested, dry, figures, history, pages = said
    assert suggested == ""
    assert f"rows: {ROWS} read, {ROWS} used, 0 could not be used" in dry
    assert "time: 2025-11-28 01:00 UTC to 2025-11-28 05:06 UTC" in dry, "the range that the page gives to the boards"
    assert f"labels compared are equal ({share})" in dry
    assert "800 events written: labels.jsonl" in figures
    assert share in figures
    assert "800 events as history in history" in history
    assert "labelwatch-operations.html" in pages
    board = (tmp_path / "pages/labelwatch-operations.html").read_text("utf-8")
    assert share in board
    assert "manila-1" in board


def until_ready(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("prometheus is not ready after a minute")

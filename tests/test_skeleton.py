"""The project's own promises: what is built, and that CI skips nothing."""

import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_pytest(folder: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("--continue-on-collection-errors", "--rootdir", folder, folder),
        ],
        cwd=ROOT,
        env={"CI": "true" if ci else "", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_is_a_failure_in_ci_and_only_there(tmp_path: Path) -> None:
    (tmp_path / "test_skips.py").write_text(
        textwrap.dedent("""
            import pytest

            def test_skips():
                pytest.skip("no Java here")

            @pytest.mark.xfail
            def test_known():
                assert False
        """)
    )
    (tmp_path / "test_skips_whole.py").write_text(
        "import pytest\npytest.skip('nothing here', allow_module_level=True)\n"
    )

    at_a_desk = run_pytest(tmp_path, ci=False)
    assert at_a_desk.returncode == 0, at_a_desk.stdout
    assert "2 skipped, 1 xfailed" in at_a_desk.stdout

    in_ci = run_pytest(tmp_path, ci=True)
    assert in_ci.returncode != 0
    assert "no Java here" in in_ci.stdout
    assert "nothing here" in in_ci.stdout
    assert " skipped" not in in_ci.stdout.splitlines()[-1]


def test_the_console_script_is_installed() -> None:
    scripts = {entry.name: entry.value for entry in entry_points(group="console_scripts")}
    assert scripts["labelwatch"] == "streams.cli:main"


def test_without_the_script_it_is_the_module() -> None:
    by_script = [str(Path(sys.executable).with_name("labelwatch")), "policy", "check", "no-such.toml"]
    by_module = [sys.executable, "-m", "streams", *by_script[1:]]
    script, module = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        for command in (by_script, by_module)
    )
    assert script.returncode == module.returncode == 2
    assert script.stderr.startswith("labelwatch: ")
    assert (script.stdout, script.stderr) == (module.stdout, module.stderr)


def test_type_checkers_are_told_that_the_packages_have_types() -> None:
    """And so is who installs the wheel: the file is among the package's data."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packages = [pattern.removesuffix("*") for pattern in tables["packages"]["find"]["include"]]
    assert all((ROOT / package / "py.typed").is_file() for package in packages)
    assert "py.typed" in tables["package-data"]["*"]


def test_every_exception_from_a_check_has_its_reason_beside_it() -> None:
    marked = re.compile(r"# (?:type: ignore|noqa)\b")
    reasoned = re.compile(r"# (?:type: ignore\[[a-z, -]+\]|noqa: [A-Z0-9, ]+) +[#-] \S")
    folders = ("schemas", "detectors", "streams", "grafana", "tests", "benchmarks", ".ci")
    unreasoned = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if marked.search(line) and not reasoned.search(line) and file != Path(__file__)
    ]
    assert unreasoned == []

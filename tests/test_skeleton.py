"""The project's own promises: what is built, and that CI skips nothing."""

import subprocess
import sys
import textwrap
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

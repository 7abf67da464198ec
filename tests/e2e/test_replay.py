"""The proof of issue 3: a crowd file replayed by the command into a running worker gives the known figures."""

import subprocess
import sys
from pathlib import Path

import pytest

from streams.ops.topics import create
from streams.runtime.settings import Settings
from tests.support.tansu import Tansu
from tests.support.worker import WorkerProcess

CROWD = Path(__file__).parents[1] / "data" / "crowd"
PARTITIONS = 2
_LABELWATCH = [sys.executable, "-m", "streams.cli"]
#: The command itself; its settings come from the environment.
_COMMAND = "import sys; from streams.cli import main; sys.argv = ['labelwatch', 'worker']; sys.exit(main())"


@pytest.fixture
def sentiment() -> Path:
    """10,000 judgements of sentiment, each with its gold label: 8,935 are right."""
    return CROWD / "sentiment_amt.csv"


def test_the_crowd_replayed_into_a_worker_shows_its_known_accuracy(
    tansu: Tansu, sentiment: Path, tmp_path: Path
) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    with WorkerProcess(tmp_path, tansu.bootstrap, program=_COMMAND, clock="event") as worker:
        replay = subprocess.run(
            [*_LABELWATCH, "replay", str(sentiment), "--bootstrap", tansu.bootstrap],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # A label and a gold review for each row, and the clock for each partition.
        assert (replay.returncode, replay.stdout) == (0, f"{20_000 + PARTITIONS:,} records\n"), replay.stderr
        figures = worker.wait_until("labelwatch_events_total", 20_000 + PARTITIONS)

        def of_crowd(name: str, **labels: str) -> float:
            return figures[name][frozenset({"site": "crowd", "window": "7d", **labels}.items())]

        assert of_crowd("labelwatch_site_labels") == 10_000
        assert of_crowd("labelwatch_site_reviews", role="agent") == 10_000
        assert of_crowd("labelwatch_site_correct_reviews", role="agent") == 8_935
        assert of_crowd("labelwatch_site_accuracy_ratio", role="agent") == 0.8935
        assert of_crowd("labelwatch_site_accuracy_lower_ratio", role="agent") == pytest.approx(0.8873, abs=1e-4)
        assert of_crowd("labelwatch_site_accuracy_upper_ratio", role="agent") == pytest.approx(0.8994, abs=1e-4)
        assert sum(figures["labelwatch_rejected_total"].values()) == 0
        assert sum(figures["labelwatch_duplicates_total"].values()) == 0
        assert worker.terminate() == 0

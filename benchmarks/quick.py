"""The guard: labelwatch beside the bare librdkafka loop and plain Faust, in under three minutes.

Fails where a ratio falls below its floor by more than a fifth. Floors are what a run of this benchmark has
reached; raise them when the code gets faster. Rates of one run cannot be compared with another's, ratios can.

PeerRun: python -m benchmarks.quick [--write-floors]
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks import document
from benchmarks.throughput import PeerRun, loaded, make_peers, measure
from tests.support.kafka import missing_tools

FLOORS = Path(__file__).with_name("floors.json")
MARGIN = 0.2
EVENTS, ROUNDS = 400_000, 3
GUARDED = ("librdkafka + msgspec", "the same, tuned", "plain Faust")


def ratios(runs: dict[str, list[PeerRun]], ours: str) -> dict[str, float]:
    """The rate of labelwatch over each peer's, medians of the rounds."""
    return {
        name: statistics.median(mine.rate / other.rate for mine, other in zip(runs[ours], of_peer, strict=True))
        for name, of_peer in runs.items()
        if name != ours
    }


def main() -> int:
    """Runs it; exit code 1 below a floor, 2 where the machine cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-floors", action="store_true", help="record this run's ratios as the floors")
    arguments = parser.parse_args()
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    print(document.conditions(), flush=True)
    with loaded(EVENTS, seed=1) as (bootstrap, folder, accepted):
        peers = [
            peer
            for peer in make_peers(bootstrap, folder, EVENTS, accepted, only_ours=True)
            if peer.name in GUARDED or "labelwatch" in peer.name
        ]
        found = ratios(measure(peers, ROUNDS), peers[-1].name)
    if arguments.write_floors:
        FLOORS.write_text(
            json.dumps({name: round(ratio, 2) for name, ratio in found.items()}, indent=1) + "\n", "utf-8"
        )
        return 0
    floors: dict[str, float] = json.loads(FLOORS.read_text("utf-8"))
    fallen = False
    for name, ratio in found.items():
        least = floors[name] * (1 - MARGIN)
        fallen |= ratio < least
        verdict = "ok" if ratio >= least else "BELOW"
        print(f"{ratio:7.2f} x {name:24} floor {floors[name]:g}, least {least:.2f}: {verdict}")
    return int(fallen)


if __name__ == "__main__":
    sys.exit(main())

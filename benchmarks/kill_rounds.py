"""Kills a crawl of several hundred images, failures among them, at random moments, and compares the final bytes.

    python -m benchmarks.kill_rounds --rounds 20 --process-rounds 20 --ray-rounds 10

Each round crawls the same list into a dataset of its own, is killed with SIGKILL up to twice (inline: the process;
worker processes and Ray: a worker, or the driver), continues to the end and must come to the bytes of a crawl nobody
disturbed. Prints one JSON line; exits with 1 if any dataset differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.support.killing import IMAGES, kill_rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="with the inline executor")
    parser.add_argument("--process-rounds", type=int, default=20)
    parser.add_argument("--ray-rounds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    report: dict[str, object] = {"benchmark": "kill_rounds", "images": IMAGES}
    differing = 0
    plan = (("inline", options.rounds), ("processes", options.process_rounds), ("ray", options.ray_rounds))
    for executor, rounds in plan:
        with tempfile.TemporaryDirectory() as folder:
            counts = kill_rounds(Path(folder), range(options.first_seed, options.first_seed + rounds), executor)
        report[executor] = dict(counts)
        differing += counts["differing"]
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report))
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()

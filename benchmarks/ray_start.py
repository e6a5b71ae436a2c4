"""What Ray costs a command that has next to nothing to do: a crawl of 12 small pictures in two worker processes.

    python benchmarks/ray_start.py [--repeats 3] [--executor ray]

Prints one JSON line: medians of the seconds of the whole command, of the CPU seconds of all its processes, of the peak
of their summed proportional set size, and of their number. On a busy machine the CPU seconds say more than the others.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skimage import data

from pipelines.engine.interrupt import descendants
from x2i.image import ResizeMode, encode, resize

PICTURES = 12
LOOKS_PER_SECOND = 20


def make_pictures(folder: Path) -> None:
    """Writes one photograph at `PICTURES` sizes."""
    for number in range(PICTURES):
        pixels = resize(data.astronaut(), ResizeMode.LONGEST, 256 + 8 * number)
        (folder / f"{number:02d}.jpg").write_bytes(encode(pixels, "jpeg", 90))


def run(command: list[str]) -> tuple[float, float, float, int]:
    """Runs `command`; returns its seconds, CPU seconds, peak megabytes, and how many processes it had."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cpu: dict[int, float] = {}
    peak = 0.0
    while process.poll() is None:
        family = [process.pid, *descendants(process.pid)]
        for pid in family:
            cpu[pid] = max(cpu.get(pid, 0.0), _cpu_seconds(pid))
        peak = max(peak, sum(map(_megabytes, family)))
        time.sleep(1 / LOOKS_PER_SECOND)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - started, sum(cpu.values()), peak, len(cpu)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has ended
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0  # it has ended
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--executor", default="ray")
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        make_pictures(pictures)
        for number in range(options.repeats):
            out = Path(folder) / f"out-{number}"
            command = [str(Path(sys.executable).with_name("x2i")), "crawl", str(pictures), "--out", str(out)]
            runs.append(run([*command, "--partition-size", "6", "--workers", "2", "--executor", options.executor]))
    seconds, cpu, peak, processes = (statistics.median(column) for column in zip(*runs))
    line = {"executor": options.executor, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}
    print(json.dumps({**line, "peak_mb": round(peak), "processes": processes}))


if __name__ == "__main__":
    main()

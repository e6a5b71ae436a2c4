"""Memory of a crawl over a long table: what one worker process holds after each tenth of it.

    python benchmarks/memory.py [--rows 1000000] [--partition-size 10000] [--kind failing] [--folder FOLDER]

failing: rows whose URL no crawl may fetch, so that nothing but the bookkeeping of rows is done. images: small JPEGs in
a folder, decoded and stored. Planning and crawling run in this process, one partition after the other, as
`--executor inline` does. Prints one line of JSON per tenth and the growth from the first to the last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from x2i.image import encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--partition-size", type=int, default=10_000)
    parser.add_argument("--kind", choices=["failing", "images"], default="failing")
    parser.add_argument("--folder", type=Path, help="Where to work; by default a temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        make = failing_rows if arguments.kind == "failing" else small_images
        source = make(Path(folder), arguments.rows)
        measured = crawl(source, Path(folder) / "data", arguments.partition_size)
    print(json.dumps({"growth_megabytes": round(measured[-1] - measured[0], 1)}))


def failing_rows(folder: Path, rows: int) -> str:
    """Writes a list of URLs of a scheme that is not fetched."""
    path = folder / "urls.txt"
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(f"ftp://images.example.org/photographs/large/{n:012d}.jpg\n" for n in range(rows))
    return str(path)


def small_images(folder: Path, rows: int) -> str:
    """Writes small JPEGs, a thousand to a folder."""
    import numpy as np

    data = encode(np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8))
    for n in range(rows):
        if n % 1000 == 0:
            (folder / "photos" / f"{n // 1000:06d}").mkdir(parents=True)
        (folder / "photos" / f"{n // 1000:06d}" / f"{n % 1000:03d}.jpg").write_bytes(data)
    return str(folder / "photos")


def crawl(source: str, root: Path, partition_size: int) -> list[float]:
    """Crawls `source` into a dataset at `root`; returns the megabytes held after each tenth of its partitions."""
    from pipelines.engine.executors.select import InlineExecutor
    from pipelines.engine.partition import Result, WorkItem
    from pipelines.engine.planning import write_plan
    from pipelines.stages.crawl.stage import CrawlStage
    from x2i.store import Dataset

    stage = CrawlStage(sources=(source,), partition_size=partition_size)
    dataset = Dataset.create(root)
    plan = write_plan(dataset, stage)
    items = [(WorkItem(stage.name, entry),) for entry in plan.entries]
    measured: list[float] = []
    done, started = 0, time.monotonic()

    def on_result(result: Result) -> None:
        nonlocal done
        assert result.error is None, result.error
        done += 1
        if done * 10 // len(items) > len(measured):
            measured.append(held_megabytes())
            line = {"partitions": done, "of": len(items), "megabytes": round(measured[-1], 1)}
            print(json.dumps({**line, "seconds": round(time.monotonic() - started)}), flush=True)

    InlineExecutor().run(root, {stage.name: stage}, items, on_result)
    return measured


def held_megabytes() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

"""Running a crawl without the engine: plan and worker called directly, here or in processes of their own."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.crawl.stage import CrawlStage
from x2i.image_record import ImageRecord
from x2i.options import build, option_fields
from x2i.store import Dataset
from x2i.store.images import read_image_index, record_from_row

LOOPBACK = ("127.0.0.0/8",)
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["tests.support.crawling", "cv2", "uvloop", "x2i.crawl.http.fetch", "x2i.crawl.partition"])
"""Processes of their own, forked from one that has imported what they need and runs nothing."""
QUICK: dict[str, Any] = {"allow_net": LOOPBACK, "retries": 1}


@dataclass(frozen=True)
class Cost:
    """What a crawl took. memory: the most bytes that its process held at once beyond what it held before."""

    seconds: float
    memory: int


def url_table(path: Path, urls: list[str], texts: list[str] | None = None) -> str:
    """Writes a CSV of URLs and texts; returns its path as a source."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["url", "text"])
        writer.writerows(zip(urls, texts or [f"text {n}" for n in range(len(urls))], strict=True))
    return str(path)


def crawl_stage(**options: Any) -> CrawlStage:
    """Returns a crawl with these options, each by its name, whatever its group."""
    unknown = options.keys() - {field.name for field in option_fields(CrawlStage)}
    assert not unknown, unknown
    return build(CrawlStage, options)


def crawl(root: Path, stage: CrawlStage) -> list[ImageRecord]:
    """Plans and crawls every partition into a dataset at `root`; returns all records in plan order."""
    partitions = planned_partitions(root, stage)
    worker = stage.worker(root)
    for partition in partitions:
        worker(partition.id, partition.rows)
    return stored_records(root)


def planned_partitions(root: Path, stage: CrawlStage) -> list[PlannedPartition]:
    """Plans a crawl into a dataset at `root`, which is made if there is none; returns the work it comes to."""
    return [item for item in stage.plan(Dataset.create(root)) if isinstance(item, PlannedPartition)]


def stored_records(root: Path) -> list[ImageRecord]:
    """Returns the records of every partition in the image store, in order."""
    partitions = sorted(path.stem for path in (root / "images").glob("*.parquet"))
    return [record_from_row(row) for name in partitions for row in read_image_index(root, name).to_pylist()]


def crawl_in_a_process(root: Path, stage: CrawlStage) -> Cost:
    """Like `crawl`, in a process of its own, whose memory is measured."""
    here, there = _FORK.Pipe()
    process = _FORK.Process(target=_crawl_measured, args=(root, stage, there))
    process.start()
    there.close()
    cost = here.recv()
    process.join(60)
    return cost


def crawl_side_by_side(crawls: Sequence[tuple[Path, CrawlStage]]) -> None:
    """Runs each crawl in a process of its own, all at the same time; they begin together."""
    barrier = _FORK.Barrier(len(crawls))
    processes = [_FORK.Process(target=_crawl_together, args=(*one, barrier)) for one in crawls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _crawl_together(root: Path, stage: CrawlStage, barrier: Any) -> None:
    worker = stage.worker(root)
    partitions = planned_partitions(root, stage)
    barrier.wait(60)
    for partition in partitions:
        worker(partition.id, partition.rows)


def _crawl_measured(root: Path, stage: CrawlStage, pipe: Any) -> None:
    partitions = planned_partitions(root, stage)
    worker = stage.worker(root)
    before, started = _memory("VmRSS"), time.monotonic()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for partition in partitions:
        worker(partition.id, partition.rows)
    pipe.send(Cost(time.monotonic() - started, _memory("VmHWM") - before))


def _memory(field: str) -> int:
    """Returns a number of bytes from /proc/self/status."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024

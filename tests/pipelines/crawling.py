"""Running a crawl without the engine: plan and worker called directly."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pipelines.crawl import CrawlStage
from x2i.sample import ImageRecord
from x2i.store import Dataset
from x2i.store.images import read_image_index, record_from_row

LOOPBACK = ("127.0.0.0/8",)
QUICK: dict[str, Any] = {"allow_net": LOOPBACK, "retries": 1}


def url_table(path: Path, urls: list[str], texts: list[str] | None = None) -> str:
    """Writes a CSV of URLs and texts; returns its path as a source."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["url", "text"])
        writer.writerows(zip(urls, texts or [f"text {n}" for n in range(len(urls))], strict=True))
    return str(path)


def crawl(root: Path, stage: CrawlStage) -> list[ImageRecord]:
    """Plans and crawls every partition into a dataset at `root`; returns all records in plan order."""
    dataset = Dataset.create(root)
    worker = stage.worker(root)
    records: list[ImageRecord] = []
    for partition in stage.plan(dataset):
        worker(partition.id, partition.rows)
        records += [record_from_row(row) for row in read_image_index(root, partition.id).to_pylist()]
    return records

"""Runs crawl partitions in one process: plan rows in, an image partition out, one line of timing into the log."""

from __future__ import annotations

import asyncio
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

import cv2
import pyarrow as pa
import uvloop
from threadpoolctl import threadpool_limits

from pipelines.engine.memory import collect_seldom
from pipelines.engine.stage import Outcome
from x2i.crawl.http.fetch import Fetcher
from x2i.crawl.http.hosts import HostRegistry
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.partition import PlanRow, crawl_rows
from x2i.crawl.process import StoragePolicy
from x2i.crawl.resume import final_results
from x2i.image_record import ImageRecord
from x2i.reasons import Status
from x2i.store import paths
from x2i.store.commits import Counts
from x2i.store.files.remote import append_log
from x2i.store.images import ImagePartitionWriter, image_partition
from x2i.store.tombstones import Tombstones
from x2i.takedown.tombstone_filter import taken_down_rows, without_taken_down

DECODE_THREADS = 2
"""Two, so that one worker alone has work for two cores; where several share the cores, it makes no difference."""


class CrawlWorker:
    """Crawls partitions in one process: one event loop per partition, decoding in a few threads beside it.

    What is learnt about hosts (robots.txt, crawl delay, Retry-After) is kept from one partition to the next.
    """

    def __init__(self, root: Path, fetch: FetchPolicy, storage: StoragePolicy) -> None:
        # The threads that decode are as many as there is work for; more, each waiting for the next, cost a tenth.
        cv2.setNumThreads(1)
        threadpool_limits(1, user_api="blas")
        collect_seldom()
        # The decoder handles damaged metadata itself; Pillow would warn about each such image.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        self._root = root
        self._fetch = fetch
        self._storage = storage
        self._hosts = HostRegistry()
        self._tombstones = Tombstones.load(root)

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        started, clock = time.time(), time.monotonic()
        planned = [PlanRow(**row) for row in rows.to_pylist()]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            store = runner.run(self._crawl(partition, planned))
        records, counts = store.records, count_records(store.records)
        log = {"event": "partition", "partition": partition, "time": started, "seconds": time.monotonic() - clock}
        append_log(
            self._root, "crawl", {**log, **asdict(counts), "bytes_received": sum(record.bytes for record in records)}
        )
        tar = paths.image_tar(self._root, partition)
        return Outcome((tar, paths.image_index(self._root, partition)), counts, {tar: store.tar_sha256})

    async def _crawl(self, partition: str, rows: list[PlanRow]) -> ImagePartitionWriter:
        done = final_results(self._root, partition, rows) if self._fetch.retry_failed else {}
        done |= taken_down_rows(rows, self._tombstones)
        with ThreadPoolExecutor(DECODE_THREADS) as pool, image_partition(self._root, partition) as store:
            async with (
                Fetcher(self._fetch, self._hosts) as fetcher,
                aclosing(crawl_rows(rows, fetcher, self._storage, pool, done)) as results,
            ):
                async for result in results:
                    store.add(*without_taken_down(result, self._tombstones))
        return store


def count_records(records: list[ImageRecord]) -> Counts:
    """Returns how many records were kept, filtered and failed, by reason."""
    by_status: dict[Status, dict[str, int]] = {Status.FILTERED: {}, Status.FAILED: {}}
    for record in records:
        if record.reason is not None:
            reasons = by_status[record.status]
            reasons[str(record.reason)] = reasons.get(str(record.reason), 0) + 1
    kept = sum(record.status is Status.OK for record in records)
    return Counts(
        kept, dict(sorted(by_status[Status.FILTERED].items())), dict(sorted(by_status[Status.FAILED].items()))
    )

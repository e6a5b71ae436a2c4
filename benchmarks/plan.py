"""Planning a crawl: seconds, rows per second and peak memory for a Parquet of URLs and captions.

    python benchmarks/plan.py [--rows 1000000 10000000] [--folder FOLDER] [--suffix .parquet] [--again]

Makes the table (URLs of about 100 bytes, captions of about 60), plans it in a process of its own as `x2i crawl` does
before it fetches, and prints a line of JSON for each size; `compare` is what a run that is continued does before its
first fetch: reading the plan, and looking at every planned file. --again plans a second table of which nine in ten rows
are known from the first. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PIECE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--folder", type=Path, help="Where to work; by default a temporary folder.")
    parser.add_argument("--suffix", default=".parquet", choices=[".parquet", ".csv", ".csv.gz", ".jsonl", ".json"])
    parser.add_argument("--again", action="store_true", help="Plan also a second table, nine tenths of it known.")
    parser.add_argument("--plan", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        print(json.dumps(plan(Path(arguments.plan[0]), Path(arguments.plan[1]))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for rows in arguments.rows:
            tables = [write_urls(Path(folder) / f"urls{arguments.suffix}", 0, rows)]
            if arguments.again:
                tables.append(write_urls(Path(folder) / f"more{arguments.suffix}", rows // 10, rows))
            for table in tables:
                command = [sys.executable, __file__, "--plan", str(table), str(Path(folder) / "data")]
                measured = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                print(
                    json.dumps({"table": table.name, "megabytes": table.stat().st_size // 10**6, **measured}),
                    flush=True,
                )
            shutil.rmtree(Path(folder) / "data")


def write_urls(path: Path, start: int, count: int) -> Path:
    """Writes rows `start` to `start + count` of an endless list of URLs with captions."""
    pieces = (url_rows(first, min(PIECE, start + count - first)) for first in range(start, start + count, PIECE))
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, url_rows(0, 1).schema, compression="zstd") as writer:
            for piece in pieces:
                writer.write_table(piece)
        return path
    with gzip.open(path, "wt", 1) if path.suffix == ".gz" else open(path, "w", encoding="utf-8") as stream:
        is_csv, is_list = ".csv" in path.name, path.suffix == ".json"
        stream.write("url,caption\n" if is_csv else "[\n" if is_list else "")
        separator = ""
        for piece in pieces:
            for url, caption in zip(piece["url"].to_pylist(), piece["caption"].to_pylist(), strict=True):
                row = f'{url},"{caption}"\n' if is_csv else f'{{"url": "{url}", "caption": "{caption}"}}\n'
                stream.write(f"{separator}{row}")
                separator = "," if is_list else ""
        stream.write("]\n" if is_list else "")
    return path


def url_rows(start: int, count: int) -> pa.Table:
    number = pa.array(np.arange(start, start + count)).cast(pa.string())
    host = pa.array(np.arange(start, start + count) * 7919 % 50_000).cast(pa.string())
    padded = pc.utf8_lpad(number, 12, "0")
    url = pc.binary_join_element_wise(
        "https://images-", host, ".example.org/photographs/large/", padded, "-as-it-was-taken-that-day.jpg", ""
    )
    caption = pc.binary_join_element_wise("photograph number ", number, " of a long list, as its site describes it", "")
    return pa.table({"url": url, "caption": caption})


def plan(table: Path, root: Path) -> dict[str, Any]:
    """Plans `table` into the dataset at `root`, then does what a continued run does first."""
    from pipelines.engine.planning import plan_status, recorded_plan, write_plan
    from pipelines.stages.crawl.incremental import crawl_runs
    from pipelines.stages.crawl.stage import CrawlStage
    from x2i.store import Dataset, paths
    from x2i.store.commits import Commit, Counts, write_commit
    from x2i.store.plans import is_plan_whole

    dataset = Dataset.create(root)
    before = peak_megabytes()
    started, cpu = time.monotonic(), time.process_time()
    [stage] = crawl_runs(dataset, CrawlStage(sources=(str(table),)))
    written = write_plan(dataset, stage)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    peak = peak_megabytes()
    started = time.monotonic()
    [stage] = crawl_runs(dataset, CrawlStage(sources=(str(table),)))
    again = recorded_plan(dataset, stage)
    assert again is not None
    assert is_plan_whole(root, again, plan_status(dataset, again).todo)
    compared = time.monotonic() - started
    first = written.entries[0]  # a crawl that stored nothing would be replaced by the next
    commit = Commit(
        stage.name, first.id, stage.format_version, first.config, first.inputs, first.plan, {}, Counts(first.rows)
    )
    write_commit(root, commit)
    rows = pq.read_metadata(table).num_rows if table.suffix == ".parquet" else sum(written.counts.values())
    rows = rows or sum(entry.rows for entry in written.entries)
    return {
        "planned_rows": sum(entry.rows for entry in written.entries),
        "partitions": len(written.entries),
        "counts": dict(written.counts),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "rows_per_second": round(rows / seconds),
        "peak_megabytes": round(peak),
        "megabytes_before": round(before),
        "compare_seconds": round(compared, 2),
        "record_megabytes": round(os.path.getsize(paths.plan_record(root, stage.name)) / 1e6, 1),
    }


def peak_megabytes() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

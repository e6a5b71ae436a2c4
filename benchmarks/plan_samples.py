"""Planning training shards: CPU seconds and peak memory of a recipe's plan over many images.

    python benchmarks/plan_samples.py [--images 1000000] [--recipe text_to_image] [--folder FOLDER]

Makes a dataset whose image index and captions are synthetic (URLs of about 100 bytes, captions of about 60, partitions
of 10,000) and which has no pixels, plans it in a process of its own as `x2i materialize` does, and prints a line of
JSON. Nothing is rendered.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from plan import peak_megabytes, url_rows

PARTITION = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--recipe", default="text_to_image")
    parser.add_argument("--folder", type=Path, help="Where to work; by default a temporary folder.")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        print(json.dumps(plan(arguments.plan, arguments.recipe)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        make_dataset(Path(folder) / "data", arguments.images)
        command = [sys.executable, __file__, "--plan", str(Path(folder) / "data")]
        subprocess.run([*command, "--recipe", arguments.recipe], check=True)


def make_dataset(root: Path, count: int) -> None:
    """Writes the index and the captions of `count` images, with their commits."""
    from x2i.annotate.captions import Captions
    from x2i.store import Dataset, paths
    from x2i.store.columns import write_column
    from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
    from x2i.store.files.atomic import write_table

    spec = Captions().spec()
    Dataset.create(root)
    (root / "images").mkdir()
    for number, first in enumerate(range(0, count, PARTITION)):
        partition, rows = paths.partition_name(number), min(PARTITION, count - first)
        index = _index(partition, first, rows)
        write_table(paths.image_index(root, partition), index)
        paths.image_tar(root, partition).write_bytes(b"")
        columns = {"key": index["key"], "caption": index["text"]}
        captions = pa.table({f.name: columns.get(f.name, pa.nulls(rows, f.type)) for f in spec.schema})
        column = write_column(root, "captions", partition, captions, spec)
        for stage, files in (
            ("crawl", (paths.image_tar(root, partition), paths.image_index(root, partition))),
            ("captions", (column,)),
        ):
            outputs = describe_outputs(root, files)
            write_commit(root, Commit(stage, partition, 1, {}, {}, "", outputs, Counts(rows)))


def _index(partition: str, first: int, count: int) -> pa.Table:
    from x2i.store.images import IMAGE_SCHEMA

    piece = url_rows(first, count)
    number = pa.array([f"{row:05d}" for row in range(count)])
    uid = pc.utf8_lpad(pa.array(range(first, first + count)).cast(pa.string()), 24, "0")
    columns: dict[str, Any] = {
        "key": pc.binary_join_element_wise(partition, number, "-"),
        "uid": uid,
        "url": piece["url"],
        "status": pa.repeat("ok", count),
        "text": piece["caption"],
        "text_source": pa.repeat("table", count),
        "width": pa.repeat(pa.scalar(768, pa.int32()), count),
        "height": pa.repeat(pa.scalar(512, pa.int32()), count),
        "data_offset": pa.array([512 + row * 100_000 for row in range(count)], pa.int64()),
        "data_size": pa.repeat(pa.scalar(99_000, pa.int64()), count),
    }
    empty = {field.name: "" if field.type == pa.string() else None for field in IMAGE_SCHEMA} | {"extra": "{}"}
    return pa.table(
        {
            field.name: columns.get(field.name, pa.array([empty[field.name]] * count, field.type))
            for field in IMAGE_SCHEMA
        },
        schema=IMAGE_SCHEMA,
    )


def plan(root: Path, recipe: str) -> dict[str, Any]:
    """Plans `recipe` over the dataset at `root` and writes the plan."""
    from pipelines.engine.planning import write_plan
    from pipelines.stages.materialize import MaterializeStage
    from x2i.store import Dataset

    before = peak_megabytes()
    started, cpu = time.monotonic(), time.process_time()
    written = write_plan(Dataset.open(root), MaterializeStage(recipe=recipe))
    return {
        "recipe": recipe,
        "samples": sum(entry.rows for entry in written.entries),
        "shards": len(written.entries),
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_megabytes": round(peak_megabytes()),
        "megabytes_before": round(before),
    }


if __name__ == "__main__":
    main()

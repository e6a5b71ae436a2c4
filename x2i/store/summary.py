"""What a dataset holds, in a few words: images by status, columns, relations, samples by task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from x2i.store.commits import Counts
from x2i.store.files.cache import local_copy
from x2i.store.stages import committed_stages

if TYPE_CHECKING:
    from x2i.store.dataset import Dataset


def summary(dataset: Dataset) -> dict[str, str]:
    """Returns a text for each of dataset, images, columns, relations and samples; "" where there are none.

    It reads commit records and the footers of the shards' indexes, no rows.
    """
    stages = committed_stages(dataset.root)
    images = sum((stage.counts for stage in stages if stage.kind == "images"), Counts())
    counts = {"ok": images.ok, "filtered": sum(images.filtered.values()), "failed": sum(images.failed.values())}
    samples: Counter[str] = Counter()
    for shard in dataset.shards():
        samples[shard.name.rsplit("-", 2)[0]] += pq.read_metadata(local_copy(shard.index_path)).num_rows
    return {
        "dataset": f"{dataset.name} ({dataset.root})",
        "images": ", ".join(f"{count:,} {status}" for status, count in counts.items() if count),
        "columns": ", ".join(stage.name for stage in stages if stage.kind == "column"),
        "relations": ", ".join(stage.name for stage in stages if stage.kind == "relation"),
        "samples": ", ".join(f"{count:,} {task}" for task, count in sorted(samples.items())),
    }

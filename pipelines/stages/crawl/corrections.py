"""Words that a source has corrected since its images were stored: they replace the old in the image index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from x2i.crawl.sources.row import TEXT_FIELDS
from x2i.reasons import Reason
from x2i.store import Dataset, paths
from x2i.store.commits import describe_outputs, list_commits, write_commit
from x2i.store.files.atomic import read_columns, read_table, write_table
from x2i.store.images import IMAGE_SCHEMA, read_image_index

WORDS = ("text", "text_source", "context", "license", "extra")
Words = Mapping[str, Any]


def apply_corrections(dataset: Dataset, stages: Sequence[str], current: str) -> int:
    """Brings the words in the image index to what the sources have now. Returns how many images that changed.

    stages: of all crawls, in order; current: the one whose sources were just looked at, which has the last word. It can
    be repeated: a crawl that was killed before it does so now. What was made of the old words is stale by its inputs.
    """
    said = {stage: _corrections(dataset, stage) for stage in stages}
    if not any(said.values()):
        return 0
    planned = {
        uid
        for commit in list_commits(dataset.root, current)
        for uid in read_columns(paths.plan_file(dataset.root, current, commit.partition), ("uid",))["uid"].to_pylist()
    }
    corrected = {uid: words for stage in stages if stage != current for uid, words in said[stage].items()}
    corrected = {uid: words for uid, words in corrected.items() if uid not in planned} | said[current]
    return sum(
        _rewrite(dataset, stage, partition, corrected)
        for stage in stages
        for partition in [commit.partition for commit in list_commits(dataset.root, stage)]
    )


def _corrections(dataset: Dataset, stage: str) -> dict[str, Words]:
    """Returns the words that a crawl found changed, by uid."""
    path = paths.sightings_file(dataset.root, stage)
    if not path.exists():
        return {}
    table = read_table(path)
    rows = table.filter(table["corrects"]).select(["uid", *WORDS]).to_pylist()
    return {row["uid"]: {name: row[name] for name in WORDS} for row in rows}


def _rewrite(dataset: Dataset, stage: str, partition: str, corrected: Mapping[str, Words]) -> int:
    """Writes the index of a partition with the words as planned, corrected; returns how many images that changed."""
    root = dataset.root
    plan = read_columns(paths.plan_file(root, stage, partition), ("key", "uid", *TEXT_FIELDS)).to_pylist()
    planned = {row["key"]: row for row in plan}
    index = read_image_index(root, partition)
    rows, changed = index.to_pylist(), 0
    for row in rows:
        words = corrected.get(row["uid"], planned.get(row["key"]))
        if words is None or row["reason"] == str(Reason.TAKEN_DOWN):
            continue
        now = {name: words[name] for name in WORDS}
        changed += now != {name: row[name] for name in WORDS}
        row.update(now)
    if changed:
        write_table(paths.image_index(root, partition), pa.Table.from_pylist(rows, schema=IMAGE_SCHEMA))
        _record(dataset, stage, partition)
    return changed


def _record(dataset: Dataset, stage: str, partition: str) -> None:
    """Writes the commit of a partition with the digests that its files have now."""
    for commit in list_commits(dataset.root, stage):
        if commit.partition == partition:
            outputs = [dataset.root / output for output in commit.outputs]
            write_commit(dataset.root, replace(commit, outputs=describe_outputs(dataset.root, outputs)))

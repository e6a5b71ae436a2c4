"""A folder that Hugging Face `datasets` opens and streams: the shards as they are, a dataset card, Croissant metadata.

WebDataset tars are the only layout of theirs that keeps a sample's several images together, streams, and needs no
second encoding; the card's `configs` say which tars belong to which task.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from x2i.errors import UserError
from x2i.exporters.progress import ExportFolder
from x2i.exporters.selection import Picked
from x2i.sample import Sample
from x2i.store import paths
from x2i.store.files.atomic import atomic_file, write_table
from x2i.store.files.tar import TarShardWriter, read_range
from x2i.store.reshard import add_copy, read_members
from x2i.store.shards import SHARD_SCHEMA

CHUNK = 8 << 20


@dataclass(frozen=True)
class Config:
    """One `config_name` of the card: the shards of one task, one number of inputs and one set of image formats.

    image_names: the members of a sample that are images, such as ("input_1.jpg", "output.jpg").
    shards: name, sha256 and bytes of every tar. pattern: the glob that finds them, "" where none finds them alone.
    """

    name: str
    task: str
    num_inputs: int
    image_names: tuple[str, ...]
    samples: int
    shards: tuple[tuple[str, str, int], ...]
    pattern: str


def export_shard(folder: ExportFolder, picked: Picked) -> None:
    """Copies a shard, or its first samples, with an index beside it; then records what the documents need.

    Raises UserError if its samples differ in their members: `datasets` reads no such tar.
    """
    rows = picked.rows()
    kinds = {tuple(row["image_names"]) for row in rows}
    if len(kinds) > 1:
        raise UserError(
            f"{picked.shard.tar}: its samples differ in their image formats, which Hugging Face datasets cannot read: "
            f"run `x2i reshard` first, which puts them into shards of their own"
        )
    target = paths.shard_tar(folder.root, picked.shard.name)
    with atomic_file(target) as stream:
        if picked.is_whole:
            written = [{name: row[name] for name in SHARD_SCHEMA.names} for row in rows]
            digest, size = _copy(picked, stream)
        else:
            written, digest, size = _rewrite(picked, rows, stream)
    write_table(paths.shard_index(folder.root, picked.shard.name), pa.Table.from_pylist(written, schema=SHARD_SCHEMA))
    licenses: Counter[str] = Counter()
    recipes: Counter[str] = Counter()
    for row in written:
        sample = Sample.from_json(read_range(target, row["json_offset"], row["json_size"]))
        licenses.update(set(sample.source.licenses))
        recipes[f"{sample.recipe.name} {sample.recipe.version}"] += 1
    facts = {
        "task": picked.task,
        "num_inputs": rows[0]["num_inputs"],
        "image_names": rows[0]["image_names"],
        "samples": len(rows),
        "sha256": digest,
        "bytes": size,
        "licenses": dict(sorted(licenses.items())),
        "recipes": dict(sorted(recipes.items())),
    }
    folder.finish(picked, facts)


def configs(records: Sequence[tuple[str, dict[str, Any]]]) -> list[Config]:
    """Groups shards (name, what was recorded) into configs, by name."""
    groups: dict[tuple[str, int, tuple[str, ...]], list[tuple[str, dict[str, Any]]]] = {}
    for name, facts in records:
        groups.setdefault((facts["task"], facts["num_inputs"], tuple(facts["image_names"])), []).append((name, facts))
    tasks = Counter(task for task, _, _ in groups)
    inputs = Counter((task, count) for task, count, _ in groups)
    found = []
    for (task, count, names), shards in groups.items():
        alone = inputs[(task, count)] == 1
        several = f"-{count}in" if tasks[task] > 1 else ""
        formats = "" if alone else "-" + "-".join(name.rsplit(".", 1)[-1] for name in names)
        found.append(
            Config(
                name=f"{task}{several}{formats}",
                task=task,
                num_inputs=count,
                image_names=names,
                samples=sum(facts["samples"] for _, facts in shards),
                shards=tuple((name, facts["sha256"], facts["bytes"]) for name, facts in shards),
                pattern=f"shards/{task}-{count}in-*.tar" if alone and _named_alike(shards, task, count) else "",
            )
        )
    return sorted(found, key=lambda config: config.name)


def _named_alike(shards: Sequence[tuple[str, dict[str, Any]]], task: str, count: int) -> bool:
    return all(name.startswith(f"{task}-{count}in-") for name, _ in shards)


def _copy(picked: Picked, stream: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with picked.shard.tar.open("rb") as source:
        while chunk := source.read(CHUNK):
            stream.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _rewrite(picked: Picked, rows: list[dict[str, Any]], stream: IO[bytes]) -> tuple[list[dict[str, Any]], str, int]:
    tar = TarShardWriter(stream)
    tars = {(0, picked.shard.name): picked.shard.tar}
    written = [add_copy(tar, row, members) for row, members in read_members(rows, tars)]
    tar.close()
    return written, tar.sha256, tar.bytes_written

"""OmniGen's own training format: one JSON line per sample, the pictures as files beside it.

A line has the keys task_type, instruction, input_images and output_image, in this order, as in the toy data of the
OmniGen repository; paths are relative to the folder, which its trainer is given as --image_path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.exporters.base import Exporter
from x2i.exporters.folder import ExportFolder
from x2i.exporters.selection import SelectedShard
from x2i.store.files.atomic import atomic_file, write_bytes
from x2i.store.reshard import read_members

LINES = "x2i.jsonl"
IMAGES = "images"


@dataclass(frozen=True)
class OmniGenJsonl(Exporter):
    """x2i.jsonl and the folder images/."""

    title = "x2i.jsonl with one line per sample, as OmniGen's trainer reads it; pictures in images/"

    def write_shard(self, folder: ExportFolder, shard: SelectedShard) -> dict[str, Any]:
        """Writes the pictures of a shard, then its lines. The bytes of the pictures are the shard's."""
        lines = []
        size = 0
        for row, members in read_members(shard.rows(), {(0, shard.shard.name): shard.shard.tar}):
            for name in row["image_names"]:
                write_bytes(folder.root / image_path(row["key"], row["task"], name), members[name])
                size += len(members[name])
            lines.append(line(row) + "\n")
        write_bytes(_lines_file(folder, shard), "".join(lines).encode())
        return {"task": shard.task, "samples": len(lines), "bytes": size}

    def finish(self, folder: ExportFolder, shards: Sequence[SelectedShard], source: Path) -> list[Path]:
        """Writes the lines of all shards, in their order, as one file."""
        path = folder.root / LINES
        with atomic_file(path) as stream:
            for shard in shards:
                stream.write(_lines_file(folder, shard).read_bytes())
        return [path]


def line(row: Mapping[str, Any]) -> str:
    """Returns the JSON line of an index row, without its newline."""
    *inputs, output = (image_path(row["key"], row["task"], name) for name in row["image_names"])
    document = {
        "task_type": row["task"],
        "instruction": row["instruction"],
        "input_images": inputs,
        "output_image": output,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def image_path(key: str, task: str, suffix: str) -> str:
    """Returns where a picture lies in the folder: it depends on the sample alone, not on the shard it was in.

    Keys end in -<row>; what stands before it is the folder, so that none holds more than a partition's pictures.
    """
    return f"{IMAGES}/{key.rpartition('-')[0] or task}/{key}.{suffix}"


def _lines_file(folder: ExportFolder, shard: SelectedShard) -> Path:
    return folder.records / f"{shard.shard.name}.jsonl"

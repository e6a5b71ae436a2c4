"""OmniGen's own training format: one JSON line per sample, the pictures as files beside it.

A line has the keys task_type, instruction, input_images and output_image, in this order, as in the toy data of the
OmniGen repository; paths are relative to the folder, which its trainer is given as --image_path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from x2i.exporters.progress import ExportFolder
from x2i.exporters.selection import Picked
from x2i.store.files.atomic import atomic_file, write_bytes
from x2i.store.reshard import read_members

LINES = "x2i.jsonl"
IMAGES = "images"


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


def export_shard(folder: ExportFolder, picked: Picked) -> None:
    """Writes the pictures of a shard, then its lines, then its record. The bytes of the pictures are the shard's."""
    lines = []
    size = 0
    for row, members in read_members(picked.rows(), {(0, picked.shard.name): picked.shard.tar}):
        for name in row["image_names"]:
            write_bytes(folder.root / image_path(row["key"], row["task"], name), members[name])
            size += len(members[name])
        lines.append(line(row) + "\n")
    write_bytes(folder.lines_file(picked.shard.name), "".join(lines).encode())
    folder.finish(picked, {"task": picked.task, "samples": len(lines), "bytes": size})


def join_lines(folder: ExportFolder, picked: Iterable[Picked]) -> Path:
    """Writes the lines of all shards, in their order, as one file. Returns its path."""
    path = folder.root / LINES
    with atomic_file(path) as stream:
        for entry in picked:
            stream.write(folder.lines_file(entry.shard.name).read_bytes())
    return path

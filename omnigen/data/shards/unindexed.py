"""Shards of other makers, without an index: one pass over headers and JSON makes it, so all promises hold.

Such a shard is a WebDataset tar in our naming: KEY.json with `task` and `instruction`, KEY.input_1.jpg ... and
KEY.output.jpg, endings in any case. `sizes` and `source.uids` in the JSON are used if they are there; otherwise sizes
are read from the images' headers, and each sample counts as a photograph of its own, known by its key, its JSON and the
sizes of its images, wherever the shard lies and however it is called.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnigen.data.shards.find import FoundShard
from omnigen.data.shards.index import KEY_RULE, ShardIndex, read_shard_index
from x2i.errors import UserError
from x2i.image import read_header
from x2i.reasons import DroppedError
from x2i.sample import TASK_PATTERN, wrong_marks
from x2i.store.files.cache import FileCache
from x2i.store.files.ranges import RangeReader
from x2i.store.files.tar import Member, survey_members
from x2i.store.shards import SHARD_SCHEMA, index_row
from x2i.store.verify.scan import MAX_JSON_BYTES, sample_images

log = logging.getLogger(__name__)
INDEX_VERSION = 3
MOST_SHOWN = 5
_OWN = "sample:"
"""Begins the uids of samples that name no photograph."""


def make_index(found: FoundShard, cache: FileCache | None) -> ShardIndex:
    """Returns the index of a shard without one: from the cache, or made now and kept there.

    Raises UserError for a shard on a store without a cache that has room for it, and as `scan_unindexed` does.
    """
    tar = found.tar.path
    if found.is_remote:
        copy = cache.fetch(found.tar) if cache is not None else None
        if copy is None:
            raise UserError(
                f"{tar}: has no index, and no room in the cache to make one: give data.cache_bytes of at least "
                f"{found.tar.size}, or copy the shard here and give the folder"
            )
        tar = copy
    if cache is None:
        return read_shard_index(scan_unindexed(tar, str(found.tar.path)), str(found.tar.path))
    name = cache.path_of(found.tar).with_suffix(f".index-{INDEX_VERSION}.parquet").name
    made = cache.make_once(name, lambda: scan_unindexed(tar, str(found.tar.path)))
    return read_shard_index(made, str(found.tar.path))


CAPTIONED = (
    "These are images with captions, not training samples: make samples of them with `x2i crawl {} --out DATASET`, "
    "`x2i caption DATASET` and `x2i materialize DATASET --recipe text_to_image`"
)


def scan_unindexed(tar: Path, name: str) -> bytes:
    """Returns the index of the tar as Parquet (SHARD_SCHEMA); samples with something amiss are left out, and logged.

    name: what the shard is called in errors. Raises UserError for a tar that is damaged or holds members that are
    refused, a duplicate key, or if no sample of it can be used.
    """
    members, problems = survey_members(tar)
    if problems:
        raise UserError(f"{name}: {'; '.join(problems[:MOST_SHOWN])}. Get the shard again, or move it away")
    rows: list[dict[str, Any]] = []
    complaints: list[str] = []
    seen: set[str] = set()
    with RangeReader() as reader:
        for key, group in groupby(members, key=lambda member: member.key):
            if key in seen:
                raise UserError(f"{name}: duplicate key {key!r}, or its members are not together")
            seen.add(key)
            try:
                rows.append(_row(reader, tar, key, _by_suffix(list(group))))
            except (ValueError, DroppedError) as error:
                complaints.append(f"sample {key!r}: {error}")
    if not rows:
        hint = "" if any(_is_sample(member) for member in members) else f". {CAPTIONED.format(name)}"
        what = "; ".join(complaints[:MOST_SHOWN]) or "it is empty"
        raise UserError(f"{name}: no sample that can be trained on: {what}{hint if complaints else ''}")
    own = sum(row["uids"][0].startswith(_OWN) for row in rows)
    if own:
        log.warning("%s: %d samples name no source.uids: each counts as a photograph of its own", name, own)
    if complaints:
        log.warning(
            "%s: %d of %d samples left out: %s", name, len(complaints), len(seen), "; ".join(complaints[:MOST_SHOWN])
        )
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_SCHEMA), stream, compression="zstd")
    return stream.getvalue()


def _row(reader: RangeReader, tar: Path, key: str, files: dict[str, Member]) -> dict[str, Any]:
    if not re.match(KEY_RULE, key.replace("/", "-")):
        raise ValueError("a name of 1 to 250 characters, without control characters and backslashes, was expected")
    names, complaints = sample_images({suffix: member for suffix, member in files.items() if _is_known(suffix)})
    if complaints:
        raise ValueError("; ".join(complaints))
    document, digest = _document(reader, tar, files.get("json"))
    task, instruction = document.get("task"), document.get("instruction")
    if not isinstance(task, str) or not TASK_PATTERN.fullmatch(task):
        raise ValueError(f"task: found {task!r}, expected 1 to 40 of the characters a-z 0-9 _")
    if not isinstance(instruction, str) or not instruction.strip():
        raise ValueError(f"instruction: found {instruction!r}, expected some text")
    if problem := wrong_marks(instruction, len(names) - 1):
        raise ValueError(problem)
    key = key.replace("/", "-")
    uids = _uids(document) or [_own_uid(key, digest, [files[n].size for n in names])]
    sizes = _sizes(document.get("sizes"), len(names)) or [_size(reader, tar, files[n]) for n in names]
    is_mirrorable = document.get("mirrorable") is True
    return index_row(key, task, instruction, sizes, names, files, uids, mirrorable=is_mirrorable)


def _is_sample(member: Member) -> bool:
    """Whether a member is called as an image of a training sample."""
    return member.suffix.lower().startswith(("input_", "output."))


def _uids(document: dict[str, Any]) -> list[str]:
    """Returns the uids that the JSON gives; [] if it gives none, or something else."""
    source = document.get("source")
    uids = source.get("uids") if isinstance(source, dict) else None
    return uids if isinstance(uids, list) and all(isinstance(uid, str) and uid for uid in uids) else []


def _by_suffix(members: list[Member]) -> dict[str, Member]:
    """Returns the members of a sample by suffix in lower case, as webdataset reads them."""
    files = {member.suffix.lower(): member for member in members}
    if len(files) < len(members):
        raise ValueError("two members whose names differ in upper and lower case alone")
    return files


def _is_known(suffix: str) -> bool:
    return suffix == "json" or suffix.startswith(("input_", "output."))


def _own_uid(key: str, json_digest: str, sizes: list[int]) -> str:
    """Returns the uid of a sample that names no photograph: of what it holds, never of where its shard lies."""
    return _OWN + hashlib.sha256(json.dumps([key, json_digest, sizes]).encode()).hexdigest()[:24]


def _document(reader: RangeReader, tar: Path, member: Member | None) -> tuple[dict[str, Any], str]:
    """Returns the JSON of a sample, and the digest of its text."""
    if member is None or member.size > MAX_JSON_BYTES:
        raise ValueError("the JSON member is missing" if member is None else f"a JSON member of {member.size} bytes")
    text = reader.read(tar, member.offset, member.size)
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("the JSON member: expected an object with task and instruction")
    return document, hashlib.sha256(text).hexdigest()


def _sizes(given: Any, count: int) -> list[list[int]] | None:
    """Returns the sizes that the JSON gives, if it gives one of every image."""
    if not isinstance(given, list) or len(given) != count:
        return None
    pairs = [pair for pair in given if isinstance(pair, list) and len(pair) == 2]
    whole = all(isinstance(side, int) and 0 < side < 2**31 for pair in pairs for side in pair)
    return pairs if whole and len(pairs) == count else None


def _size(reader: RangeReader, tar: Path, member: Member) -> list[int]:
    header = read_header(reader.read(tar, member.offset, member.size))
    turned = header.jpeg is not None and header.jpeg.orientation >= 5
    return [header.height, header.width] if turned else [header.width, header.height]

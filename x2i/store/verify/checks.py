"""Checks of one file of a dataset: each returns what it found wrong, and what it counted, without stopping early."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.image_record import ImageRecord
from x2i.reasons import DroppedError, Status
from x2i.store import paths
from x2i.store.commits import Counts, file_digest
from x2i.store.files.atomic import read_table
from x2i.store.files.tar import Member, read_range, survey_members
from x2i.store.images import IMAGE_SCHEMA, MAX_PIXELS, extension, record_from_row
from x2i.store.shards import SHARD_SCHEMA
from x2i.store.tombstones import Tombstones
from x2i.store.verify.scan import ShardScan, scan_shard

REMAKE = "fetch or make the file again: it has no commit record that says how"
TAKE_DOWN_AGAIN = "take it down again: `x2i takedown DATASET --uid` or --key names it"
MOST_PER_FILE = 20
MOST_PHASH_BITS = 16
"""A stored image's own hash differs from that of the pixels it was encoded from by a few bits, not by so many."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: which file (relative to what was verified), what, and what to do about it."""

    file: str
    problem: str
    fix: str = REMAKE


@dataclass
class FileCheck:
    """What checking one file gave. `counts`: what became of its rows.

    key_hashes: of the keys that other files might hold too, so that a whole dataset's fit into memory.
    """

    file: str
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    key_hashes: NDArray[np.uint64] = field(default_factory=lambda: hash_keys(()))
    counts: Counts = field(default_factory=Counts)
    images: int = 0
    bytes: int = 0
    more: int = 0

    def add(self, problem: str, file: str | None = None, fix: str = REMAKE) -> None:
        """Records a problem; past MOST_PER_FILE they are only counted, so that one rotten file cannot bury others."""
        if len(self.findings) < MOST_PER_FILE:
            self.findings.append(Finding(file or self.file, problem, fix))
        else:
            self.more += 1

    @property
    def index_file(self) -> str:
        return self.file.removesuffix(paths.SHARD_SUFFIX) + paths.INDEX_SUFFIX


def hash_keys(keys: Iterable[str]) -> NDArray[np.uint64]:
    """Returns a 64-bit hash of each key."""
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, np.uint64)


def check_shard(tar: Path, file: str, deep: bool, tombstones: Tombstones) -> FileCheck:
    """Checks a training shard: members, JSON, index (if there is one), name, and with `deep` every image."""
    check = FileCheck(file)
    try:
        check.bytes = tar.stat().st_size
        scan = scan_shard(tar)
    except OSError as error:
        check.add(f"cannot be read: {error}")
        return check
    for problem in scan.problems:
        check.add(problem)
    check.key_hashes = hash_keys(row["key"] for row in scan.rows)
    check.counts = Counts(ok=len(scan.rows))
    for row in scan.rows if tombstones else ():
        if not tombstones.uids.isdisjoint(row["uids"]):
            check.add(f"sample {row['key']!r} is made from an image that was taken down", fix=TAKE_DOWN_AGAIN)
    _check_shard_name(check, tar, scan)
    _check_shard_index(check, tar, scan)
    if deep:
        for row in scan.rows:
            for name, offset, size, expected in zip(
                row["image_names"], row["image_offsets"], row["image_bytes"], row["image_sizes"]
            ):
                member = Member(f"{row['key']}.{name}", offset, size)
                _check_image(check, tar, member, (expected[0], expected[1]))
    return check


def check_image_partition(tar: Path, file: str, deep: bool, tombstones: Tombstones) -> FileCheck:
    """Checks one partition of an image store: its index against its tar, and with `deep` every image's pixels."""
    check = FileCheck(file)
    try:
        check.bytes = tar.stat().st_size
        members, problems = survey_members(tar)
    except OSError as error:
        check.add(f"cannot be read: {error}")
        return check
    for problem in problems:
        check.add(problem)
    named = {member.name: member for member in members}
    if len(named) != len(members):
        check.add("duplicate member name in the tar")
    rows = _read_rows(check, tar.with_suffix(paths.INDEX_SUFFIX), IMAGE_SCHEMA)
    if rows is None:
        return check
    records = list(_records(check, rows))
    check.counts = count_records(records)
    check.key_hashes = hash_keys(r.key for r in records if not r.key.startswith(f"{tar.stem}-"))
    for record in records:
        _check_record(check, tar, record, named, deep)
        if record.status is Status.OK and is_taken_down(record, tombstones):
            check.add(f"image {record.key!r} was taken down, yet it is stored", check.index_file, TAKE_DOWN_AGAIN)
    for name in named:
        check.add(f"member {name!r} has no row in the index")
    return check


def is_taken_down(record: ImageRecord, tombstones: Tombstones) -> bool:
    """Whether the tombstone list covers a stored image."""
    if not tombstones:
        return False
    covered = tombstones.covers_source(record.uid, record.host)
    return covered or tombstones.covers_picture(record.sha256, record.phash or 0)


def count_records(records: list[ImageRecord]) -> Counts:
    """Returns how many of `records` were kept, filtered and failed, by reason."""
    dropped = {
        status: dict(Counter(str(r.reason) for r in records if r.status is status))
        for status in (Status.FILTERED, Status.FAILED)
    }
    kept = sum(record.status is Status.OK for record in records)
    return Counts(kept, dropped[Status.FILTERED], dropped[Status.FAILED])


def _records(check: FileCheck, rows: list[dict[str, Any]]) -> Iterator[ImageRecord]:
    seen: set[str] = set()
    for number, row in enumerate(rows):
        try:
            record = record_from_row(row)
        except (UserError, ValueError, TypeError) as error:
            check.add(f"row {number} is no valid image record: {error}", check.index_file)
            continue
        if record.key in seen:
            check.add(f"image {record.key!r}: duplicate key", check.index_file)
        seen.add(record.key)
        yield record


def _check_record(check: FileCheck, tar: Path, record: ImageRecord, named: dict[str, Member], deep: bool) -> None:
    """Compares one index row with its member, which it takes out of `named`."""
    name = f"{record.key}.{extension(record.format)}"
    if record.status is not Status.OK:
        if record.data_size:
            problem = f"image {record.key!r} was dropped ({record.reason}), yet it has {record.data_size} bytes"
            check.add(problem, check.index_file)
        return
    member = named.pop(name, None)
    if member is None:
        check.add(f"image {record.key!r}: the tar has no member {name!r}")
        return
    if (record.data_offset, record.data_size) != (member.offset, member.size):
        check.add(
            f"image {record.key!r}: the index says {record.data_size} bytes at {record.data_offset}, "
            f"the tar holds {member.size} at {member.offset}",
            check.index_file,
        )
    if deep:
        _check_image(check, tar, member, (record.width, record.height), record.phash)


def _check_shard_name(check: FileCheck, tar: Path, scan: ShardScan) -> None:
    parts = tar.name.removesuffix(paths.SHARD_SUFFIX).rsplit("-", 2)
    named = (parts[0], parts[1].removesuffix("in")) if len(parts) == 3 else None
    for row in scan.rows[:1]:
        held = (row["task"], str(row["num_inputs"]))
        if named is None or not named[1].isdigit():
            check.unchecked.append(f"{check.file}: the name does not say task and inputs (<task>-<n>in-<number>.tar)")
        elif named != held:
            check.add(f"the name says {named[0]} with {named[1]} inputs, its samples are {held[0]} with {held[1]}")


def _check_shard_index(check: FileCheck, tar: Path, scan: ShardScan) -> None:
    path = tar.with_suffix(paths.INDEX_SUFFIX)
    if not path.exists():
        check.unchecked.append(f"{check.file}: has no index ({path.name}), so none was compared")
        return
    rows = _read_rows(check, path, SHARD_SCHEMA)
    if rows is None:
        return
    expected = {row["key"]: row for row in scan.rows}
    if [row["key"] for row in rows] != [row["key"] for row in scan.rows]:
        missing, extra = set(expected) - {row["key"] for row in rows}, {row["key"] for row in rows} - set(expected)
        detail = [f"it lacks {sorted(missing)[:5]}"] * bool(missing) + [f"it adds {sorted(extra)[:5]}"] * bool(extra)
        check.add(f"lists other samples: {'; '.join(detail) or 'another order or repetitions'}", check.index_file)
    for row in rows:
        truth = expected.get(row["key"])
        for name in SHARD_SCHEMA.names if truth is not None else ():
            if truth is not None and row[name] != truth[name]:
                problem = f"sample {row['key']!r}: {name} is {row[name]!r}, the tar says {truth[name]!r}"
                check.add(problem, check.index_file)


def _read_rows(check: FileCheck, path: Path, schema: pa.Schema) -> list[dict[str, Any]] | None:
    """Returns the rows of an index, or None after recording why they cannot be had."""
    if not path.exists():
        check.add("the index is missing", check.index_file)
        return None
    try:
        table = read_table(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        check.add(f"not a readable Parquet file: {error}", check.index_file)
        return None
    wrong = [f.name for f in schema if f.name not in table.schema.names or table.schema.field(f.name).type != f.type]
    if wrong:
        check.add(f"lacks the fields {', '.join(wrong)} or has them with another type", check.index_file)
        return None
    return table.select(schema.names).to_pylist()


def _check_image(
    check: FileCheck, tar: Path, member: Member, expected: tuple[int, int], recorded: int | None = None
) -> None:
    """Decodes one image member; `expected` is its recorded (width, height), `recorded` its phash if there is one."""
    from x2i.image import decode, hamming, phash
    from x2i.image.hashes import has_structure

    check.images += 1
    try:
        pixels = decode(read_range(tar, member.offset, member.size), max_pixels=MAX_PIXELS)
    except DroppedError as error:
        check.add(f"member {member.name!r} does not decode: {error}")
        return
    except (UserError, OSError) as error:
        check.add(f"member {member.name!r} cannot be read: {error}")
        return
    height, width = pixels.shape[:2]
    if (width, height) != expected:
        check.add(f"member {member.name!r} is {width}x{height}, recorded as {expected[0]}x{expected[1]}")
    bits = hamming(phash(pixels), recorded) if recorded is not None else 0
    if bits > MOST_PHASH_BITS and has_structure(pixels):
        check.add(f"member {member.name!r} shows another picture than its phash says ({bits} of 64 bits differ)")


def output_problem(root: Path, name: str, entry: Mapping[str, Any]) -> str:
    """Says how a committed output differs from its commit's entry ("sha256", "bytes"), or "" if it does not."""
    path = root / name
    if not path.is_file() or path.is_symlink():
        return "is missing" if not path.exists() else "is not a plain file"
    size = path.stat().st_size
    if size != entry["bytes"]:
        return f"has {size} bytes, its commit says {entry['bytes']}"
    found = file_digest(path)
    if found != entry["sha256"]:
        return f"has sha256 {found[:16]}..., its commit says {entry['sha256'][:16]}...: its bytes were changed"
    return ""

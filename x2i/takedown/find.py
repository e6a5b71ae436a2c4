"""The search for everything that descends from the images of a request, through keys and uids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.identity import url_host
from x2i.reasons import Reason, Status
from x2i.store import paths
from x2i.store.commits import list_commits, list_stages
from x2i.store.files.atomic import read_table
from x2i.store.files.remote import list_files
from x2i.store.images import read_image_index
from x2i.store.shards import Shard, find_shards
from x2i.store.stages import ingest_stages
from x2i.store.tombstones import host_is_among
from x2i.store.verify.scan import scan_shard
from x2i.tables import TableSpec
from x2i.takedown.redact import MARK
from x2i.takedown.request import Request
from x2i.takedown.tables import made_relation

_INDEX_FIELDS = ["key", "uid", "url", "status", "reason", "sha256", "phash", "host"]


@dataclass
class Findings:
    """What a request comes to.

    images: image partition -> keys of its rows, stored, dropped or only planned; stored: how many of them have bytes.
    shards: shard name -> keys of its samples. uids, urls: of all of these images. also: images that stay although they
    have the same bytes or are known as duplicates, as (key, url, sha256, why).
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    shards: dict[str, list[str]] = field(default_factory=dict)
    uids: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)
    stored: int = 0
    also: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for keys in self.images.values() for key in keys)

    @property
    def samples(self) -> int:
        return sum(len(keys) for keys in self.shards.values())

    def __bool__(self) -> bool:
        return bool(self.images or self.shards)

    def summary(self) -> dict[str, Any]:
        """Returns what was found as JSON values."""
        return {
            "found": bool(self),
            "images": sum(map(len, self.images.values())),
            "stored_images": self.stored,
            "samples": self.samples,
            "keys": sorted(self.keys),
            "shards": {name: len(keys) for name, keys in sorted(self.shards.items())},
            "also": [
                {"key": key, "url": url, "sha256": digest, "why": why} for key, url, digest, why in sorted(self.also)
            ],
        }


def find(root: Path, request: Request) -> Findings:
    """Searches image indexes, plans of what is not fetched yet, and shards, file by file."""
    found = Findings()
    digests: set[str] = set()
    for partition, rows in _partitions(root):
        hit = rows.filter(_matches(rows, request))
        if hit.num_rows:
            found.images[partition] = sorted(set(hit["key"].to_pylist()))
            found.uids.update(hit["uid"].to_pylist())
            found.urls.update(url for url in hit["url"].to_pylist() if url)
            stored = hit.filter(pc.equal(hit["status"], str(Status.OK)))
            found.stored += stored.num_rows
            digests.update(stored["sha256"].to_pylist())
    by_json = _foreign_shards(root) if request.urls or request.hosts else set()
    wanted = found.uids | request.source_uids
    for shard in find_shards(root) if (root / "shards").is_dir() else []:
        keys = sorted(_samples(shard, wanted, request, shard.name in by_json, found))
        if keys:
            found.shards[shard.name] = keys
    found.also = list(_left_behind(root, found, digests))
    return found


def _partitions(root: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yields each image partition's index joined by what is planned for it, in the fields of _INDEX_FIELDS."""
    names = {path.stem for path in (root / "images").glob(f"*{paths.INDEX_SUFFIX}")}
    plans = {
        path.stem: path
        for stage in ingest_stages(root)
        for path in (root / "plans" / stage).glob(f"*{paths.INDEX_SUFFIX}")
    }
    for name in sorted(names | set(plans)):
        tables = [read_image_index(root, name, _INDEX_FIELDS)] if name in names else []
        if name in plans:
            tables.append(_as_index(read_table(plans[name])))
        yield name, pa.concat_tables(tables)


def _as_index(plan: pa.Table) -> pa.Table:
    """Returns planned rows as rows of an index that has nothing stored."""
    count = plan.num_rows
    texts = {name: pc.fill_null(plan[name].combine_chunks(), "") for name in ("key", "uid", "url", "extra")}
    hosts = pa.array([url_host(url) for url in texts["url"].to_pylist()], pa.string())
    redacted = pc.equal(texts.pop("extra"), MARK)
    empty, null = pa.array([""] * count, pa.string()), pa.nulls(count, pa.string())
    reasons = pc.if_else(redacted, str(Reason.TAKEN_DOWN), null)
    columns = {**texts, "status": empty, "reason": reasons, "sha256": empty, "phash": pa.nulls(count, pa.uint64())}
    return pa.table({**columns, "host": hosts})


def _matches(rows: pa.Table, request: Request) -> pa.Array:
    """Returns which rows the request means; rows that were taken down before, and hold nothing, are left out."""

    def among(name: str, values: frozenset[str]) -> pa.Array:
        return pc.is_in(rows[name].combine_chunks(), pa.array(sorted(values), pa.string()))

    hit = pc.or_(among("uid", request.source_uids), among("key", request.keys))
    hit = pc.or_(hit, among("url", request.urls))
    hit = pc.or_(hit, pc.and_(among("sha256", request.sha256), pc.not_equal(rows["sha256"].combine_chunks(), "")))
    if request.hosts:
        known = {host: host_is_among(host, request.hosts) for host in pc.unique(rows["host"]).to_pylist()}
        hit = pc.or_(hit, among("host", frozenset(host for host, inside in known.items() if inside and host)))
    if request.phashes:
        column = rows["phash"].combine_chunks()
        hashes = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.uint64)
        near = np.zeros(len(hashes), bool)
        for phash in request.phashes:
            near |= np.bitwise_count(hashes ^ np.uint64(phash)) <= request.distance
        hit = pc.or_(hit, pc.and_(pa.array(near), pc.is_valid(column)))
    gone = pc.fill_null(pc.equal(rows["reason"].combine_chunks(), str(Reason.TAKEN_DOWN)), False)
    return pc.and_not(hit, gone)


def _samples(shard: Shard, uids: set[str], request: Request, by_json: bool, found: Findings) -> Iterator[str]:
    """Yields the keys of the samples that descend from `uids`; `by_json`: also by the URLs their JSON names."""
    if shard.index_path.exists():
        rows = shard.index(["key", "uids", "json_offset", "json_size"]).to_pylist()
    else:
        rows = scan_shard(shard.tar).rows
    for row in rows:
        if not uids.isdisjoint(row["uids"]):
            yield row["key"]
        elif by_json:
            source = shard.sample(row).source
            named = [
                (uid, url)
                for uid, url in zip(source.uids, source.urls)
                if url in request.urls or host_is_among(url_host(url), request.hosts)
            ]
            if named:
                found.uids.update(uid for uid, _ in named)
                found.urls.update(url for _, url in named)
                yield row["key"]


def _foreign_shards(root: Path) -> set[str]:
    """Returns the shards that were not made from this image store: their uids may be of another making."""
    made = {
        Path(output).stem
        for stage in list_stages(root)
        for commit in list_commits(root, stage)
        if any(name.startswith("images/") for name in commit.inputs)
        for output in commit.outputs
    }
    return {shard.name for shard in find_shards(root)} - made if (root / "shards").is_dir() else set()


def _left_behind(root: Path, found: Findings, digests: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yields the images that stay and have the bytes of one that goes, or that a relation knows to look the same."""
    going, alike = found.keys, set[str]()
    for path in list_files(root / "relations", paths.INDEX_SUFFIX) if found.images else ():
        table = read_table(path)
        relation = made_relation(root, path.stem, TableSpec.of(table.schema))
        alike |= relation.alike(table, going) if relation is not None else frozenset()
    if not digests and not alike:
        return
    for path in list_files(root / "images", paths.INDEX_SUFFIX):
        index = read_image_index(root, path.stem, ["key", "url", "sha256"])
        same = pc.is_in(index["sha256"], pa.array(sorted(digests), pa.string()))
        linked = pc.is_in(index["key"], pa.array(sorted(alike), pa.string()))
        for row in index.filter(pc.or_(same, linked)).to_pylist():
            if row["key"] not in going:
                why = "the same bytes" if row["sha256"] in digests else "looks the same"
                yield row["key"], row["url"], row["sha256"], why

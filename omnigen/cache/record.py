"""The commit record of one shard's cache: written last, so that a cache is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omnigen.cache.files import RECORD, CacheKey, cache_file, invalid_reason, read_record, shard_identity
from x2i.store.commits import file_digest
from x2i.store.files.atomic import remove_temporaries, write_json
from x2i.store.shards import Shard


def reason_to_encode(shard: Shard, key: CacheKey, facts: Mapping[str, Any]) -> str:
    """Returns why a shard is to be encoded (again); "" if what is there is valid and was made with the same `facts`."""
    problem = invalid_reason(shard, key)
    if problem:
        return problem
    record = read_record(shard, key) or {}
    unequal = [f"{name} is {record.get(name)}" for name, value in facts.items() if record.get(name) != value]
    return ", ".join(unequal)


def begin(shard: Shard, key: CacheKey) -> dict[str, Any]:
    """Takes back the record of an earlier cache and the remains of a killed writer; returns the shard's identity now.

    The identity is taken before the shard is read: one that changes meanwhile makes a stale cache, never a wrong one.
    """
    path = cache_file(shard, key, RECORD)
    path.unlink(missing_ok=True)
    remove_temporaries(path.parent, f"{shard.name}.*")
    return shard_identity(shard)


def commit(
    shard: Shard,
    key: CacheKey,
    identity: Mapping[str, Any],
    suffixes: Sequence[str],
    facts: Mapping[str, Any],
    counts: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes the record of the outputs `suffixes`, which are on disk; returns it."""
    paths = [cache_file(shard, key, suffix) for suffix in suffixes]
    document = {
        "identity": dict(key.identity),
        "shard": dict(identity),
        "outputs": {path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for path in paths},
        "counts": dict(counts),
        **facts,
    }
    write_json(cache_file(shard, key, RECORD), document)
    return document

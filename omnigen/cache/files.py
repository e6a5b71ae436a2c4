"""What `omnigen encode` keeps beside training shards: where it lies, and when it may be used instead of the shard.

For shard NAME of a dataset (or of a folder of shards, which then holds `encoded/` itself):

    encoded/latents-<codec>-<fingerprint>-<side>/NAME.{safetensors,parquet,json}    see `omnigen.cache.latents`
    encoded/prompts-<tokenizer>-<fingerprint>/NAME.{parquet,json}                   see `omnigen.cache.tokens`

The JSON is the commit record, written last. It names the shard (bytes of its tar, sha256 of its index), the codec or
the tokenizer (fingerprint), the side, the version of the format, and the outputs. What does not agree with the shard
and the run in all of them is not used.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnigen.codecs.base import Codec, codec_family
from omnigen.images import PREPARATION_VERSION
from omnigen.prompt import template_fingerprint
from omnigen.tokenizer import Tokenizer
from x2i.store.commits import file_digest
from x2i.store.shards import Shard

FOLDER = "encoded"
SHARDS_FOLDER = "shards"
FORMAT_VERSION = 1
RECORD = ".json"
NOT_ENCODED = "not encoded"


@dataclass(frozen=True)
class CacheKey:
    """Which cache: folder is its name inside `encoded/`; identity is what its records must say, JSON values."""

    folder: str
    identity: Mapping[str, Any]


def latents_key(codec: Codec, side: int) -> CacheKey:
    """Returns the key of the latents of images prepared to at most `side` pixels a side."""
    family, fingerprint = codec_family(codec.name), codec.fingerprint
    identity = {
        "kind": "latents",
        "format_version": FORMAT_VERSION,
        "preparation_version": PREPARATION_VERSION,
        "codec": fingerprint,
        "side": side,
    }
    return CacheKey(f"latents-{family}-{fingerprint[:16]}-{side}", identity)


def prompts_key(tokenizer: Tokenizer) -> CacheKey:
    """Returns the key of the tokenized prompts."""
    family, fingerprint = tokenizer.name.partition(":")[0], tokenizer.fingerprint
    identity = {
        "kind": "prompts",
        "format_version": FORMAT_VERSION,
        "template": template_fingerprint(),
        "tokenizer": fingerprint,
    }
    return CacheKey(f"prompts-{family}-{fingerprint[:16]}", identity)


def encoded_folder(shard: Shard) -> Path:
    """Returns the folder of all caches of a shard: in its dataset, or beside it where it is in no folder `shards/`.

    Not inside `shards/`: what lies there belongs to commits of the dataset, and `x2i verify` would call this a stray.
    """
    folder = shard.tar.parent
    return (folder.parent if folder.name == SHARDS_FOLDER else folder) / FOLDER


def cache_file(shard: Shard, key: CacheKey, suffix: str) -> Path:
    """Returns the path of one file of a shard's cache."""
    return encoded_folder(shard) / key.folder / f"{shard.name}{suffix}"


def shard_identity(shard: Shard) -> dict[str, Any]:
    """Returns what tells one making of a shard from another: the index has every member's offset, key and words."""
    return {"tar_bytes": shard.tar.stat().st_size, "index_sha256": file_digest(shard.index_path)}


def read_record(shard: Shard, key: CacheKey) -> dict[str, Any] | None:
    """Returns the commit record of a shard's cache, or None if there is none that can be read."""
    try:
        record = json.loads(cache_file(shard, key, RECORD).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def invalid_reason(shard: Shard, key: CacheKey) -> str:
    """Returns why the cache of a shard may not be used; "" if it may."""
    record = read_record(shard, key)
    if record is None:
        return NOT_ENCODED
    if record.get("identity") != dict(key.identity):
        return "of another codec, tokenizer, side or format"
    if record.get("shard") != shard_identity(shard):
        return "the shard has changed since it was encoded"
    outputs = record.get("outputs")
    if not isinstance(outputs, dict) or not outputs:
        return "its record names no files"
    for name, entry in outputs.items():
        path = cache_file(shard, key, "").with_name(name)
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            return f"{name} is missing"
        if found != entry.get("bytes"):
            return f"{name} has {found} bytes, its record says {entry.get('bytes')}"
    return ""


def describe(problems: Mapping[Path, str], shards: Sequence[Shard], key: CacheKey) -> str:
    """Returns one line that says for how many of `shards` the cache may not be used, and why.

    problems: path of the tar -> `invalid_reason`, for those that may not.
    """
    counted = Counter(problems.values())
    listed = ", ".join(f"{reason} ({count})" for reason, count in sorted(counted.items()))
    others = other_caches(shards, key)
    hint = f" (there: {', '.join(others)})" if others and NOT_ENCODED in counted else ""
    return f"{len(problems)} of {len(shards)} shards cannot use {key.folder}: {listed}{hint}"


def has_other_caches(problems: Mapping[Path, str], shards: Sequence[Shard], key: CacheKey) -> bool:
    """Returns whether something was encoded that may not be used: stale, or of another codec, tokenizer or side."""
    return any(reason != NOT_ENCODED for reason in problems.values()) or bool(other_caches(shards, key))


def other_caches(shards: Sequence[Shard], key: CacheKey) -> list[str]:
    """Returns the names of the caches of this kind, beside these shards, that are not `key`'s."""
    names = {
        path.name
        for folder in {encoded_folder(shard) for shard in shards}
        if folder.is_dir()
        for path in folder.iterdir()
        if path.name.startswith(f"{key.identity['kind']}-") and path.name != key.folder
    }
    return sorted(names)

"""Which shards of a run are read from what `omnigen encode` kept, and what there is to say about it at the start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from omnigen.cache.files import describe, has_other_caches, latents_key, prompts_key
from omnigen.cache.latents import DTYPES, LatentShard, find_latents
from omnigen.cache.tokens import TokenCache, find_prompts
from omnigen.codecs.base import Codec
from omnigen.tokenizer import Tokenizer
from omnigen.train.config import DataConfig
from x2i.errors import UserError
from x2i.store.shards import Shard


@dataclass(frozen=True)
class Caches:
    """latents: by the path of the tar, those to read instead of pixels. lines: for people."""

    latents: Mapping[Path, LatentShard]
    prompts: TokenCache | None
    lines: tuple[str, ...]


def find_caches(shards: Sequence[Shard], data: DataConfig, codec: Codec, tokenizer: Tokenizer) -> Caches:
    """Finds the valid caches that `data` lets a run use.

    A shard whose cache is missing or stale is read from its tar, which the lines say. Raises UserError where a cache is
    required and some shard has no valid one.
    """
    latents, about_latents = _latents(shards, data, codec)
    prompts, about_prompts = _prompts(shards, data, tokenizer)
    return Caches(latents, prompts, (*about_latents, *about_prompts))


def _latents(
    shards: Sequence[Shard], data: DataConfig, codec: Codec
) -> tuple[dict[Path, LatentShard], list[str]]:  # fmt: skip
    if data.latents == "never":
        return {}, []
    key = latents_key(codec, data.max_side)
    found, problems = find_latents(shards, key, codec.posterior_channels)
    if data.flip > 0:
        unused = f"; the kept latents of {len(found)} shards are not used, as they cannot be mirrored" if found else ""
        return {}, [f"images are mirrored with probability {data.flip:g} where task and words allow it{unused}"]
    if problems and data.latents == "require":
        side = f"--side {data.max_side}"
        raise UserError(
            f"data.latents: require: {describe(problems, shards, key)}, the first {next(iter(problems))}. Run: "
            f"omnigen encode {_folders(shards)} --codec {codec.name} {side}"
        )
    lines = []
    if found:
        kinds = Counter(_dtype_name(shard.dtype) for shard in found.values())
        dtypes = ", ".join(f"{kind} ({count})" if len(kinds) > 1 else kind for kind, count in sorted(kinds.items()))
        lines.append(f"latents of {len(found)} of {len(shards)} shards are read from {key.folder}, {dtypes}")
    if problems and (found or has_other_caches(problems, shards, key)):
        lines.append(f"{describe(problems, shards, key)}; these are decoded and encoded as training goes")
    return found, lines


def _prompts(shards: Sequence[Shard], data: DataConfig, tokenizer: Tokenizer) -> tuple[TokenCache | None, list[str]]:
    if data.text == "never":
        return None, []
    key = prompts_key(tokenizer)
    files, problems = find_prompts(shards, key)
    if problems and data.text == "require":
        raise UserError(
            f"data.text: require: {describe(problems, shards, key)}, the first {next(iter(problems))}. Run: "
            f"omnigen encode {_folders(shards)} --tokenizer {tokenizer.name}"
        )
    lines = []
    if files:
        lines.append(f"prompts of {len(files)} of {len(shards)} shards are read from {key.folder}")
    if problems and (files or has_other_caches(problems, shards, key)):
        lines.append(f"{describe(problems, shards, key)}; these are tokenized as training goes")
    return TokenCache(files, tokenizer) if files else None, lines


def _folders(shards: Sequence[Shard]) -> str:
    return " ".join(sorted({str(shard.tar.parent) for shard in shards}))


def _dtype_name(dtype: torch.dtype) -> str:
    return next(name for name, value in DTYPES.items() if value == dtype)

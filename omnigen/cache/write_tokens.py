"""Tokenizes the prompts of one shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from omnigen.cache.files import CacheKey, cache_file
from omnigen.cache.record import begin, commit
from omnigen.cache.tokens import INDEX, PROMPTS_SCHEMA, prompt_row
from omnigen.tokenizer import Tokenizer
from x2i.store.files.atomic import write_table
from x2i.store.shards import Shard


@dataclass(frozen=True)
class PromptsJob:
    """What is done to every shard."""

    tokenizer: Tokenizer
    key: CacheKey

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing beside the key decides what is written."""
        return {}

    def run(self, shard: Shard, on_images: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
        """Tokenizes `shard` and returns its record. It has no images to tell of."""
        identity = begin(shard, self.key)
        entries = shard.index(["key", "instruction", "num_inputs"]).to_pylist()
        rows = [prompt_row(**entry, tokenizer=self.tokenizer) for entry in entries]
        write_table(cache_file(shard, self.key, INDEX), pa.Table.from_pylist(rows, schema=PROMPTS_SCHEMA))
        tokens = sum(len(piece) for row in rows for piece in row["pieces"])
        return commit(shard, self.key, identity, [INDEX], self.facts, {"prompts": len(rows), "tokens": tokens})

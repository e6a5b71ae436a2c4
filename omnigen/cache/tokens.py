"""Tokenized prompts of a shard on disk, and their reader: scheduling a run then needs no tokenizer.

NAME.parquet has a row for every sample (PROMPTS_SCHEMA): the pieces of its whole prompt, the image that stands in each
gap, and the prompt without images where that is another. The two other kinds of dropout depend on the number of images
alone and are made from the tokenizer when asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnigen.cache.files import CacheKey, cache_file, invalid_reason
from omnigen.data.loading.sample import Dropout, condition
from omnigen.data.shards.sample_ref import SampleRef
from omnigen.prompt import Prompt
from omnigen.tokenizer import Tokenizer
from x2i.store.files.atomic import read_table
from x2i.store.shards import Shard

INDEX = ".parquet"
OPEN_SHARDS = 1024  # held at a time; some hundred kB each
PROMPTS_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("pieces", pa.list_(pa.list_(pa.int32()))),
        ("image_numbers", pa.list_(pa.int16())),
        ("words_only", pa.list_(pa.list_(pa.int32()))),  # null: the same as `pieces`
    ]
)


class TokenCache:
    """Finds the prompts of samples. files: path of a shard's tar -> the Parquet file of its prompts."""

    def __init__(self, files: Mapping[Path, Path], tokenizer: Tokenizer) -> None:
        self._files = dict(files)
        self._open: OrderedDict[Path, tuple[dict[str, int], pa.Table]] = OrderedDict()
        self._without_words = lru_cache(maxsize=64)(lambda images, kind: condition("", images, kind, tokenizer))

    def find(self, ref: SampleRef, dropout: Dropout) -> Prompt | None:
        """Returns what `condition` would give for a sample, or None if its shard has no prompts here."""
        if ref.tar not in self._files:
            return None
        if dropout not in (Dropout.NONE, Dropout.IMAGES):
            return self._without_words(ref.num_inputs, dropout)
        rows, table = self._table(ref.tar)
        row = rows.get(ref.key)
        if row is None:
            return None
        if dropout is Dropout.IMAGES:
            words = table.column("words_only")[row].as_py()
            if words is not None:
                return Prompt(tuple(map(tuple, words)), ())
        pieces, numbers = (table.column(name)[row].as_py() for name in ("pieces", "image_numbers"))
        return Prompt(tuple(map(tuple, pieces)), tuple(numbers))

    def _table(self, tar: Path) -> tuple[dict[str, int], pa.Table]:
        if tar in self._open:
            self._open.move_to_end(tar)
            return self._open[tar]
        table = read_table(self._files[tar])
        entry = self._open[tar] = {key: n for n, key in enumerate(table.column("key").to_pylist())}, table
        while len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return entry


def prompt_row(key: str, instruction: str, num_inputs: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns a row of PROMPTS_SCHEMA."""
    whole = condition(instruction, num_inputs, Dropout.NONE, tokenizer)
    words = condition(instruction, num_inputs, Dropout.IMAGES, tokenizer)
    return {
        "key": key,
        "pieces": whole.pieces,
        "image_numbers": whole.image_numbers,
        "words_only": None if words == whole else words.pieces,
    }


def find_prompts(shards: Sequence[Shard], key: CacheKey) -> tuple[dict[Path, Path], dict[Path, str]]:
    """Returns the files that may be used, and why the others may not, both by the path of the shard's tar."""
    reasons = {shard.tar: invalid_reason(shard, key) for shard in shards}
    files = {shard.tar: cache_file(shard, key, INDEX) for shard in shards if not reasons[shard.tar]}
    return files, {tar: reason for tar, reason in reasons.items() if reason}

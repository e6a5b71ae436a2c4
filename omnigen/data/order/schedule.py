"""The order of a whole run, computed: which samples make up which pack of which step, on any number of machines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnigen.data.loading.augment import Mirroring
from omnigen.data.loading.sample import (
    Dropout,
    DropoutRates,
    PlannedSample,
    TokenizedPrompts,
    image_grid,
    make_planned_sample,
)
from omnigen.data.order.packing import Packing, PackingState
from omnigen.data.order.sample_sequence import SampleSequence
from omnigen.data.shards.catalog import Catalog
from omnigen.prompt import unconditional_prompt
from omnigen.tokenizer import Tokenizer

REMEMBERED_SAMPLES = 4096
WITHOUT_DROPOUT, UNMIRRORED = DropoutRates(), Mirroring()


@dataclass(frozen=True)
class ScheduleOptions:
    """What decides the packs of a sequence of samples.

    seed: of dropout and mirroring. max_side: of images, in pixels. pack_tokens: token budget of a pack. packs_per_step:
    over all ranks.
    """

    seed: int
    max_side: int
    pack_tokens: int
    packs_per_step: int = 1
    dropout: DropoutRates = WITHOUT_DROPOUT
    mirroring: Mirroring = UNMIRRORED


@dataclass(frozen=True)
class StepPacks:
    """The packs of one optimizer step, over all ranks, and the state of the data after it."""

    step: int
    packs: tuple[tuple[PlannedSample, ...], ...]
    state: PackingState

    @property
    def samples(self) -> tuple[PlannedSample, ...]:
        """The samples of all packs, in order."""
        return tuple(planned for pack in self.packs for planned in pack)

    @property
    def num_tokens(self) -> int:
        return sum(planned.layout.length for planned in self.samples)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its samples, in sorted order."""
        return tuple(sorted({planned.ref.task for planned in self.samples}))


class PackSchedule:
    """Computes the packs of any step from a sequence of samples and a state; what it remembers it could compute again.

    prompts: those that were tokenized before.
    """

    def __init__(
        self,
        sequence: SampleSequence,
        tokenizer: Tokenizer,
        options: ScheduleOptions,
        prompts: TokenizedPrompts | None = None,
    ) -> None:
        self.sequence, self.options = sequence, options
        self._tokenizer, self._prompts = tokenizer, prompts
        self._packing = Packing(self._length, options.pack_tokens, next_index=sequence.next_index)
        self.sample = lru_cache(maxsize=REMEMBERED_SAMPLES)(self._sample)

    def step(self, number: int, state: PackingState) -> StepPacks:
        """Returns step `number`, which begins at `state`."""
        packs = []
        for _ in range(self.options.packs_per_step):
            indices, state = self._packing.next_pack(state)
            packs.append(tuple(planned for index in indices if (planned := self.sample(index)) is not None))
        return StepPacks(number, tuple(packs), state)

    def _length(self, index: int) -> int:
        planned = self.sample(index)
        return planned.layout.length if planned is not None else 0

    def _sample(self, index: int) -> PlannedSample | None:
        """Returns the sample at `index` of the sequence, laid out; None for one to pass over."""
        ref = self.sequence.sample_ref(index)
        if ref is None:
            return None
        options = self.options
        dropout = options.dropout.decide(options.seed, index, ref.key)
        mirrored = options.mirroring.decide(options.seed, index, ref.key, ref.mirrorable, ref.instruction)
        return make_planned_sample(index, ref, dropout, options.max_side, self._tokenizer, self._prompts, mirrored)


def rows_that_fit(
    catalog: Catalog,
    rows: npt.NDArray[np.int64],
    *,
    tokenizer: Tokenizer,
    max_side: int,
    budget: int,
    prompts: TokenizedPrompts | None = None,
) -> npt.NDArray[np.int64]:
    """Returns those of `rows` that take at most `budget` tokens, whatever dropout does to them.

    Only samples near the budget are tokenized: a token is at least a byte of text, so sizes settle most of them.
    """
    images_per_row = catalog.first_image[rows + 1] - catalog.first_image[rows]
    marks = pc.count_substring(catalog.instructions.take(pa.array(rows)), "<|image_").to_numpy()
    most = most_tokens(catalog, rows, tokenizer=tokenizer, max_side=max_side)
    doubtful = (most > budget) | (marks >= images_per_row)
    fits = ~doubtful
    for position in np.flatnonzero(doubtful):
        ref = catalog.sample_ref(int(rows[position]))
        kinds = [
            make_planned_sample(0, ref, dropout, max_side, tokenizer, prompts).layout.length for dropout in Dropout
        ]
        fits[position] = max(kinds) <= budget
    return rows[fits]


def most_tokens(
    catalog: Catalog, rows: npt.NDArray[np.int64], *, tokenizer: Tokenizer, max_side: int
) -> npt.NDArray[np.int64]:
    """Returns a bound of the tokens that each of `rows` takes, if it marks every image at most once.

    Nothing is tokenized: a token is at least a byte of text.
    """
    firsts, ends = catalog.first_image[rows], catalog.first_image[rows + 1]
    totals = np.concatenate([[0], _image_tokens(catalog.images, max_side).cumsum()])
    text_bytes = pc.binary_length(catalog.instructions.take(pa.array(rows))).to_numpy()
    template = 2 * unconditional_prompt(tokenizer).num_tokens + 2 * (ends - firsts)
    most: npt.NDArray[np.int64] = totals[ends] - totals[firsts] + text_bytes + template + 1
    return most


def _image_tokens(images: npt.NDArray[np.void], max_side: int) -> npt.NDArray[np.int64]:
    """Returns how many tokens each image takes; every different size is worked out once."""
    sizes = images["width"].astype(np.int64) << 32 | images["height"]
    unique, inverse = np.unique(sizes, return_inverse=True)
    grids = [image_grid(int(size) >> 32, int(size) & 0xFFFFFFFF, max_side).num_tokens for size in unique]
    return np.array(grids, dtype=np.int64)[inverse]

"""The whole order of a run, computed: which samples make up which pack of which step, on any number of machines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnigen.data.loading.augment import Mirroring
from omnigen.data.loading.sample import Dropout, DropoutRates, PromptSource, Slot, image_grid, make_slot
from omnigen.data.order.packing import Packing, PackingState
from omnigen.data.order.sample_sequence import Draws
from omnigen.data.shards.catalog import Catalog
from omnigen.prompt import unconditional_prompt
from omnigen.tokenizer import Tokenizer

REMEMBERED_SLOTS = 4096


@dataclass(frozen=True)
class StepPlan:
    """The packs of one optimizer step, over all ranks, and the state of the data after it."""

    step: int
    packs: tuple[tuple[Slot, ...], ...]
    state: PackingState

    @property
    def num_tokens(self) -> int:
        return sum(slot.layout.length for pack in self.packs for slot in pack)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its samples, in sorted order."""
        return tuple(sorted({slot.row.task for pack in self.packs for slot in pack}))


class Planner:
    """Plans steps from numbered draws and a seed; remembers nothing but what it can compute again.

    budget: tokens a pack may hold. prompts: those that were tokenized before. mirroring: of whole samples; without it
    none is.
    """

    def __init__(
        self,
        draws: Draws,
        *,
        tokenizer: Tokenizer,
        seed: int,
        max_side: int,
        budget: int,
        packs_per_step: int,
        dropout: DropoutRates,
        mirroring: Mirroring | None = None,
        prompts: PromptSource | None = None,
    ) -> None:
        self.draws = draws
        self.budget = budget
        self.packs_per_step = packs_per_step
        self._tokenizer, self._dropout = tokenizer, dropout
        self._mirroring, self._prompts = mirroring or Mirroring(0.0), prompts
        self._seed, self._max_side = seed, max_side
        self._packing = Packing(self._length, budget, following=draws.following)
        self.slot = lru_cache(maxsize=REMEMBERED_SLOTS)(self._slot)

    def step(self, number: int, state: PackingState) -> StepPlan:
        """Returns step `number`, which begins at `state`."""
        packs = []
        for _ in range(self.packs_per_step):
            counters, state = self._packing.next_pack(state)
            packs.append(tuple(slot for counter in counters if (slot := self.slot(counter)) is not None))
        return StepPlan(number, tuple(packs), state)

    def _length(self, counter: int) -> int:
        slot = self.slot(counter)
        return slot.layout.length if slot is not None else 0

    def _slot(self, counter: int) -> Slot | None:
        row = self.draws.row(counter)
        if row is None:
            return None
        dropout = self._dropout.decide(self._seed, counter, row.key)
        mirrored = self._mirroring.decide(self._seed, counter, row.key, row.task, row.instruction)
        return make_slot(counter, row, dropout, self._max_side, self._tokenizer, self._prompts, mirrored)


def rows_that_fit(
    catalog: Catalog,
    rows: npt.NDArray[np.int64],
    *,
    tokenizer: Tokenizer,
    max_side: int,
    budget: int,
    prompts: PromptSource | None = None,
) -> npt.NDArray[np.int64]:
    """Returns those of `rows` that take at most `budget` tokens, whatever dropout does to them.

    Only samples near the budget are tokenized: a token is at least a byte of text, so sizes settle most of them.
    """
    instructions = catalog.instructions.take(pa.array(rows))
    firsts, ends = catalog.first_image[rows], catalog.first_image[rows + 1]
    images_per_row = ends - firsts
    tokens = _image_tokens(catalog.images, max_side)
    totals = np.concatenate([[0], tokens.cumsum()])
    image_tokens = totals[ends] - totals[firsts]
    text_bytes = pc.binary_length(instructions).to_numpy()
    marks = pc.count_substring(instructions, "<|image_").to_numpy()
    template = 2 * unconditional_prompt(tokenizer).num_tokens + 2 * images_per_row
    doubtful = (image_tokens + text_bytes + template + 1 > budget) | (marks >= images_per_row)
    fits = ~doubtful
    for place in np.flatnonzero(doubtful):
        row = catalog.row(int(rows[place]))
        kinds = [make_slot(0, row, dropout, max_side, tokenizer, prompts).layout.length for dropout in Dropout]
        fits[place] = max(kinds) <= budget
    return rows[fits]


def _image_tokens(images: npt.NDArray[np.void], max_side: int) -> npt.NDArray[np.int64]:
    """Returns how many tokens each image takes; every different size is worked out once."""
    sizes = images["width"].astype(np.int64) << 32 | images["height"]
    unique, inverse = np.unique(sizes, return_inverse=True)
    grids = [image_grid(int(size) >> 32, int(size) & 0xFFFFFFFF, max_side).num_tokens for size in unique]
    return np.array(grids, dtype=np.int64)[inverse]

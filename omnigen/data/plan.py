"""The whole order of a run, computed: which samples make up which pack of which step, on any number of machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnigen.data.augment import Mirroring
from omnigen.data.catalog import Catalog
from omnigen.data.mixture import Mixture
from omnigen.data.order import epoch_seed, permute
from omnigen.data.packing import Packing, PackingState
from omnigen.data.sample import Dropout, DropoutRates, PromptSource, Slot, image_grid, make_slot
from omnigen.prompt import unconditional_prompt
from omnigen.tokenizer import Tokenizer
from x2i.seeding import stable_hash

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


class Planner:
    """Plans steps from the catalog, the mixture and a seed; remembers nothing but what it can compute again.

    rows: for every task the catalog rows to draw from. weights: of the tasks. budget: tokens a pack may hold. prompts:
    those that were tokenized before. mirroring: of whole samples; without it none is.
    """

    def __init__(
        self,
        catalog: Catalog,
        rows: Mapping[str, npt.NDArray[np.int64]],
        weights: Mapping[str, float],
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
        self.tasks = tuple(rows)
        self.budget = budget
        self.packs_per_step = packs_per_step
        self.catalog, self._tokenizer, self._dropout = catalog, tokenizer, dropout
        self._mirroring, self._prompts = mirroring or Mirroring(0.0), prompts
        self._seed, self._max_side = seed, max_side
        self._rows = [rows[task] for task in self.tasks]
        self._mixture = Mixture.from_weights([weights[task] for task in self.tasks], stable_hash("mixture", seed))
        self._packing = Packing(lambda counter: self.slot(counter).layout.length, budget)
        self.slot = lru_cache(maxsize=REMEMBERED_SLOTS)(self._slot)
        self._block_rows = lru_cache(maxsize=8)(self._compute_block_rows)

    def step(self, number: int, state: PackingState) -> StepPlan:
        """Returns step `number`, which begins at `state`."""
        packs = []
        for _ in range(self.packs_per_step):
            counters, state = self._packing.next_pack(state)
            packs.append(tuple(self.slot(counter) for counter in counters))
        return StepPlan(number, tuple(packs), state)

    def catalog_row(self, counter: int) -> int:
        """Returns the catalog row of draw `counter`: visit k of n samples is place k mod n of epoch k // n."""
        number, place = divmod(counter, self._mixture.block_length)
        return int(self._block_rows(number)[place])

    def _slot(self, counter: int) -> Slot:
        row = self.catalog.row(self.catalog_row(counter))
        dropout = self._dropout.decide(self._seed, counter, row.key)
        mirrored = self._mirroring.decide(self._seed, counter, row.key, row.task, row.instruction)
        return make_slot(counter, row, dropout, self._max_side, self._tokenizer, self._prompts, mirrored)

    def _compute_block_rows(self, number: int) -> npt.NDArray[np.int64]:
        block = self._mixture.block(number)
        found = np.empty(self._mixture.block_length, dtype=np.int64)
        for task, rows in enumerate(self._rows):
            places = np.flatnonzero(block.task == task)
            if not places.size:
                continue
            epochs, positions = np.divmod(block.visit[places], len(rows))
            seed = stable_hash("order", self._seed, self.tasks[task])
            for epoch in np.unique(epochs):
                now = epochs == epoch
                found[places[now]] = rows[permute(positions[now], len(rows), epoch_seed(seed, int(epoch)))]
        return found


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

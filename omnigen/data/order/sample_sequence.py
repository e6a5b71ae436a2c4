"""Which sample stands at each index of a run: by the mixture of tasks, and by a seeded order of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from omnigen.data.loading.shard_prefetch import ShardPrefetcher
from omnigen.data.order.mixture import Mixture
from omnigen.data.order.permutation import epoch_seed, permute_each
from omnigen.data.shards.catalog import Catalog
from omnigen.data.shards.sample_ref import SampleRef
from x2i.seeding import stable_hash
from x2i.store.files.ranges import RangeReader


class SampleSequence(Protocol):
    """An endless sequence of samples by index, from 0; the sample at an index never changes."""

    def sample_ref(self, index: int) -> SampleRef | None:
        """Returns the sample at `index`; None for one to pass over."""
        ...

    def next_index(self, index: int) -> int:
        """Returns the index that follows `index`; it is larger."""
        ...

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes."""
        ...

    def prefetcher(self) -> ShardPrefetcher | None:
        """Returns what fetches shards into the cache while training goes on, if anything does."""
        ...


class CatalogSequence:
    """The sequence of a catalog's samples. rows: for every task the catalog rows to train on. weights: of the tasks."""

    def __init__(
        self,
        catalog: Catalog,
        rows: Mapping[str, npt.NDArray[np.int64]],
        weights: Mapping[str, float],
        seed: int,
    ) -> None:
        self.catalog, self.tasks = catalog, tuple(rows)
        self._seed = seed
        self._rows = [rows[task] for task in self.tasks]
        self._mixture = Mixture.from_weights([weights[task] for task in self.tasks], stable_hash("mixture", seed))
        self._block_rows = lru_cache(maxsize=8)(self._compute_block_rows)

    def sample_ref(self, index: int) -> SampleRef:
        """Returns the sample at `index`."""
        return self.catalog.sample_ref(self.catalog_row(index))

    def next_index(self, index: int) -> int:
        """Returns the next whole number."""
        return index + 1

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes, which uses the copies that the cache has or will have."""
        return self.catalog.reader()

    def prefetcher(self) -> ShardPrefetcher | None:
        """Returns what fetches the tars on a store that fit into the cache; None if there are none."""
        catalog = self.catalog
        return (
            ShardPrefetcher(catalog.cache, catalog.to_keep) if catalog.cache is not None and catalog.to_keep else None
        )

    def catalog_row(self, index: int) -> int:
        """Returns the catalog row at `index`: visit k of n samples is position k mod n of epoch k // n."""
        block, position = divmod(index, self._mixture.block_length)
        return int(self._block_rows(block)[position])

    def _compute_block_rows(self, number: int) -> npt.NDArray[np.int64]:
        block = self._mixture.block(number)
        found = np.empty(self._mixture.block_length, dtype=np.int64)
        for task, rows in enumerate(self._rows):
            at = np.flatnonzero(block.task == task)
            if not at.size:
                continue
            epochs, positions = np.divmod(block.visit[at], len(rows))
            seed = stable_hash("order", self._seed, self.tasks[task])
            unique, chosen = np.unique(epochs, return_inverse=True)
            seeds = [epoch_seed(seed, epoch) for epoch in unique.tolist()]
            found[at] = rows[permute_each(positions, len(rows), seeds, chosen)]
        return found

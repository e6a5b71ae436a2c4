"""Which sample each draw of a run is, where all samples are known: by the mixture, and by an order of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from omnigen.data.loading.shard_prefetch import CacheFiller
from omnigen.data.order.mixture import Mixture
from omnigen.data.order.permutation import epoch_seed, permute_each
from omnigen.data.shards.catalog import Catalog
from omnigen.data.shards.sample_ref import Row
from x2i.seeding import stable_hash
from x2i.store.files.ranges import RangeReader


class Draws(Protocol):
    """An endless numbered sequence of samples, beginning with number 0; what a number stands for never changes."""

    def row(self, number: int) -> Row | None:
        """Returns the sample of draw `number`; None for one to pass over."""
        ...

    def following(self, number: int) -> int:
        """Returns the number of the draw after `number`; it is larger."""
        ...

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes."""
        ...

    def filler(self) -> CacheFiller | None:
        """Returns what fetches shards into the cache while training goes on, if anything does."""
        ...


class CatalogDraws:
    """Draws from a catalog. rows: for every task the catalog rows to draw from. weights: of the tasks."""

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

    def row(self, number: int) -> Row:
        """Returns the sample of draw `number`."""
        return self.catalog.row(self.catalog_row(number))

    def following(self, number: int) -> int:
        """Returns the next number."""
        return number + 1

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes, which uses the copies that the cache has or will have."""
        return self.catalog.reader()

    def filler(self) -> CacheFiller | None:
        """Returns what fetches the tars on a store that fit into the cache; None if there are none."""
        catalog = self.catalog
        return CacheFiller(catalog.cache, catalog.to_keep) if catalog.cache is not None and catalog.to_keep else None

    def catalog_row(self, number: int) -> int:
        """Returns the catalog row of draw `number`: visit k of n samples is place k mod n of epoch k // n."""
        block, place = divmod(number, self._mixture.block_length)
        return int(self._block_rows(block)[place])

    def _compute_block_rows(self, number: int) -> npt.NDArray[np.int64]:
        block = self._mixture.block(number)
        found = np.empty(self._mixture.block_length, dtype=np.int64)
        for task, rows in enumerate(self._rows):
            places = np.flatnonzero(block.task == task)
            if not places.size:
                continue
            epochs, positions = np.divmod(block.visit[places], len(rows))
            seed = stable_hash("order", self._seed, self.tasks[task])
            unique, chosen = np.unique(epochs, return_inverse=True)
            seeds = [epoch_seed(seed, epoch) for epoch in unique.tolist()]
            found[places] = rows[permute_each(positions, len(rows), seeds, chosen)]
        return found

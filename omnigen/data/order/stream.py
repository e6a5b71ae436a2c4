"""Samples of shards that are opened a few at a time, when their turn comes, for sets too large to look at beforehand.

An epoch visits the shards once, in a seeded order, in groups of a settable number. A group is opened as a catalog of
its own, shards without an index indexed, and its samples come once each in a seeded order. A sample's index holds its
group and its position there, so a state tells which groups it needs: a resumed run opens those, and none that is past.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from threading import Thread

import numpy as np
import numpy.typing as npt

from omnigen.data.loading.shard_prefetch import ShardPrefetcher
from omnigen.data.order.permutation import epoch_seed, permute
from omnigen.data.shards.catalog import Catalog
from omnigen.data.shards.find import FoundShard
from omnigen.data.shards.sample_ref import SampleRef
from x2i.errors import UserError
from x2i.seeding import stable_hash, unit_interval
from x2i.store.files.cache import FileCache
from x2i.store.files.ranges import MOST_OPEN, RangeReader
from x2i.store.shards import is_validation_shard

POSITION_BITS = 32
"""A sample's index is the number of its group, shifted by so many bits, plus its position in the group."""
GROUPS_KEPT = 3  # catalogs: of the group before, from which samples wait; the current one; the next, opened ahead
GROUPS_COPIED = 4  # planning is ahead of loading, so the shards of one more group are in use

Choice = Callable[[Catalog], npt.NDArray[np.int64]]
"""Returns which rows of a group's catalog can be trained on."""


@dataclass(frozen=True)
class ShardStream:
    """The shards of a stream. at_a_time: how many are open together. cache: where copies and made indexes are kept."""

    shards: tuple[FoundShard, ...]
    at_a_time: int
    cache: FileCache | None = None

    def __post_init__(self) -> None:
        """Raises UserError if shards without an index on a store have no room in the cache."""
        unindexed = [shard.tar.path for shard in self.shards if shard.is_remote and shard.index is None]
        if unindexed and not self.copies_fit:
            raise UserError(
                f"data.cache_bytes: found {self.cache.limit if self.cache else 0}, expected at least {self._room}: "
                f"shards on a store without an index, such as {unindexed[0]}, are read from copies, and those of "
                f"{GROUPS_COPIED} groups of data.stream ({self.at_a_time}) are in use together"
            )

    @property
    def groups_per_epoch(self) -> int:
        return -(-len(self.shards) // self.at_a_time)

    @property
    def copies_fit(self) -> bool:
        """Whether the cache has room for the copies of the groups in use."""
        return self.cache is not None and self._room <= self.cache.limit

    @cached_property
    def _room(self) -> int:
        remote = sorted(shard.tar.size for shard in self.shards if shard.is_remote)
        return sum(remote[-GROUPS_COPIED * self.at_a_time :])

    def group(self, number: int, seed: int) -> list[FoundShard]:
        """Returns the shards of group `number` of a run, counted over all its epochs."""
        epoch, position = divmod(number, self.groups_per_epoch)
        first = position * self.at_a_time
        positions = np.arange(first, min(first + self.at_a_time, len(self.shards)))
        order = permute(positions, len(self.shards), epoch_seed(stable_hash("stream", seed), epoch))
        return [self.shards[at] for at in order.tolist()]

    def fingerprint(self) -> str:
        """Returns a hash of which shards there are, in which order, and of how many are open together."""
        names = [f"{shard.tar.path.name}\n{shard.tar.size}" for shard in self.shards]
        return hashlib.blake2b("\n".join([str(self.at_a_time), *names]).encode(), digest_size=8).hexdigest()


def split_shards(
    shards: Sequence[FoundShard], fraction: float, split_seed: int
) -> tuple[list[FoundShard], list[FoundShard]]:
    """Returns the shards to train on and those held out, whole: those of the validation part, where there are such;
    else at least one, if `fraction` is above 0.

    Raises UserError if nothing would be left to train on.
    """
    made_for_it = [shard for shard in shards if is_validation_shard(shard.tar.path.name)]
    if 0 < len(made_for_it) < len(shards):
        return [shard for shard in shards if shard not in made_for_it], made_for_it
    if fraction <= 0:
        return list(shards), []
    count = max(1, round(fraction * len(shards)))
    if count >= len(shards):
        raise UserError(
            f"data.validation_fraction: found {fraction:g}; a stream holds out whole shards, and of {len(shards)} none "
            f"would be left to train on. Set it to 0, or give more shards"
        )
    values = [unit_interval("held-out shard", split_seed, shard.tar.path.name, at) for at, shard in enumerate(shards)]
    held_out = set(sorted(range(len(shards)), key=values.__getitem__)[:count])
    return (
        [shard for at, shard in enumerate(shards) if at not in held_out],
        [shard for at, shard in enumerate(shards) if at in held_out],
    )


class StreamSequence:
    """The sequence of a stream's samples; see `SampleSequence`. choose: which rows of a group's catalog to train on."""

    def __init__(self, stream: ShardStream, seed: int, choose: Choice) -> None:
        self._stream, self._seed, self._choose = stream, seed, choose
        self._groups: OrderedDict[int, Future[_Group]] = OrderedDict()

    def sample_ref(self, index: int) -> SampleRef | None:
        """Returns the sample at `index`; None if its group has no sample.

        Raises UserError for what is amiss with a shard of its group, as `Catalog.open` does.
        """
        at, position = _split_index(index)
        group = self._group(at)
        if not len(group.rows):
            return None
        return group.catalog.sample_ref(int(group.rows[position]))

    def next_index(self, index: int) -> int:
        """Returns the next index: of the same group, or the first one of the next.

        Raises UserError if a whole epoch of groups has no sample that can be trained on.
        """
        at, position = _split_index(index)
        size = len(self._group(at).rows)
        if position + 1 < size:
            return index + 1
        if not size:
            self._require_some(at)
        return (at + 1) << POSITION_BITS

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes; it uses the copies that the groups in use have in the cache."""
        stream = self._stream
        if stream.cache is None or not stream.copies_fit:
            return RangeReader()
        copies = {str(shard.tar.path): stream.cache.path_of(shard.tar) for shard in stream.shards if shard.is_remote}
        return RangeReader(copies, most_open=min(stream.at_a_time, MOST_OPEN))

    def prefetcher(self) -> ShardPrefetcher | None:
        """Nothing fills the cache beforehand: a group's shards are fetched when it is opened."""
        return None

    def _group(self, at: int) -> _Group:
        """Returns group `at`, and begins to open the one after it, which is needed next."""
        for number in (at, at + 1):
            if number not in self._groups:
                self._groups[number] = self._opened(number)
        self._groups.move_to_end(at)
        self._groups.move_to_end(at + 1)
        while len(self._groups) > GROUPS_KEPT:
            self._groups.popitem(last=False)
        return self._groups[at].result()

    def _opened(self, number: int) -> Future[_Group]:
        """Opens a group in a thread of its own, which nothing has to wait for when the run ends."""
        future: Future[_Group] = Future()

        def work() -> None:
            try:
                future.set_result(self._open(number))
            except BaseException as error:  # noqa: BLE001 - it is raised where the group is asked for
                future.set_exception(error)

        Thread(target=work, name=f"shards of group {number}", daemon=True).start()
        return future

    def _open(self, number: int) -> _Group:
        found = self._stream.group(number, self._seed)
        cache = self._stream.cache
        if cache is not None and self._stream.copies_fit:
            for shard in found:
                if shard.is_remote:
                    cache.fetch(shard.tar)
        catalog = Catalog.of(found, cache=cache)
        rows = self._choose(catalog)
        if len(rows):
            rows = rows[permute(np.arange(len(rows)), len(rows), stable_hash("stream order", self._seed, number))]
        return _Group(catalog, rows)

    def _require_some(self, at: int) -> None:
        groups = self._stream.groups_per_epoch
        if (at + 1) % groups or any(len(self._open(number).rows) for number in range(at + 1 - groups, at)):
            return
        raise UserError(
            "data.shards: no sample of any shard fits: all are longer than train.pack_tokens. Give it more, or lower "
            "data.max_side"
        )


def _split_index(index: int) -> tuple[int, int]:
    """Returns the group of an index, and the position in it."""
    return index >> POSITION_BITS, index & ((1 << POSITION_BITS) - 1)


@dataclass(frozen=True)
class _Group:
    """A group that is open. rows: those of its catalog to train on, in order."""

    catalog: Catalog
    rows: npt.NDArray[np.int64]

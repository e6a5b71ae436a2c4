"""Which photographs are kept from training: a hash of each one's uid decides, whatever else the dataset holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from x2i.seeding import unit_interval


def held_out_uids(uids: Iterable[str], fraction: float, split_seed: int) -> frozenset[str]:
    """Returns the photographs kept from training: those whose hash falls below `fraction`, and at least one.

    A photograph's fate depends on its uid and the seed alone (but for the at-least-one rule of very small datasets), so
    adding data never moves a photograph from one side to the other.
    """
    values = {uid: unit_interval(uid, "validation", split_seed) for uid in uids}
    if fraction <= 0 or not values:
        return frozenset()
    return frozenset(uid for uid, value in values.items() if value < fraction) or frozenset(
        {min(values, key=values.__getitem__)}
    )


@dataclass(frozen=True)
class ShardSplit:
    """What one shard tells of the split: held_out: bool per sample, by the fraction alone.

    lowest: the least value of its photographs; nearest: bool per sample, those made from that photograph.
    """

    held_out: npt.NDArray[np.bool_]
    lowest: float
    nearest: npt.NDArray[np.bool_]


def split_shard(uids: pa.Array, fraction: float, split_seed: int) -> ShardSplit:
    """Splits the samples of a shard, given the list of uids of each: one is held out if any of its uids is."""
    nothing = np.zeros(len(uids), dtype=np.bool_)
    if fraction <= 0 or not len(uids):
        return ShardSplit(nothing, 1.0, nothing)
    encoded = uids.flatten().dictionary_encode()
    values = _unit_intervals(encoded.dictionary.to_pylist(), split_seed)
    flat = values[encoded.indices.to_numpy()]
    lowest = np.ones(len(uids))
    np.minimum.at(lowest, pc.list_parent_indices(uids).to_numpy(), flat)
    least = float(lowest.min())
    return ShardSplit(lowest < fraction, least, lowest == least)


def join_splits(splits: Sequence[ShardSplit], fraction: float) -> npt.NDArray[np.bool_]:
    """Returns whether each sample is held out: by the fraction, or, if that takes none, with the lowest photograph."""
    held_out = np.concatenate([split.held_out for split in splits])
    if held_out.any() or fraction <= 0:
        return held_out
    least = min(split.lowest for split in splits)
    return np.concatenate([split.nearest & (split.lowest == least) for split in splits])


def _unit_intervals(uids: Sequence[str], split_seed: int) -> npt.NDArray[np.float64]:
    """`unit_interval(uid, "validation", split_seed)` of many uids, without its overhead for each."""
    parts = (b"str:validation", f"int:{split_seed}".encode())
    tail = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    digests = []
    for uid in uids:
        text = b"str:" + uid.encode()
        digests.append(hashlib.blake2b(len(text).to_bytes(8, "little") + text + tail, digest_size=8).digest())
    return np.frombuffer(b"".join(digests), "<u8") / 2**64

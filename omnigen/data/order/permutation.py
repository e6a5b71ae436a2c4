"""Shuffling without a shuffled list: the place of every index in every epoch is computed, so the state is an integer.

A Feistel network permutes the integers below a power of four; an image that falls outside the wanted range is sent
through again until it falls inside (cycle walking), which keeps the map a bijection (Black and Rogaway, "Ciphers with
Arbitrary Finite Domains", 2002).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from x2i.seeding import stable_hash

ROUNDS = 6
SMALLEST_HALF_BITS = 3  # shorter halves leave too few round functions to shuffle a handful of samples well


def permute(index: npt.ArrayLike, length: int, seed: int) -> npt.NDArray[np.int64]:
    """Returns where a seeded random permutation of range(length) sends `index`.

    Args:
        index: integers in [0, length), any shape.
        length: at least 1, below 2**62.
        seed: equal seeds give equal permutations, on every platform.

    Returns: int64 of the shape of `index`; a bijection of range(length) for every seed.
    """
    return permute_each(index, length, [seed], np.int64(0))


def permute_each(
    index: npt.ArrayLike, length: int, seeds: Sequence[int], chosen: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Like `permute`, with a seed for each index: the one at `chosen`, of a shape that broadcasts to that of `index`.

    Many orders of a few samples each are worked out together in a small part of the time that they take one by one.
    """
    values = np.asarray(index, dtype=np.int64)
    if length < 1 or (values.size and (values.min() < 0 or values.max() >= length)):
        raise ValueError(f"indices must lie in [0, {length})")
    if length == 1:
        return np.zeros_like(values)
    half_bits = max(SMALLEST_HALF_BITS, ((length - 1).bit_length() + 1) // 2)
    keys = np.array([[stable_hash("feistel", seed, number) for seed in seeds] for number in range(ROUNDS)], np.uint64)
    keys_of = np.broadcast_to(chosen, values.shape).reshape(-1) if len(seeds) > 1 else None
    result = values.astype(np.uint64).reshape(-1)
    outside = np.arange(result.size)
    while outside.size:
        theirs = keys if keys_of is None else keys[:, keys_of[outside]]
        result[outside] = _feistel(result[outside], half_bits, theirs)
        outside = outside[result[outside] >= np.uint64(length)]
    return result.astype(np.int64).reshape(values.shape)


def epoch_seed(seed: int, epoch: int) -> int:
    """Returns the seed of epoch `epoch`: every epoch visits everything once, in an order of its own."""
    return stable_hash("epoch", seed, epoch)


def _feistel(values: npt.NDArray[np.uint64], half_bits: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """keys: (rounds, values), or (rounds, 1) for the same ones everywhere."""
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return (left << shift) | right


def mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit moves every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

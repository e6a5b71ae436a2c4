"""Randomness as a function of names: the same parts give the same numbers on every machine and in every order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def stable_hash(*parts: str | int) -> int:
    """Returns an unsigned 64-bit hash of `parts` that does not depend on the process or the platform."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = f"{type(part).__name__}:{part}".encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return int.from_bytes(digest.digest(), "little")


def generator(*parts: str | int) -> np.random.Generator:
    """Returns a NumPy generator (Philox, counter-based) seeded by `stable_hash(*parts)`."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=stable_hash(*parts)))


def unit_interval(*parts: str | int) -> float:
    """Returns a number in [0, 1) drawn from `parts` alone."""
    return stable_hash(*parts) / 2**64

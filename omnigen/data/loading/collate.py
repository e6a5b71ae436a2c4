"""From the slots of a pack to what the network takes: one layout, its images, and the slots that stayed empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnigen.data.loading.sample import BadSample, LoadedSample, Reader, Slot, load
from omnigen.network.layout import PackLayout


@dataclass(frozen=True)
class PackBatch:
    """A loaded pack. layout: of `samples` in order; None if no sample of the pack could be loaded."""

    samples: tuple[LoadedSample, ...]
    bad: tuple[BadSample, ...]
    layout: PackLayout | None

    @property
    def target_tokens(self) -> int:
        return sum(sample.slot.layout.target.num_tokens for sample in self.samples)


def load_pack(slots: Sequence[Slot], reader: Reader) -> PackBatch:
    """Loads the samples of a pack; those that cannot be decoded are left out, and said."""
    reader.fetch_ahead(slots)
    loaded = [load(slot, reader) for slot in slots]
    samples = tuple(sample for sample in loaded if isinstance(sample, LoadedSample))
    bad = tuple(sample for sample in loaded if isinstance(sample, BadSample))
    return PackBatch(samples, bad, PackLayout.build([sample.slot.layout for sample in samples]) if samples else None)

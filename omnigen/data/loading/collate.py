"""From the planned samples of a pack to what the network takes: one layout, the images, and the samples left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnigen.data.loading.sample import BadSample, LoadedSample, PlannedSample, Reader, load
from omnigen.network.layout import PackLayout


@dataclass(frozen=True)
class PackBatch:
    """A loaded pack. layout: of `samples` in order; None if no sample of the pack could be loaded."""

    samples: tuple[LoadedSample, ...]
    bad: tuple[BadSample, ...]
    layout: PackLayout | None

    @property
    def target_tokens(self) -> int:
        return sum(sample.planned.layout.target.num_tokens for sample in self.samples)


def load_pack(pack: Sequence[PlannedSample], reader: Reader) -> PackBatch:
    """Loads the samples of a pack; those that cannot be decoded are left out and listed in `bad`."""
    reader.fetch_ahead(pack)
    loaded = [load(planned, reader) for planned in pack]
    samples = tuple(sample for sample in loaded if isinstance(sample, LoadedSample))
    bad = tuple(sample for sample in loaded if isinstance(sample, BadSample))
    return PackBatch(samples, bad, PackLayout.build([sample.planned.layout for sample in samples]) if samples else None)

"""From a loaded step to packs of latents on the device, ready for the network."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omnigen.data.loading.loader import LoadedStep
from omnigen.data.loading.sample import BadSample
from omnigen.data.order.schedule import StepPacks
from omnigen.train.objective import FlowPack, idle_pack, prepare_pack
from omnigen.train.setup import PhaseParts, Setup


@dataclass(frozen=True)
class PreparedStep:
    """What a step is begun with. scheduled: the whole step. packs: this rank's, on its device. bad: samples of them
    that could not be loaded.
    """

    scheduled: StepPacks
    packs: tuple[FlowPack, ...]
    bad: tuple[BadSample, ...]


def prepare_step(loaded: LoadedStep, setup: Setup, parts: PhaseParts) -> PreparedStep:
    """Encodes this rank's packs. Sharded ranks work in step: each has as many, some of which may count nothing."""
    device, train = setup.ranks.device, parts.phase.train
    prepared = [prepare_pack(pack, setup.codec, train, device) for pack in loaded.packs]
    packs = [pack for pack in prepared if pack is not None]
    if setup.config.model.image_attention == "causal":
        packs = [replace(pack, layout=pack.layout.with_causal_images()) for pack in packs]
    if setup.sharded:
        wanted = -(-train.packs_per_step // setup.ranks.world)
        packs += [idle_pack(setup.codec.channels, device) for _ in range(wanted - len(packs))]
    bad = tuple(sample for pack in loaded.packs for sample in pack.bad)
    return PreparedStep(loaded.scheduled, tuple(packs), bad)

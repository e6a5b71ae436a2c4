"""Rectified flow on packs: x_t = t x + (1 - t) eps, and the network learns the velocity x - eps (OmniGen, section 2).

Everything random about a sample, its timestep and its noise, comes from (seed, index of the sample, key): it does not
matter which rank trains on it, in which pack, or after how many restarts.

Suffixes: S samples of the pack, C H W a latent image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnigen.codecs.base import Codec
from omnigen.codecs.posteriors import posteriors
from omnigen.data.loading.collate import PackBatch
from omnigen.data.loading.sample import LoadedSample
from omnigen.device_copies import to_device
from omnigen.network.blocks import Checkpointing
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from x2i.seeding import stable_hash

if TYPE_CHECKING:
    from omnigen.train.config import OptimizationConfig

# The authors' working recipe for edits, in mean absolute difference of unit-variance latents.
SAME_BELOW = 0.001
EDIT_UP_TO = 0.8
CHANGED_ABOVE = 0.3
WEIGHT_RANGE = (5.0, 64.0)


@dataclass(frozen=True)
class FlowPack:
    """A pack ready for the network, on its device.

    references: latents (C, H, W) of the reference images in reading order. clean, noise: one latent per sample, data
    and eps. timesteps_S: in [0, 1], 1 is data. weights: per sample None (1 everywhere) or a weight for every element of
    the target. counted: False for a sample whose target equals its input: it teaches nothing but copying. edit_inputs:
    per sample the latents that an edit starts from, or None; empty if the copied share is not asked for.
    """

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    layout: PackLayout
    references: list[Tensor]
    clean: list[Tensor]
    noise: list[Tensor]
    timesteps_S: Tensor
    weights: list[Tensor | None]
    counted: tuple[bool, ...]
    edit_inputs: tuple[Tensor | None, ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """Target tokens of each sample that count; 0 for one that does not."""
        grids = self.layout.target_grids
        return tuple(grid.num_tokens if counted else 0 for grid, counted in zip(grids, self.counted))


@dataclass(frozen=True)
class SampleLosses:
    """Per sample, the error summed over its target tokens (each the mean over a token's elements).

    weighted_S: with edit weighting: what is minimized. plain_S: without, detached: what is compared. copied: per sample
    what `copied_share` gives; () if the pack has no edit_inputs.
    """

    weighted_S: Tensor
    plain_S: Tensor
    copied: tuple[float | None, ...] = ()


def prepare_pack(
    batch: PackBatch, codec: Codec, config: OptimizationConfig, device: torch.device
) -> FlowPack | None:  # fmt: skip
    """Encodes a loaded pack, where it is not yet, and samples latents, timesteps and noise; None if it is empty."""
    if batch.layout is None:
        return None
    references: list[Tensor] = []
    edits: list[tuple[Tensor, Tensor] | None] = []
    clean, noise, timesteps = [], [], []
    for sample, images in zip(batch.samples, image_posteriors(batch.samples, codec, device)):
        generator = sample_generator(config.seed, sample.planned.index, sample.planned.ref.key)
        t = sample_timestep(generator, config.timestep_mean, config.timestep_std, config.timestep_shift)
        target, *shown = (codec.sample(image[None], generator)[0] for image in images)
        references.extend(shown)
        clean.append(target)
        noise.append(to_device(torch.randn(target.shape, generator=generator), device))
        timesteps.append(t)
        weighted = config.edit_weighting and sample.edit_input is not None
        edits.append((target, shown[0]) if weighted else None)
    weights, counted = zip(*edit_weights(edits))
    return FlowPack(
        keys=tuple(sample.planned.ref.key for sample in batch.samples),
        tasks=tuple(sample.planned.ref.task for sample in batch.samples),
        layout=batch.layout.to(device),
        references=references,
        clean=clean,
        noise=noise,
        timesteps_S=to_device(torch.tensor(timesteps), device),
        weights=list(weights),
        counted=counted,
    )


def idle_pack(channels: int, device: torch.device) -> FlowPack:
    """Returns the smallest pack, which counts nothing: what a rank computes that has no pack while others have one."""
    nothing = torch.zeros(channels, 2, 2, device=device)
    layout = PackLayout.build([SampleLayout(((0,),), (), Grid(1, 1))]).to(device)
    half = torch.full((1,), 0.5, device=device)
    return FlowPack((), (), layout, [], [nothing], [nothing], half, [None], (False,))


def sample_losses(
    model: OmniGen, pack: FlowPack, attention: str = "segment", checkpointing: Checkpointing = "none"
) -> SampleLosses:
    """Runs the network on a pack and measures the error of its velocities."""
    noisy = [interpolate(x, eps, t) for x, eps, t in zip(pack.clean, pack.noise, pack.timesteps_S)]
    predicted = model(pack.layout, pack.references, noisy, pack.timesteps_S, attention, checkpointing)
    weighted, plain = [], []
    for v, x, eps, weight, counts in zip(predicted, pack.clean, pack.noise, pack.weights, pack.counted):
        per_token = x.shape[0] * model.config.patch_size**2
        error = (v - (x - eps)).square()
        plain.append(error.detach().sum() / per_token * counts)
        weighted.append((error if weight is None else error * weight).sum() / per_token * counts)
    edits = zip(predicted, noisy, pack.timesteps_S, pack.clean, pack.edit_inputs)
    copied = tuple(
        None if start is None else copied_share(z + (1 - t) * v.detach(), x, start) for v, z, t, x, start in edits
    )
    return SampleLosses(torch.stack(weighted), torch.stack(plain), copied)


def copied_share(estimate: Tensor, target: Tensor, source: Tensor) -> float | None:
    """Returns the share of what an edit changes in which an estimate of the target lies nearer to the edit's source.

    All latents (C, H, W); changed is what differs by more than 0.3. 0: the edit was made; 1: its input was copied; None
    if nothing changes.
    """
    changed = (target - source).abs() > CHANGED_ABOVE
    if not changed.any():
        return None
    is_copy = (estimate - source).abs() < (estimate - target).abs()
    return float(is_copy[changed].float().mean())


def interpolate(clean: Tensor, noise: Tensor, t: Tensor | float) -> Tensor:
    """Returns t * clean + (1 - t) * noise: the point of the straight path at time t, 1 being data."""
    return t * clean + (1 - t) * noise


def sample_timestep(generator: torch.Generator, mean: float = 0.0, std: float = 1.0, shift: float = 1.0) -> float:
    """SampleSequence t = sigmoid(N(mean, std^2)), moved by t / (t + shift - shift * t): shift above 1 favors noise."""
    t = torch.sigmoid(mean + std * torch.randn((), generator=generator, dtype=torch.float64)).item()
    return t / (t + shift - shift * t)


def sample_generator(seed: int, index: int, key: str) -> torch.Generator:
    """Returns the CPU generator of everything random about one sample of a run."""
    return torch.Generator().manual_seed(stable_hash("flow", seed, index, key))


def image_posteriors(samples: Sequence[LoadedSample], codec: Codec, device: torch.device) -> list[list[Tensor]]:
    """Returns, for every sample, the posteriors (P, H, W) of its target, then of its references in reading order.

    Those that were kept are taken as they are; the pixels of all samples are encoded together.
    """
    images = [[sample.target, *sample.references] for sample in samples]
    pixels = [image for sample, mine in zip(samples, images) if not sample.encoded for image in mine]
    encoded = iter(posteriors(pixels, codec, device))
    return [
        [to_device(image, device) for image in mine] if sample.encoded else [next(encoded) for _ in mine]
        for sample, mine in zip(samples, images)
    ]


def encode_images(
    sample: LoadedSample, codec: Codec, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """Returns the latents (C, H, W) of the target, and of the references in reading order."""
    target, *shown = (codec.sample(image[None], generator)[0] for image in image_posteriors([sample], codec, device)[0])
    return target, shown


def edit_weights(edits: Sequence[tuple[Tensor, Tensor] | None]) -> list[tuple[Tensor | None, bool]]:
    """Returns for each (target, source), latents of an edit, what to weigh each element of the target by (None: 1
    everywhere), and whether the sample counts; for None, which is no edit, (None, True).

    With d = |target - source| in latents: mean(d) below 0.001, the sample does not count; up to 0.8, the weight is
    clip(1 / mean(d), 5, 64) where d > 0.3 and 1 elsewhere; beyond, no edit, no weighting (the authors' recipe). The
    host waits once, for the means of all.
    """
    differences = [None if edit is None else (edit[0] - edit[1]).abs() for edit in edits]
    found = [difference.mean() for difference in differences if difference is not None]
    means = iter(torch.stack(found).tolist() if found else ())
    return [(None, True) if each is None else _edit_weight(each, next(means)) for each in differences]


def _edit_weight(difference: Tensor, mean: float) -> tuple[Tensor | None, bool]:
    if mean < SAME_BELOW:
        return None, False
    if mean > EDIT_UP_TO:
        return None, True
    weight = min(max(1 / mean, WEIGHT_RANGE[0]), WEIGHT_RANGE[1])
    return torch.where(difference > CHANGED_ABOVE, weight, 1.0), True


def count_tokens(packs: Sequence[FlowPack]) -> int:
    """Returns the target tokens that count in `packs`."""
    return sum(sum(pack.tokens) for pack in packs)

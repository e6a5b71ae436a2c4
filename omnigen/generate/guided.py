"""The velocity of several images at once under guidance: all branches of all prompts in one pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnigen.generate.kv_cache import CachedTargets, KVCache
from omnigen.network.layout import SampleLayout
from omnigen.network.model import OmniGen


@dataclass(frozen=True)
class Branch:
    """One term of guidance: its weight, and the sample that it conditions on.

    full: it is that of the whole prompt, which stands alone where guidance is off.
    """

    weight: float
    layout: SampleLayout
    references: tuple[Tensor, ...]
    full: bool = False


@dataclass(frozen=True)
class Job:
    """Images of one prompt. noises: latents (C, H, W) at t = 0, one for each image, on the network's device."""

    branches: tuple[Branch, ...]
    noises: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Terms:
    """Targets of the pack and what they add up to: target i has weights[i] and belongs to image images[i]."""

    targets: CachedTargets
    weights: tuple[float, ...]
    images: tuple[int, ...]


class GuidedVelocity:
    """The weighted sum of the branches' velocities for the images of all jobs, whose conditions are read once.

    guided: the times t within which guidance holds; before and after, an image follows its whole prompt alone. keep_on:
    where the conditions' keys and values wait; None: on the network's device.
    """

    def __init__(
        self,
        model: OmniGen,
        jobs: Sequence[Job],
        bf16: bool = False,
        guided: tuple[float, float] = (0.0, 1.0),
        keep_on: torch.device | None = None,
    ) -> None:
        self._device, self._bf16, self._guided = model.pos_embed.device.type, bf16, guided
        self._shapes = [noise.shape for job in jobs for noise in job.noises]
        branches = [branch for job in jobs for branch in job.branches]
        references = [latent for branch in branches for latent in branch.references]
        with self._precision():
            cache = KVCache(model, [branch.layout for branch in branches], references, keep_on=keep_on)
        self._with_guidance = self._terms(cache, jobs, guidance=True)
        always = guided[0] <= 0 and guided[1] >= 1
        self._without = self._with_guidance if always else self._terms(cache, jobs, guidance=False)

    def noise(self, jobs: Sequence[Job]) -> Tensor:
        """Returns the noise of all images end to end, flat: what `integrate` begins with."""
        return torch.cat([noise.reshape(-1) for job in jobs for noise in job.noises])

    def split(self, flat: Tensor) -> list[Tensor]:
        """Returns the latents (C, H, W) of each image."""
        parts = flat.split([shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes)]

    def is_guided(self, t: float) -> bool:
        """Whether guidance holds at time t."""
        return self._guided[0] <= t < self._guided[1]

    def __call__(self, flat: Tensor, t: float) -> Tensor:
        """Returns the velocity at time t, flat as the latents are."""
        terms = self._with_guidance if self.is_guided(t) else self._without
        latents = self.split(flat)
        times = torch.full((len(terms.images),), t, device=flat.device)
        with self._precision():
            velocities = terms.targets.velocities([latents[image] for image in terms.images], times)
        sums = [torch.zeros_like(latent) for latent in latents]
        for image, weight, velocity in zip(terms.images, terms.weights, velocities):
            sums[image] += weight * velocity
        return torch.cat([total.reshape(-1) for total in sums])

    def _terms(self, cache: KVCache, jobs: Sequence[Job], guidance: bool) -> _Terms:
        owners: list[int] = []
        weights: list[float] = []
        images: list[int] = []
        first_branch = first_image = 0
        for job in jobs:
            for number, branch in enumerate(job.branches, first_branch):
                if (branch.weight if guidance else branch.full) != 0:
                    owners += [number] * len(job.noises)
                    weights += [branch.weight if guidance else 1.0] * len(job.noises)
                    images += range(first_image, first_image + len(job.noises))
            first_branch += len(job.branches)
            first_image += len(job.noises)
        return _Terms(cache.targets(owners), tuple(weights), tuple(images))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device, torch.bfloat16, enabled=self._bf16)

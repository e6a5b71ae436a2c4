"""Validation at fixed noise: the same held-out samples, timesteps and noise every time, so that losses compare.

Every sample is evaluated once in each of BINS equal intervals of t. The loss is the mean squared error of the velocity
per element, averaged over target tokens, without edit weighting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from omnigen.cache.latents import LatentReader, LatentShard
from omnigen.codecs.base import Codec
from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.sample import (
    Dropout,
    ImageReader,
    PlannedSample,
    Reader,
    TokenizedPrompts,
    make_planned_sample,
)
from omnigen.data.order.permutation import permute
from omnigen.data.shards.catalog import Catalog
from omnigen.device_copies import to_device
from omnigen.network.layout import PackLayout
from omnigen.network.model import OmniGen
from omnigen.tokenizer import Tokenizer
from omnigen.train.objective import FlowPack, encode_images, idle_pack, sample_losses
from omnigen.train.parallel import Ranks
from x2i.seeding import stable_hash, unit_interval
from x2i.store.files.ranges import RangeReader

BINS = 4
EARLY = 0.5
"""Below this t a noisy target shows little of itself, so that what the network makes of it is its own."""


def bin_names() -> list[str]:
    """Returns the names of the timestep intervals, such as "0.25-0.50"."""
    return [f"{number / BINS:.2f}-{(number + 1) / BINS:.2f}" for number in range(BINS)]


def bin_of(t: float) -> int:
    """Returns the interval that timestep t lies in."""
    return min(int(t * BINS), BINS - 1)


@dataclass(frozen=True)
class ValidationSet:
    """Held-out samples with their noise. samples: all of them; rank r evaluates every world-th pack from r on.
    latents: the caches to read instead of pixels, by the path of the tar. causal_images: see NetworkConfig. files: what
    reads the shards' bytes; by default one that knows no copies of shards on a store.
    """

    samples: tuple[PlannedSample, ...]
    tasks: tuple[str, ...]
    codec: Codec
    seed: int
    max_side: int
    budget: int
    ranks: Ranks
    latents: Mapping[Path, LatentShard] = field(default_factory=dict)
    causal_images: bool = False
    files: RangeReader = field(default_factory=RangeReader)

    def evaluate(self, model: OmniGen, attention: str = "segment", *, in_step: bool = False) -> dict[str, Any]:
        """Returns what the network as it is comes to: {"loss", "standard_error", "tasks": {name: loss}, "timesteps":
        {interval: loss}, "copy_rate", "copy_rates": {name: rate}}.

        standard_error: of the loss, as an estimate of that of all samples of the kind: by the spread of the samples'
        own losses; with one sample there is none, and it is 0.
        copy_rate: `copied_share` of the network's first guess at the target of an edit (t below 0.5), on average over
        the samples whose only input has the target's size; None if there are none. copy_rates: the same for each task
        that has such samples.
        in_step: every rank runs the network equally often, as a sharded one must be.
        """
        with torch.no_grad():
            for _ in range(self._most_packs - len(self._packs) if in_step else 0):
                sample_losses(model, idle_pack(self.codec.channels, self.ranks.device), attention)
            copied_T2 = torch.zeros(len(self.tasks), 2, dtype=torch.float64)

            def losses(pack: FlowPack) -> Tensor:
                found = sample_losses(model, pack, attention)
                for task, share, t in zip(pack.tasks, found.copied, pack.timesteps_S.tolist()):
                    if share is not None and t < EARLY:
                        copied_T2[self.tasks.index(task)] += torch.tensor([share, 1.0], dtype=torch.float64)
                return found.plain_S

            report = self._report(losses)
            copied_T2 = self.ranks.sum(copied_T2)
            rates = {task: _ratio(copied_T2[i]) for i, task in enumerate(self.tasks) if copied_T2[i, 1]}
            return {**report, "copy_rate": _ratio(copied_T2.sum(0)), "copy_rates": rates}

    def mean_predictor(self) -> dict[str, Any]:
        """Returns the same for the best constant velocity per channel: what knowing nothing but the average scores."""
        totals = torch.zeros(2, self.codec.channels, dtype=torch.float64, device=self.ranks.device)
        for pack in self._packs:
            for velocity in _velocities(pack):
                totals += torch.stack([velocity.sum((1, 2)), torch.ones_like(velocity).sum((1, 2))])
        totals = self.ranks.sum(totals.cpu()).to(self.ranks.device)
        mean_C11 = (totals[0] / totals[1])[:, None, None]

        def losses(pack: FlowPack) -> Tensor:
            grids = pack.layout.target_grids
            errors = [(v - mean_C11).square().mean() * grid.num_tokens for v, grid in zip(_velocities(pack), grids)]
            return torch.stack(errors)

        return self._report(losses)

    def _report(self, losses_of: Callable[[FlowPack], Tensor]) -> dict[str, Any]:
        sums_TB2 = torch.zeros(len(self.tasks), BINS, 2, dtype=torch.float64)
        numbers = {planned.ref.key: number for number, planned in enumerate(self.samples)}
        sums_N2 = torch.zeros(len(self.samples), 2, dtype=torch.float64)
        for pack in self._packs:
            rows = zip(pack.keys, pack.tasks, pack.timesteps_S.tolist(), losses_of(pack).tolist(), pack.tokens)
            for key, task, t, loss, tokens in rows:
                both = torch.tensor([loss, tokens], dtype=torch.float64)
                sums_TB2[self.tasks.index(task), bin_of(t)] += both
                sums_N2[numbers[key]] += both
        sums_TB2, sums_N2 = self.ranks.sum(sums_TB2), self.ranks.sum(sums_N2)
        return {
            "loss": _ratio(sums_TB2.sum((0, 1))),
            "standard_error": _standard_error(sums_N2),
            "tasks": {task: _ratio(sums_TB2[i].sum(0)) for i, task in enumerate(self.tasks) if sums_TB2[i, :, 1].any()},
            "timesteps": {name: _ratio(sums_TB2[:, i].sum(0)) for i, name in enumerate(bin_names())},
        }

    @cached_property
    def _groups(self) -> list[list[tuple[PlannedSample, int]]]:
        timed = [(planned, number) for planned in self.samples for number in range(BINS)]
        return list(_grouped(timed, self.budget))

    @property
    def _most_packs(self) -> int:
        """The packs of the rank that has most."""
        return -(-len(self._groups) // self.ranks.world)

    @cached_property
    def _packs(self) -> list[FlowPack]:
        groups = self._groups[self.ranks.rank :: self.ranks.world]
        reader = LatentReader(self.latents, ImageReader(self.max_side, files=self.files))
        return [pack for group in groups if (pack := self._prepare(group, reader)) is not None]

    def _prepare(self, group: Sequence[tuple[PlannedSample, int]], reader: Reader) -> FlowPack | None:
        """Like `prepare_pack`, but with timesteps spread over the intervals; undecodable samples stay out."""
        device = self.ranks.device
        batch = load_pack([planned for planned, _ in group], reader)
        loaded = {sample.planned.index: sample for sample in batch.samples}
        kept = [(loaded[planned.index], number) for planned, number in group if planned.index in loaded]
        if not kept:
            return None
        references, clean, noise, timesteps, edit_inputs = [], [], [], [], []
        for sample, number in kept:
            key = sample.planned.ref.key
            generator = torch.Generator().manual_seed(stable_hash("validation", self.seed, key, number))
            target, shown = encode_images(sample, self.codec, generator, device)
            references.extend(shown)
            clean.append(target)
            edit_inputs.append(shown[0] if sample.edit_input is not None else None)
            noise.append(to_device(torch.randn(target.shape, generator=generator), device))
            timesteps.append((number + unit_interval("validation time", self.seed, key, number)) / BINS)
        layout = PackLayout.build([sample.planned.layout for sample, _ in kept]).to(device)
        return FlowPack(
            keys=tuple(sample.planned.ref.key for sample, _ in kept),
            tasks=tuple(sample.planned.ref.task for sample, _ in kept),
            layout=layout.with_causal_images() if self.causal_images else layout,
            references=references,
            clean=clean,
            noise=noise,
            timesteps_S=torch.tensor(timesteps, device=device),
            weights=[None] * len(kept),
            counted=(True,) * len(kept),
            edit_inputs=tuple(edit_inputs),
        )


def choose_held_out(
    catalog: Catalog,
    rows: Mapping[str, npt.NDArray[np.int64]],
    count: int,
    *,
    tokenizer: Tokenizer,
    max_side: int,
    seed: int,
    prompts: TokenizedPrompts | None = None,
) -> tuple[PlannedSample, ...]:
    """Returns up to `count` held-out samples, as many of every task as can be, tasks alternating."""
    shuffled = {
        task: numbers[permute(np.arange(len(numbers)), len(numbers), stable_hash("validation", seed, task))]
        for task, numbers in rows.items()
        if len(numbers)
    }
    chosen: list[int] = []
    depth = 0
    while len(chosen) < count and any(depth < len(numbers) for numbers in shuffled.values()):
        chosen.extend(int(numbers[depth]) for numbers in shuffled.values() if depth < len(numbers))
        depth += 1
    return tuple(
        make_planned_sample(number, catalog.sample_ref(row), Dropout.NONE, max_side, tokenizer, prompts)
        for number, row in enumerate(chosen[:count])
    )


def _grouped(timed: Sequence[tuple[PlannedSample, int]], budget: int) -> Iterator[list[tuple[PlannedSample, int]]]:
    group: list[tuple[PlannedSample, int]] = []
    room = budget
    for planned, number in timed:
        if group and planned.layout.length > room:
            yield group
            group, room = [], budget
        group.append((planned, number))
        room -= planned.layout.length
    if group:
        yield group


def _velocities(pack: FlowPack) -> list[Tensor]:
    return [(x - eps).double() for x, eps in zip(pack.clean, pack.noise)]


def _standard_error(sums_N2: Tensor) -> float:
    """Returns the standard error of sum / sum of pairs (loss, tokens), one a sample, by the linearized ratio."""
    count = int((sums_N2[:, 1] > 0).sum())
    if count < 2:
        return 0.0
    losses, tokens = sums_N2.unbind(1)
    residuals = losses - losses.sum() / tokens.sum() * tokens
    return float((residuals.square().sum() * count / (count - 1)).sqrt() / tokens.sum())


def _ratio(pair: Tensor) -> float | None:
    return float(pair[0] / pair[1]) if pair[1] else None

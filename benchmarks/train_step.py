"""Forward and backward of mixed samples on the CPU: packs without padding against diffusers' transformer.

    python benchmarks/train_step.py [--side 256] [--side 512] [--batch 10] [--rounds 3] [--threads 2]

All contenders have the same weights (width 384, 4 layers, heads of 96) and the same samples: OmniGen's mixture, several
aspect ratios. `padded` runs diffusers' modules as the authors' trainer batches: samples as they are drawn, conditions
padded on the left, targets on the right, one dense mask. `bucketed` calls diffusers' model as its pipeline does, with
batches sorted by the target's size, which its forward pass requires. Layouts and masks are made beforehand. Before
timing, every sample's velocity in our pack is held against diffusers' model at batch 1.

Twenty samples hold more or less padding by chance: the last line says how much work padding makes of 1,000 samples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from diffusers import OmniGenTransformer2DModel
from torch import Tensor
from workload import latents, mixture

from omnigen.network.config import PHI3_LONG_FACTORS, PHI3_SHORT_FACTORS, ModelConfig
from omnigen.network.flops import forward_flops
from omnigen.network.layout import PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.weights import to_diffusers

CONFIG = ModelConfig(
    hidden_size=384,
    num_layers=4,
    num_heads=4,
    intermediate_size=1024,
    vocab_size=2000,
    in_channels=4,
    rope_short_factors=PHI3_SHORT_FACTORS,
    rope_long_factors=PHI3_LONG_FACTORS,
    pos_embed_max_size=64,
)
SIDES = (256, 512)
# Rows for each of the authors' 104 devices in their first phase (1040 samples); at 512 pixels they had 5.
BATCH = 10
MANY_SAMPLES = 1000
TOLERANCE = 1e-5
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A sample with its latents (C, H, W) and timestep."""

    layout: SampleLayout
    references: list[Tensor]
    noisy: Tensor
    timestep: Tensor


@dataclass(frozen=True)
class Batch:
    """Samples as diffusers takes them: ids (B, left), images' places, mask (B, L, L), positions (B, L)."""

    items: list[Item]
    ids: Tensor
    places: dict[int, list[list[int]]]
    mask: Tensor
    positions: Tensor

    @property
    def tokens(self) -> int:
        return self.positions.numel()


def make_batch(items: Sequence[Item]) -> Batch:
    """Pads conditions on the left and targets on the right, to the longest of the batch."""
    left = max(item.layout.condition_length for item in items)
    right = max(item.layout.target.num_tokens for item in items)
    length = left + 1 + right
    ids = torch.zeros(len(items), left, dtype=torch.long)
    mask = torch.zeros(len(items), length, length)
    positions = torch.zeros(len(items), length, dtype=torch.long)
    places: dict[int, list[list[int]]] = {}
    for row, item in enumerate(items):
        one = item.layout
        start = at = left - one.condition_length
        end = left + 1 + one.target.num_tokens
        mask[row, start:end, start:end] = torch.ones(end - start, end - start).tril()
        mask[row, left + 1 : end, start:end] = 1
        positions[row, start:] = torch.arange(length - start)
        for i, piece in enumerate(one.pieces):
            ids[row, at : at + len(piece)] = torch.tensor(piece, dtype=torch.long)
            at += len(piece)
            if i < len(one.references):
                stop = at + one.references[i].num_tokens
                mask[row, at:stop, at:stop] = 1
                places.setdefault(row, []).append([at, stop])
                at = stop
    return Batch(list(items), ids, places, mask, positions)


def their_model(model: OmniGen) -> OmniGenTransformer2DModel:
    """Returns diffusers' model with the weights of ours."""
    config = model.config
    other = OmniGenTransformer2DModel(
        in_channels=config.in_channels,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_layers,
        pad_token_id=0,
        vocab_size=config.vocab_size,
        rope_scaling={"short_factor": config.rope_short_factors, "long_factor": config.rope_long_factors},
        pos_embed_max_size=config.pos_embed_max_size,
    )
    other.load_state_dict(to_diffusers(model.state_dict()))
    return other


def run_bucketed(other: OmniGenTransformer2DModel, batch: Batch) -> list[Tensor]:
    """Calls diffusers' model; all targets of the batch have one size."""
    out = other(
        hidden_states=torch.stack([item.noisy for item in batch.items]),
        timestep=torch.stack([item.timestep for item in batch.items]),
        input_ids=batch.ids,
        input_img_latents=[latent[None] for item in batch.items for latent in item.references],
        input_image_sizes=batch.places,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        return_dict=False,
    )[0]
    return list(out)


def run_padded(other: OmniGenTransformer2DModel, batch: Batch) -> list[Tensor]:
    """Runs the modules of diffusers' model on targets of several sizes, padded as the authors' trainer pads them."""
    right = max(item.layout.target.num_tokens for item in batch.items)
    counts = [item.layout.target.num_tokens for item in batch.items]
    padding = [torch.zeros(1, right - count, CONFIG.hidden_size) for count in counts]
    noisy = other.patch_embedding([item.noisy[None] for item in batch.items], False, padding)
    wave = other.time_proj(torch.stack([item.timestep for item in batch.items]))
    references = [latent[None] for item in batch.items for latent in item.references]
    conditions = other._get_multimodal_embeddings(batch.ids, references, batch.places)
    hidden = torch.cat([conditions, other.time_token(wave)[:, None], torch.cat(noisy)], dim=1)
    mask = ((1 - batch.mask) * torch.finfo(torch.float32).min)[:, None]
    rotary = other.rope(hidden, batch.positions)
    for block in other.layers:
        hidden = block(hidden, attention_mask=mask, image_rotary_emb=rotary)
    hidden = other.norm_out(other.norm(hidden)[:, -right:], temb=other.t_embedder(wave))
    tokens = other.proj_out(hidden)
    return [row[:count] for row, count in zip(tokens, counts)]


class Cost(NamedTuple):
    """Seconds on the wall clock, and of processor time over all threads, which other work disturbs less."""

    wall: float
    processor: float


def timed(step: Callable[[], list[Tensor]], parameters: Sequence[Tensor]) -> Cost:
    """Returns the cost of a forward and a backward pass."""
    for parameter in parameters:
        parameter.grad = None
    wall, processor = time.perf_counter(), time.process_time()
    torch.stack([velocity.square().sum() for velocity in step()]).sum().backward()
    return Cost(time.perf_counter() - wall, time.process_time() - processor)


def chunks(items: Sequence[T], rows: int) -> list[list[T]]:
    """Cuts `items` into batches of at most `rows`."""
    return [list(items[i : i + rows]) for i in range(0, len(items), rows)]


def padded_work(samples: Sequence[SampleLayout]) -> tuple[int, int]:
    """Returns the (tokens, pairs of tokens) of a padded batch, whose attention looks at every pair."""
    tokens = max(sample.condition_length for sample in samples) + 1 + max(s.target.num_tokens for s in samples)
    return len(samples) * tokens, len(samples) * tokens**2


def expected_ratio(side: int, rows: int) -> float:
    """Returns how many times the operations of packs padded batches of `rows` take, over many samples."""
    samples = mixture(MANY_SAMPLES, side, CONFIG.vocab_size)
    padded = sum(forward_flops(CONFIG, padded_work(chunk)) for chunk in chunks(samples, rows))
    return padded / forward_flops(CONFIG, PackLayout.build(samples))


def measure(side: int, count: int, rows: int, rounds: int) -> None:
    """Prints one line per contender, then the ratios."""
    model = OmniGen.initialized(CONFIG, seed=0)
    with torch.no_grad():
        for parameter in model.final_layer.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    other = their_model(model)
    layout = PackLayout.build(mixture(count, side, CONFIG.vocab_size))
    samples = mixture(count, side, CONFIG.vocab_size)
    references, noisy, times = latents(layout, CONFIG.in_channels)
    owned = [[x for x, owner in zip(references, layout.reference_samples) if owner == i] for i in range(count)]
    items = [Item(*parts) for parts in zip(samples, owned, noisy, times)]
    padded = [make_batch(chunk) for chunk in chunks(items, rows)]
    by_size: dict[tuple[int, ...], list[Item]] = {}
    for item in items:
        by_size.setdefault(item.layout.target, []).append(item)
    bucketed = [make_batch(chunk) for group in by_size.values() for chunk in chunks(group, rows)]

    with torch.no_grad():
        ours = model(layout, references, noisy, times)
        for item, velocity in zip(items, ours):
            (expected,) = run_bucketed(other, make_batch([item]))
            difference = float((velocity - expected).abs().max() / expected.abs().max())
            assert difference < TOLERANCE, f"a sample differs from diffusers' by {difference}"

    def packed() -> Cost:
        return timed(lambda: model(layout, references, noisy, times), list(model.parameters()))

    def theirs(batches: Sequence[Batch], run: Callable[..., list[Tensor]]) -> Cost:
        parameters = list(other.parameters())
        costs = [timed(partial(run, other, batch), parameters) for batch in batches]
        return Cost(*map(sum, zip(*costs)))

    contenders: dict[str, tuple[Callable[[], Cost], int]] = {
        "diffusers, padded batches": (lambda: theirs(padded, run_padded), sum(b.tokens for b in padded)),
        "diffusers, batches of one size": (lambda: theirs(bucketed, run_bucketed), sum(b.tokens for b in bucketed)),
        "packed": (packed, layout.num_tokens),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (run, _) in contenders.items():
            costs[name].append(run())
            print(f"{side} px, {name}: {costs[name][-1].wall:.1f} s", file=sys.stderr, flush=True)
    for name, (_, tokens) in contenders.items():
        line = {field: [round(getattr(cost, field), 2) for cost in costs[name]] for field in Cost._fields}
        print(json.dumps({"side": side, "contender": name, "tokens": tokens, **line}), flush=True)
    for field in Cost._fields:
        medians = {name: statistics.median(getattr(cost, field) for cost in costs[name]) for name in contenders}
        ratios = {f"{name} / packed": round(medians[name] / medians["packed"], 2) for name in list(contenders)[:-1]}
        print(json.dumps({"side": side, "samples": count, "batch": rows, "time": field, **ratios}), flush=True)
    work = {"padded / packed, operations": round(expected_ratio(side, rows), 2)}
    print(json.dumps({"side": side, "samples": MANY_SAMPLES, "batch": rows, **work}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, action="append", help="longest side in pixels; may be given again")
    parser.add_argument("--samples", type=int, default=20, help="how many samples a step has (20)")
    parser.add_argument("--batch", type=int, default=BATCH, help="rows of a padded batch (10)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contender")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for side in arguments.side or SIDES:
        measure(side, arguments.samples, arguments.batch, arguments.rounds)


if __name__ == "__main__":
    main()

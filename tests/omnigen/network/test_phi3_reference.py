"""Our network equals the authors' arrangement: transformers' Phi-3 decoder under one dense mask, batches padded.

The reference is written from the paper's words and shares no code with ours: a row of a batch is left padding, text and
images in reading order, the time token, the noisy target, right padding; the mask is filled in row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from omnigen.network.config import ModelConfig
from omnigen.network.layout import Grid, SampleLayout
from omnigen.network.model import OmniGen
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model, relative_error, sample

transformers = pytest.importorskip("transformers")

SHORT_CONFIG = replace(CONFIG, original_max_position_embeddings=4096, max_position_embeddings=131072)


class Reference:
    """The authors' network with the weights of ours. weights: what lies outside the decoder, under our names."""

    def __init__(self, model: OmniGen) -> None:
        self.config = config = model.config
        self.decoder = transformers.Phi3Model(phi3_config(config)).eval()
        state = model.state_dict()
        self.decoder.load_state_dict({k.removeprefix("llm."): v for k, v in state.items() if k.startswith("llm.")})
        self.weights = {
            name: parameter.detach().clone().requires_grad_()
            for name, parameter in model.named_parameters()
            if not name.startswith("llm.")
        }

    def gradients(self) -> dict[str, Tensor | None]:
        inner = {f"llm.{name}": parameter.grad for name, parameter in self.decoder.named_parameters()}
        return inner | {name: parameter.grad for name, parameter in self.weights.items()}

    def __call__(
        self, samples: Sequence[SampleLayout], references: Sequence[Tensor], noisy: Sequence[Tensor], times: Tensor
    ) -> list[Tensor]:
        """Returns the velocities of one padded batch."""
        pending = list(references)
        conditions = [self._condition(one, [pending.pop(0) for _ in one.references]) for one in samples]
        targets = [self._patches(latent, "x_embedder") for latent in noisy]
        left = max(map(len, conditions))
        right = max(map(len, targets))
        time_tokens = self._time(times, "time_token")
        rows, masks, positions = [], [], []
        for one, condition, time_token, target in zip(samples, conditions, time_tokens, targets):
            before, after = left - len(condition), right - len(target)
            padding = condition.new_zeros(before, self.config.hidden_size)
            rows.append(F.pad(torch.cat([padding, condition, time_token[None], target]), (0, 0, 0, after)))
            masks.append(F.pad(mask_of(one), (before, after, before, after)))
            positions.append(torch.cat([torch.zeros(before), torch.arange(one.length + after)]))
        allowed = torch.stack(masks)[:, None]
        decoded = self.decoder(
            inputs_embeds=torch.stack(rows),
            attention_mask=(1 - allowed) * torch.finfo(torch.float32).min,
            position_ids=torch.stack(positions).long(),
            use_cache=False,
        ).last_hidden_state
        vectors = self._time(times, "t_embedder")
        return [
            self._velocity(row[left + 1 : left + 1 + len(target)], vector, one.target)
            for row, vector, target, one in zip(decoded, vectors, targets, samples)
        ]

    def _condition(self, one: SampleLayout, images: Sequence[Tensor]) -> Tensor:
        table = self.decoder.embed_tokens.weight
        parts = []
        for i, piece in enumerate(one.pieces):
            parts.append(table[torch.tensor(piece, dtype=torch.long)])
            if i < len(images):
                parts.append(self._patches(images[i], "input_x_embedder"))
        return torch.cat(parts)

    def _patches(self, latent: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.proj.weight"], self.weights[f"{name}.proj.bias"]
        tokens = F.conv2d(latent[None], weight, bias, stride=self.config.patch_size)[0]
        rows, columns = tokens.shape[1:]
        return tokens.flatten(1).T + position_table(self.config, rows, columns)

    def _time(self, times: Tensor, name: str) -> Tensor:
        waves = [[f(t * 10000 ** (-i / 128)) for f in (math.cos, math.sin) for i in range(128)] for t in times.tolist()]
        first = F.linear(torch.tensor(waves), self.weights[f"{name}.mlp.0.weight"], self.weights[f"{name}.mlp.0.bias"])
        return F.linear(F.silu(first), self.weights[f"{name}.mlp.2.weight"], self.weights[f"{name}.mlp.2.bias"])

    def _velocity(self, tokens: Tensor, time: Tensor, grid: Grid) -> Tensor:
        layer = "final_layer."
        modulation = F.linear(
            F.silu(time),
            self.weights[layer + "adaLN_modulation.1.weight"],
            self.weights[layer + "adaLN_modulation.1.bias"],
        )
        shift, scale = modulation.chunk(2)
        normed = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * (1 + scale) + shift
        out = F.linear(normed, self.weights[layer + "linear.weight"], self.weights[layer + "linear.bias"])
        patch = self.config.patch_size
        pixels = out.reshape(grid.rows, grid.columns, patch, patch, self.config.in_channels)
        return torch.einsum("hwpqc->chpwq", pixels).reshape(-1, grid.rows * patch, grid.columns * patch)


def phi3_config(config: ModelConfig) -> object:
    assert config.rope_short_factors is not None
    assert config.rope_long_factors is not None
    return transformers.Phi3Config(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        vocab_size=config.vocab_size,
        pad_token_id=0,
        rms_norm_eps=config.rms_norm_eps,
        max_position_embeddings=config.max_position_embeddings,
        original_max_position_embeddings=config.original_max_position_embeddings,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": config.rope_theta,
            "short_factor": list(config.rope_short_factors),
            "long_factor": list(config.rope_long_factors),
            "original_max_position_embeddings": config.original_max_position_embeddings,
        },
        attn_implementation="sdpa",
    )


def mask_of(one: SampleLayout) -> Tensor:
    """1 where a row sees a column: causal; every reference image whole; the noisy tokens see everything."""
    mask = torch.ones(one.length, one.length).tril()
    at = 0
    for piece, grid in zip(one.pieces, one.references):
        at += len(piece)
        mask[at : at + grid.num_tokens, at : at + grid.num_tokens] = 1
        at += grid.num_tokens
    mask[one.length - one.target.num_tokens :] = 1
    return mask


def position_table(config: ModelConfig, rows: int, columns: int) -> Tensor:
    side, quarter = config.pos_embed_max_size, config.hidden_size // 4
    top, left = (side - rows) // 2, (side - columns) // 2
    frequencies = 1 / 10000 ** (np.arange(quarter) / quarter)

    def wave(index: int) -> list[float]:
        angle = index * 64 / side * frequencies
        return [*np.sin(angle), *np.cos(angle)]

    table = [[wave(left + x) + wave(top + y) for x in range(columns)] for y in range(rows)]
    return torch.tensor(table, dtype=torch.float32).flatten(0, 1)


def compare(config: ModelConfig, batch: tuple[SampleLayout, ...]) -> tuple[float, dict[str, float]]:
    """Returns the relative difference of the velocities, and of the gradient of every parameter."""
    model = random_model(config)
    reference = Reference(model)
    layout, references, noisy, times = inputs(batch, seed=len(batch))
    found, expected = model(layout, references, noisy, times), reference(batch, references, noisy, times)
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(v.shape, generator=generator) for v in found]
    for velocities in (found, expected):
        torch.stack([(v * w).sum() for v, w in zip(velocities, weights)]).sum().backward()  # type: ignore[no-untyped-call]
    difference = max(relative_error(f, e) for f, e in zip(found, expected))
    theirs = reference.gradients()
    gradients = {}
    for name, parameter in model.named_parameters():
        grad = theirs[name]
        assert parameter.grad is not None
        gradients[name] = float(parameter.grad.abs().max()) if grad is None else relative_error(parameter.grad, grad)
    assert set(theirs) == set(gradients)
    return difference, gradients


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_one_sample_equals_the_authors_arrangement(index: int) -> None:
    difference, gradients = compare(SHORT_CONFIG, (SAMPLES[index],))
    assert difference < 1e-5
    assert max(gradients.values()) < 1e-5, max(gradients, key=gradients.__getitem__)


BATCHES = {
    "two, texts of unequal length": (sample((9,), (), (3, 5)), sample((4,), (), (5, 3))),
    "an edit beside text alone": (SAMPLES[0], SAMPLES[1]),
    "three: two images, an image first, a large one": (SAMPLES[2], SAMPLES[3], SAMPLES[4]),
    "three images, three shapes": (sample((5, 3, 2, 4), ((2, 3), (4, 1), (3, 3)), (4, 6)), SAMPLES[0]),
}


@pytest.mark.parametrize("name", sorted(BATCHES))
def test_a_pack_equals_the_authors_padded_batch(name: str) -> None:
    difference, gradients = compare(SHORT_CONFIG, BATCHES[name])
    assert difference < 1e-5
    assert max(gradients.values()) < 1e-5, max(gradients, key=gradients.__getitem__)


LONG_CONFIG = replace(SHORT_CONFIG, pos_embed_max_size=72, num_layers=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "one",
    [sample((30,), (), (67, 62)), sample((20, 9), ((30, 40),), (50, 60))],
    ids=["text", "edit"],
)
def test_a_sample_beyond_4096_tokens_takes_the_long_factors_as_theirs_does(one: SampleLayout) -> None:
    assert one.length > 4096
    difference, gradients = compare(LONG_CONFIG, (one,))
    assert difference < 1e-5
    assert max(gradients.values()) < 1e-5, max(gradients, key=gradients.__getitem__)
    # The case would not tell if the short factors gave nearly the same.
    with torch.no_grad():
        (long,) = random_model(LONG_CONFIG)(*inputs((one,)))
        (short,) = random_model(replace(LONG_CONFIG, original_max_position_embeddings=8192))(*inputs((one,)))
    assert relative_error(short, long) > 1e-3

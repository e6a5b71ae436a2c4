"""Small networks and packs that the tests of the model share. Every parameter is random, the zero-initialized too."""

from __future__ import annotations

import torch
from torch import Tensor

from omnigen.network.config import PHI3_LONG_FACTORS, PHI3_SHORT_FACTORS, ModelConfig
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.network.model import OmniGen

CONFIG = ModelConfig(
    hidden_size=192,
    num_layers=2,
    num_heads=2,
    intermediate_size=256,
    vocab_size=300,
    in_channels=4,
    original_max_position_embeddings=64,
    max_position_embeddings=2048,
    rope_short_factors=PHI3_SHORT_FACTORS,
    rope_long_factors=PHI3_LONG_FACTORS,
    pos_embed_max_size=24,
)


def random_model(config: ModelConfig = CONFIG, seed: int = 0) -> OmniGen:
    """Returns a network none of whose parameters is zero or constant."""
    model = OmniGen.initialized(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise, alpha=0.3 if parameter.ndim == 1 else 0.05)
    return model


def sample(texts: tuple[int, ...], references: tuple[tuple[int, int], ...], target: tuple[int, int]) -> SampleLayout:
    """Returns a sample with text pieces of the given lengths."""
    pieces = tuple(tuple((7 * i + 31 * k) % 290 + 1 for k in range(n)) for i, n in enumerate(texts))
    return SampleLayout(pieces, tuple(Grid(*grid) for grid in references), Grid(*target))


# Text only; one image; two images of several shapes; image first; one beyond 64 tokens, where the long factors start.
SAMPLES = (
    sample((9,), (), (3, 5)),
    sample((6, 4), ((2, 3),), (4, 4)),
    sample((5, 3, 7), ((3, 3), (1, 4)), (2, 6)),
    sample((0, 5), ((4, 2),), (1, 1)),
    sample((11, 6, 3), ((5, 5), (4, 6)), (6, 7)),
)


def inputs(samples: tuple[SampleLayout, ...], seed: int = 0) -> tuple[PackLayout, list[Tensor], list[Tensor], Tensor]:
    """Returns (layout, references, noisy, timesteps) for a forward pass over `samples`."""
    generator = torch.Generator().manual_seed(seed)
    layout = PackLayout.build(samples)

    def latents(grids: tuple[Grid, ...]) -> list[Tensor]:
        return [torch.randn(4, 2 * grid.rows, 2 * grid.columns, generator=generator) for grid in grids]

    timesteps = torch.rand(len(samples), generator=generator)
    return layout, latents(layout.reference_grids), latents(layout.target_grids), timesteps


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Returns the greatest difference over the greatest magnitude."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())

"""Samples in the proportions of OmniGen's late training, for the benchmarks of the trainer: sizes only, no pictures.

Half text to image, a fifth subjects with one to three images, a tenth each of conditions, edits and other tasks with
one image; seven aspect ratios; texts of 40 to 150 tokens.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from omnigen.network.layout import Grid, PackLayout, SampleLayout

ASPECT_RATIOS = ((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16))
TASKS = {"text_to_image": 0.5, "subject": 0.2, "condition": 0.1, "edit": 0.1, "other": 0.1}
TOKEN_PIXELS = 16


def grid_of(side: int, ratio: tuple[int, int]) -> Grid:
    """Returns the tokens of an image whose longer side is `side` pixels, of the aspect ratio (width, height)."""
    longest = side // TOKEN_PIXELS
    width, height = ratio
    return Grid(max(1, longest * height // max(ratio)), max(1, longest * width // max(ratio)))


def mixture(count: int, side: int, vocab_size: int, seed: int = 0) -> list[SampleLayout]:
    """Returns `count` samples; each task as often as its share of them, in random order."""
    generator = random.Random(seed)
    tasks = [task for task, share in TASKS.items() for _ in range(round(share * count))]
    tasks = (tasks + ["text_to_image"] * count)[:count]
    generator.shuffle(tasks)
    return [_sample(task, side, vocab_size, generator) for task in tasks]


def _sample(task: str, side: int, vocab_size: int, generator: random.Random) -> SampleLayout:
    target = grid_of(side, generator.choice(ASPECT_RATIOS))
    if task == "text_to_image":
        references = []
    elif task == "subject":
        references = [grid_of(side, generator.choice(ASPECT_RATIOS)) for _ in range(generator.randint(1, 3))]
    else:
        references = [target]
    words = generator.randint(40, 150)
    cuts = sorted(generator.randint(10, words - 10) for _ in references)
    lengths = [end - start for start, end in zip([0, *cuts], [*cuts, words])]
    pieces = tuple(tuple(generator.randrange(3, vocab_size) for _ in range(length)) for length in lengths)
    return SampleLayout(pieces, tuple(references), target)


def latents(layout: PackLayout, channels: int, seed: int = 0) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Returns random (references, noisy targets, timesteps) for a pack, on the CPU."""
    generator = torch.Generator().manual_seed(seed)

    def draw(grids: tuple[Grid, ...]) -> list[Tensor]:
        return [torch.randn(channels, 2 * grid.rows, 2 * grid.columns, generator=generator) for grid in grids]

    times = torch.rand(layout.num_samples, generator=generator)
    return draw(layout.reference_grids), draw(layout.target_grids), times

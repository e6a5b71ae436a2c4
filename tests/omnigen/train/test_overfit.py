"""Model, objective, packing and sampler belong together: a network overfits four samples and draws them again."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import yaml

from omnigen.generate.options import GenerationOptions
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.train.run import train
from tests.support.training_shards import NAMES, make_sample
from x2i.image import decode
from x2i.store.shards import shard_name, training_shard

TASKS = ("text_to_image", "canny_to_image", "few_shot", "text_to_image")
# Not the astronaut: 32 of 64 frequencies give that picture back at 23 dB, which leaves the network nothing to err.
PICTURES = ("clock", *NAMES[1:])
SIDE = 64


def peak_signal_to_noise(image: np.ndarray, original: np.ndarray) -> float:
    """In dB, of uint8 images."""
    error = np.square(image.astype(float) - original.astype(float)).mean()
    return float(10 * np.log10(255**2 / error))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_sampler_gives_back_four_samples_without_one_and_three_inputs_learned_by_heart(tmp_path: Path):
    samples = [make_sample(task, name, (SIDE, SIDE)) for task, name in zip(TASKS, PICTURES)]
    by_task = groupby(sorted(samples, key=lambda made: made[0].task), key=lambda made: made[0].task)
    for task, made in by_task:
        group = list(made)
        with training_shard(tmp_path / "data", shard_name(task, group[0][0].num_inputs, 0)) as writer:
            for sample, inputs, output in group:
                writer.add(sample, inputs, output)
    settings = {
        "data": {"shards": ["data"], "validation_fraction": 0.0, "max_side": SIDE},
        # 32 channels, 128 numbers a token: the network's width must exceed them, or noise does not pass through it.
        "model": {"preset": "tiny", "codec": "dct:32"},
        "train": {
            "steps": 300, "packs_per_step": 1, "pack_tokens": 640, "lr": 2e-3, "warmup": 30, "schedule": "cosine",
            "min_lr_ratio": 0.02, "ema_decay": 0.98, "dropout_text": 0.0, "dropout_images": 0.0, "dropout_both": 0.0,
            "edit_weighting": False,
        },
        "log": {"every": 50, "validate_every": 0, "sample_every": 0},
        "checkpoint": {"every": 0},
    }  # fmt: skip
    (tmp_path / "overfit.yaml").write_text(yaml.safe_dump(settings))
    run = train(tmp_path / "overfit.yaml", [], "auto", tmp_path / "run")

    pipeline = OmniGenPipeline.from_pretrained(run, device="cpu")
    assert pipeline.max_side == SIDE
    options = GenerationOptions(height=SIDE, width=SIDE, steps=25, guidance=1.0, image_guidance=0.0)
    likeness: dict[str, float] = {}
    for sample, inputs, output in samples:
        (picture,) = pipeline.draw(sample.instruction, [decode(image.data) for image in inputs], options)
        likeness[sample.key] = peak_signal_to_noise(picture, decode(output.data))
    assert min(likeness.values()) >= 22, likeness

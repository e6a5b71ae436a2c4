"""Several seeds of one prompt together against one call each, and what bf16 weights take.

    python benchmarks/generate.py [--side 64] [--seeds 8] [--steps 10] [--rounds 3] [--threads 2]

The network has 1.8 million weights and random values: time does not depend on them. Without and with one reference
image, `together` computes all seeds in one pack whose condition is read once, `apart` calls the pipeline for each seed;
the two take turns, the best of each counts, and their latents are compared first. What is gained on a CPU comes from
larger matrix products and fewer small operations, so it shrinks as images grow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from omnigen.codecs.dct import DctCodec
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.network.config import preset
from omnigen.network.model import OmniGen
from omnigen.tokenizer import ByteTokenizer

CONFIG = preset("tiny", hidden_size=192, num_heads=4, num_layers=4, intermediate_size=384, in_channels=6)
PROMPTS = {"text": "a red house by a lake", "one reference": "<img><|image_1|></img> Make it snow."}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = OmniGen.initialized(CONFIG, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.final_layer.parameters():
            parameter.normal_(std=0.05, generator=generator)
    pipeline = OmniGenPipeline(model.eval(), ByteTokenizer(), DctCodec(6), arguments.side)
    photo = np.random.Generator(np.random.Philox(0)).integers(0, 256, (arguments.side,) * 2 + (3,), dtype=np.uint8)
    print(f"{arguments.seeds} seeds, {arguments.side} px, {arguments.steps} steps, {arguments.threads} threads")
    for name, prompt in PROMPTS.items():
        images = [photo] if "image_1" in prompt else None

        def call(seed: int, count: int, prompt: str = prompt, images: list[np.ndarray] | None = images) -> list:
            made = pipeline(
                prompt,
                images,
                seed=seed,
                num_images_per_prompt=count,
                num_inference_steps=arguments.steps,
                output_type="latent",
            )
            return list(made.images)

        def together(call: Callable[[int, int], list] = call) -> list:
            return call(0, arguments.seeds)

        def apart(call: Callable[[int, int], list] = call) -> list:
            return [call(seed, 1)[0] for seed in range(arguments.seeds)]

        error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(together(), apart()))
        seconds = {"together": float("inf"), "apart": float("inf")}
        for _ in range(arguments.rounds):
            for kind, function in (("together", together), ("apart", apart)):
                begun = time.perf_counter()
                function()
                seconds[kind] = min(seconds[kind], time.perf_counter() - begun)
        ratio = seconds["apart"] / seconds["together"]
        print(
            f"{name:14} together {seconds['together']:.2f} s, apart {seconds['apart']:.2f} s: {ratio:.2f} times as "
            f"fast, largest difference {error:.1e}"
        )
    fp32 = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    bf16 = sum(parameter.numel() * 2 for parameter in model.parameters())
    print(f"weights {fp32 / 1e6:.1f} MB in fp32, {bf16 / 1e6:.1f} MB loaded as bf16")


if __name__ == "__main__":
    main()

"""Several seeds of one prompt together against one call each; diffusers' pipeline against ours; forecast steps.

    python benchmarks/generate.py [--side 64] [--seeds 8] [--steps 10] [--rounds 3] [--threads 2]
    python benchmarks/generate.py --forecast runs/demo --steps 50      # what step caching changes, on a trained model
    python -m benchmarks.generate --versus [OmniGen-v1-diffusers]      # random weights, or diffusers' layout

Without a folder the network has 1.8 million weights and random values: time does not depend on them. Without and with
one and two reference images, `together` computes all seeds in one pack whose condition is read once, `apart` calls the
pipeline for each seed; the two take turns, the best of each counts, and their latents are compared first. What is
gained on a CPU comes from larger matrix products and fewer small operations, so it shrinks as images grow.

--versus gives both pipelines the same weights, prompts, images and number of steps, at batch 1; that their latents are
equal is shown first, for a prompt longer than the negative one (diffusers takes the positions of all rows from the
first). --forecast compares the final latents and pictures with those of all steps, for the prompts in a file or one of
its own. The load of the machine is printed: numbers of a busy one say little.
"""

from __future__ import annotations

import argparse
import inspect
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnigen.codecs.dct import DctCodec
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.network.config import preset
from omnigen.network.model import OmniGen
from omnigen.tokenizer import ByteTokenizer
from x2i.sample import placeholder

CONFIG = preset("tiny", hidden_size=192, num_heads=4, num_layers=4, intermediate_size=384, in_channels=6)
PROMPTS = (
    "a red house by a lake",
    f"{placeholder(1)} Make it snow.",
    f"The house of {placeholder(1)} in the weather of {placeholder(2)}.",
)
"""The k-th one has k reference images."""
FORECASTS = ((2, 0), (2, 1), (3, 1), (4, 1), (2, 2))
"""Pairs (interval, order)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--forecast", type=Path, help="a model or a run")
    parser.add_argument("--prompts", type=Path, help="with --forecast: a file of prompts, one a line")
    parser.add_argument("--versus", nargs="?", const="", help="a model in diffusers' layout; made if none is named")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.side} px, {arguments.steps} steps, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    if arguments.forecast:
        forecast(OmniGenPipeline.from_pretrained(arguments.forecast), arguments)
    elif arguments.versus is not None:
        with tempfile.TemporaryDirectory() as folder:
            versus(Path(arguments.versus) if arguments.versus else made_model(Path(folder)), arguments)
    else:
        seeds_together(arguments)


def seeds_together(arguments: argparse.Namespace) -> None:
    """Prints how much faster the seeds of a prompt are together, and what bf16 weights take."""
    model = OmniGen.initialized(CONFIG, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.final_layer.parameters():
            parameter.normal_(std=0.05, generator=generator)
    pipeline = OmniGenPipeline(model.eval(), ByteTokenizer(), DctCodec(6), arguments.side)
    for count, prompt in enumerate(PROMPTS):

        def call(seed: int, number: int, prompt: str = prompt, count: int = count) -> list:
            images = photographs(arguments.side, count)
            made = pipeline(
                prompt,
                images,
                seed=seed,
                num_images_per_prompt=number,
                num_inference_steps=arguments.steps,
                output_type="latent",
            )
            return list(made.images)

        def together(call: Callable[[int, int], list] = call) -> list:
            return call(0, arguments.seeds)

        def apart(call: Callable[[int, int], list] = call) -> list:
            return [call(seed, 1)[0] for seed in range(arguments.seeds)]

        error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(together(), apart()))
        seconds = best({"together": together, "apart": apart}, arguments.rounds)
        print(
            f"{count} references: {arguments.seeds} seeds together {seconds['together']:.2f} s, apart "
            f"{seconds['apart']:.2f} s: {seconds['apart'] / seconds['together']:.2f} times as fast, largest difference "
            f"{error:.1e}"
        )
    fp32 = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    bf16 = sum(parameter.numel() * 2 for parameter in model.parameters())
    print(f"weights {fp32 / 1e6:.1f} MB in fp32, {bf16 / 1e6:.1f} MB loaded as bf16")


def made_model(folder: Path) -> Path:
    """Returns a folder in diffusers' layout with random weights: a network of the tests', twice as deep."""
    from omnigen.generate.find_model import find_model
    from omnigen.weights.convert import convert
    from omnigen.weights.options import Conversion
    from tests.support.model_folders import published
    from tests.support.tiny_network import CONFIG as TESTED

    network = replace(
        TESTED,
        num_layers=4,
        intermediate_size=384,
        pos_embed_max_size=192,
        original_max_position_embeddings=4096,
        max_position_embeddings=131_072,
    )
    source = find_model(published(folder / "published", config=network))
    convert(source, folder / "diffusers", Conversion("diffusers"))
    return folder / "diffusers"


def versus(folder: Path, arguments: argparse.Namespace) -> None:
    """Prints how much faster ours is than diffusers' pipeline, without and with reference images."""
    from diffusers import OmniGenPipeline as TheirPipeline

    theirs = TheirPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    ours = OmniGenPipeline.from_pretrained(folder, device="cpu" if theirs.device.type == "cpu" else "auto")
    print(f"largest difference of the latents {versus_error(ours, theirs, arguments):.1e}")
    for count, prompt in enumerate(PROMPTS):
        images = photographs(arguments.side, count)
        given: dict[str, Any] = {
            "height": arguments.side,
            "width": arguments.side,
            "num_inference_steps": arguments.steps,
            "output_type": "latent",
        }

        def draw_theirs(prompt: str = prompt, images: list = images, given: dict[str, Any] = given) -> Any:
            from PIL import Image

            pictures = [[Image.fromarray(image) for image in images]] if images else None
            return theirs([prompt], pictures, **given)

        def draw_ours(prompt: str = prompt, images: list = images, given: dict[str, Any] = given) -> Any:
            return ours(prompt, images, **given)

        seconds = best({"ours": draw_ours, "diffusers": draw_theirs}, arguments.rounds)
        print(
            f"{count} references: ours {seconds['ours']:.2f} s, diffusers {seconds['diffusers']:.2f} s: "
            f"{seconds['diffusers'] / seconds['ours']:.2f} times as fast"
        )


def versus_error(ours: OmniGenPipeline, theirs: Any, arguments: argparse.Namespace) -> float:
    """Returns the largest difference of the two pipelines' latents over the largest latent, with guidance."""
    side = arguments.side // ours.codec.downsample
    given: dict[str, Any] = {
        "height": arguments.side,
        "width": arguments.side,
        "num_inference_steps": arguments.steps,
        "latents": torch.randn(1, ours.codec.channels, side, side, generator=torch.Generator().manual_seed(0)),
        "output_type": "latent",
    }
    prompt = PROMPTS[0] * 100
    negative = inspect.signature(theirs.multimodal_processor.__call__).parameters["negative_prompt"].default
    expected = theirs([prompt], None, **given).images[0]
    found = ours(prompt, negative_prompt=negative, **given).images[0]
    return float((found - expected).abs().max() / expected.abs().max())


def forecast(pipeline: OmniGenPipeline, arguments: argparse.Namespace) -> None:
    """Prints, by interval and order, the steps that are computed, and how far latents and pictures move."""

    prompts = arguments.prompts.read_text(encoding="utf-8").splitlines() if arguments.prompts else [PROMPTS[0]]

    def draw(steps: int = arguments.steps, **given: Any) -> list[torch.Tensor]:
        size: dict[str, Any] = {
            "height": arguments.side,
            "width": arguments.side,
            "num_images_per_prompt": arguments.seeds,
        }
        return list(pipeline(prompts, num_inference_steps=steps, output_type="latent", **size, **given).images)

    exact = draw()
    pictures = pipeline.decode(exact)
    fewer = ("half the steps", draw(-(-arguments.steps // 2)))
    found = [(f"interval {n}, order {k}", draw(cache_interval=n, cache_order=k)) for n, k in FORECASTS]
    for name, latents in [*found, fewer]:
        errors = [float((a - b).norm() / b.norm()) for a, b in zip(latents, exact)]
        differences = [(np.asarray(a, np.float64) - b) ** 2 for a, b in zip(pipeline.decode(latents), pictures)]
        psnr = [10 * np.log10(255**2 / max(float(each.mean()), 1e-9)) for each in differences]
        print(f"{name:22} latents {np.mean(errors):.2%} (most {max(errors):.2%}), pictures {np.mean(psnr):.1f} dB")


def photographs(side: int, count: int) -> list[np.ndarray]:
    """Returns `count` images of noise."""
    return [
        np.random.Generator(np.random.Philox(number)).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for number in range(count)
    ]


def best(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the best seconds of each; they take turns."""
    seconds = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, function in contenders.items():
            begun = time.perf_counter()
            function()
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    return seconds


if __name__ == "__main__":
    main()

"""Sampling: Euler on a known flow, guidance by hand, the prompt cache, and the whole way from prompt to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from omnigen.codecs.dct import DctCodec
from omnigen.generate.kv_cache import KVCache
from omnigen.generate.options import GenerationOptions
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.generate.sampler import guidance_weights, integrate, schedule
from omnigen.images import prepare_image, to_tensor, to_uint8
from omnigen.network.config import ModelConfig, preset
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.prompt import Prompt, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import ByteTokenizer
from tests.support.tiny_network import SAMPLES, inputs, random_model, relative_error
from x2i.errors import UserError

CONFIG: ModelConfig = preset("tiny", hidden_size=64, num_heads=2, num_layers=2, intermediate_size=96, in_channels=8)
CODEC = DctCodec(8)
TOKENIZER = ByteTokenizer()
EDIT = "<img><|image_1|></img> <img><|image_2|></img> Put the second into the first."


@pytest.fixture(scope="module")
def model() -> OmniGen:
    return random_model(CONFIG).eval()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    random = np.random.Generator(np.random.Philox(0))
    return [random.integers(0, 256, (40, 70, 3), dtype=np.uint8), random.integers(0, 256, (64, 33, 3), dtype=np.uint8)]


def test_euler_reaches_the_data_on_a_straight_flow_in_any_number_of_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    noise, data = torch.randn(2, 4, 4, generator=generator)
    for steps in (1, 7):
        reached = integrate(lambda z, t: data - noise, noise, schedule(steps))
        assert torch.allclose(reached, data, atol=1e-6)


def test_euler_follows_its_recurrence() -> None:
    times = schedule(4, shift=3.0)
    z = integrate(lambda z, t: (t + 1) * z, torch.ones(1), times)
    assert float(z) == pytest.approx(math.prod(1 + (b - a) * (a + 1) for a, b in pairwise(times)))


def test_the_schedule_runs_from_0_to_1_and_bends_with_the_shift() -> None:
    assert schedule(4) == [0, 0.25, 0.5, 0.75, 1]
    assert schedule(2, shift=3.0) == [0, 0.25, 1]
    with pytest.raises(UserError, match="1 or more"):
        schedule(0)


def test_guidance_weights_are_those_of_the_formula() -> None:
    v_c, v_img, v_u = 3.0, 5.0, 11.0
    weights = guidance_weights(2.5, 1.6, has_images=True)
    by_weights = weights.full * v_c + weights.images * v_img + weights.unconditional * v_u
    assert by_weights == pytest.approx(v_u + 1.6 * (v_img - v_u) + 2.5 * (v_c - v_img))
    for weights in (guidance_weights(2.5, 1.6, has_images=False), guidance_weights(2.5, None, has_images=True)):
        assert weights.images == 0
        assert weights.full * v_c + weights.unconditional * v_u == pytest.approx(v_u + 2.5 * (v_c - v_u))


def test_the_prompt_cache_gives_the_velocities_of_the_whole_network() -> None:
    network = random_model()
    layout, references, noisy, timesteps = inputs(SAMPLES)
    cache = KVCache(network, SAMPLES, references).targets(range(len(SAMPLES)))
    with torch.no_grad():
        for scale in (1.0, -0.5):
            changed = [scale * latent for latent in noisy]
            expected = network(layout, references, changed, timesteps * abs(scale))
            found = cache.velocities(changed, timesteps * abs(scale))
            assert all(relative_error(a, b) < 1e-5 for a, b in zip(found, expected))


def by_hand(model: OmniGen, images: list[np.ndarray], guidance: float, image_guidance: float, steps: int) -> np.ndarray:
    """The sampler of OMNIGEN's paper without any of our shortcuts: one network call for each branch and step."""
    latents = [CODEC.encode(to_tensor(prepare_image(image, 64))[None])[0] for image in images]
    z = torch.randn(8, 6, 8, generator=torch.Generator().manual_seed(3))

    def velocity(prompt: Prompt, t: float) -> torch.Tensor:
        references = [latents[number - 1] for number in prompt.image_numbers]
        grids = tuple(Grid(latent.shape[1] // 2, latent.shape[2] // 2) for latent in references)
        layout = PackLayout.build([SampleLayout(prompt.pieces, grids, Grid(3, 4))])
        return model(layout, references, [z], torch.tensor([t]), attention="dense")[0]

    with torch.no_grad():
        for i in range(steps):
            v_c = velocity(build_prompt(EDIT, TOKENIZER), i / steps)
            v_img = velocity(images_only_prompt(2, TOKENIZER), i / steps)
            v_u = velocity(unconditional_prompt(TOKENIZER), i / steps)
            z = z + (v_u + image_guidance * (v_img - v_u) + guidance * (v_c - v_img)) / steps
    return to_uint8(CODEC.decode(z[None])[0])


def test_generation_equals_the_formula_written_out(model: OmniGen, images: list[np.ndarray]) -> None:
    options = GenerationOptions(height=48, width=64, steps=3, seed=3, guidance=2.5, image_guidance=1.6)
    (picture,) = OmniGenPipeline(model, TOKENIZER, CODEC, max_side=64).draw(EDIT, images, options)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    expected = by_hand(model, images, 2.5, 1.6, steps=3)
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert picture.std() > 1


def test_in_bf16_the_picture_is_nearly_the_same(model: OmniGen, images: list[np.ndarray]) -> None:
    dtypes: list[torch.dtype] = []
    hook = model.llm.layers[0].self_attn.qkv_proj.register_forward_hook(
        lambda m, a, output: dtypes.append(output.dtype)
    )
    options = GenerationOptions(height=48, width=64, steps=3, seed=3)
    exact, near = (
        OmniGenPipeline(model, TOKENIZER, CODEC, 64, bf16=bf16).draw(EDIT, images, options)[0] for bf16 in (False, True)
    )
    hook.remove()
    assert set(dtypes[:4]) == {torch.float32}  # the prompt, then three steps
    assert set(dtypes[4:]) == {torch.bfloat16}
    assert 0 < np.abs(exact.astype(int) - near).mean() < 2


def small(model: OmniGen, prompt: str, images: Sequence[np.ndarray] = (), **options: Any) -> np.ndarray:
    """A picture of 32 x 16 pixels in two steps."""
    settings = GenerationOptions(**{"height": 32, "width": 16, "steps": 2, **options})
    return OmniGenPipeline(model, TOKENIZER, CODEC).draw(prompt, images, settings)[0]


def test_the_seed_fixes_the_picture(model: OmniGen) -> None:
    def picture(seed: int) -> np.ndarray:
        return small(model, "a red house", seed=seed)

    assert np.array_equal(picture(1), picture(1))
    assert not np.array_equal(picture(1), picture(2))


def test_the_timestep_shift_is_the_models_unless_one_is_given(model: OmniGen) -> None:
    plain, shifted = small(model, "a red house"), small(model, "a red house", shift=3.0)
    assert not np.array_equal(plain, shifted)
    pipeline = OmniGenPipeline(model, TOKENIZER, CODEC, shift=3.0)
    options = GenerationOptions(height=32, width=16, steps=2)
    assert np.array_equal(pipeline.draw("a red house", options=options)[0], shifted)
    assert np.array_equal(pipeline.draw("a red house", options=replace(options, shift=1.0))[0], plain)


def test_plain_guidance_needs_the_full_prompt_alone(model: OmniGen) -> None:
    calls: list[int] = []
    hook = model.time_token.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    small(model, "a house", steps=1, guidance=1.0)
    small(model, "a house", steps=1, guidance=2.0)
    hook.remove()
    assert calls == [1, 2]


def test_images_without_a_mark_are_refused_with_an_example(model: OmniGen, images: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match=r"does not mark where they belong.*<img><\|image_1\|></img>"):
        small(model, "Make it snow.", images[:1])


def test_a_mark_without_its_image_is_refused(model: OmniGen, images: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match="marks 2 image"):
        small(model, EDIT, images[:1])


@pytest.mark.parametrize("height", [0, 40, 2048])
def test_a_size_that_does_not_fit_is_refused(model: OmniGen, height: int) -> None:
    with pytest.raises(UserError, match="height: found .* multiple of 16 pixels up to 1024"):
        small(model, "a house", height=height)

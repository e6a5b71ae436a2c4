"""The pipeline as users of diffusers call it: its formulas, seeds, batches, negative prompts and precisions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnigen.codecs.dct import DctCodec
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.generate.sampler import schedule
from omnigen.network.config import ModelConfig, preset
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.prompt import NEGATIVE, Prompt, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import ByteTokenizer
from omnigen.weights import save_model
from omnigen.weights.convert import convert
from omnigen.weights.formats import read_description
from omnigen.weights.options import Conversion
from tests.support.model_folders import published
from tests.support.tiny_network import random_model, relative_error
from x2i.errors import UserError

CONFIG: ModelConfig = preset("tiny", hidden_size=64, num_heads=2, num_layers=2, intermediate_size=96, in_channels=8)
TOKENIZER = ByteTokenizer()
EDIT = "<img><|image_1|></img> Make it snow."
AUTHORS = "low quality, jpeg artifacts, ugly, duplicate, morbid, mutilated, extra fingers, mutated hands, blurry"
LARGE = {"height": 48, "width": 64, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def pipeline() -> OmniGenPipeline:
    return OmniGenPipeline(random_model(CONFIG).eval(), TOKENIZER, DctCodec(8), max_side=64)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.Generator(np.random.Philox(0)).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def noise(seed: int, size: tuple[int, int] = (6, 8)) -> torch.Tensor:
    return torch.randn(8, *size, generator=torch.Generator().manual_seed(seed))


def velocity(model: OmniGen, prompt: Prompt, references: list[torch.Tensor], z: torch.Tensor, t: float) -> torch.Tensor:
    grids = tuple(Grid(latent.shape[1] // 2, latent.shape[2] // 2) for latent in references)
    layout = PackLayout.build([SampleLayout(prompt.pieces, grids, Grid(z.shape[1] // 2, z.shape[2] // 2))])
    with torch.no_grad():
        return model(layout, references, [z], torch.tensor([t]), attention="dense")[0]


def authors(pipeline: OmniGenPipeline, z: torch.Tensor, references: list[torch.Tensor], negative: str) -> torch.Tensor:
    """The authors' loop: three whole passes a step; without images the image branch is the negative prompt."""
    text = EDIT if references else "a red house"
    conditional, nothing = build_prompt(text, TOKENIZER), build_prompt(negative, TOKENIZER)
    shown = images_only_prompt(1, TOKENIZER) if references else nothing
    for t, following in pairwise(schedule(3)):
        v_c, v_i, v_u = (
            velocity(pipeline.model, prompt, used, z, t)
            for prompt, used in ((conditional, references), (shown, references), (nothing, []))
        )
        z = z + (following - t) * (v_u + 1.6 * (v_i - v_u) + 2.5 * (v_c - v_i))
    return z


def test_with_the_authors_negative_prompt_the_latents_are_those_of_their_formula(
    pipeline: OmniGenPipeline, photo: np.ndarray
) -> None:
    from omnigen.images import to_tensor

    reference = pipeline.codec.encode(to_tensor(photo)[None])[0]
    given = {"negative_prompt": AUTHORS, "latents": noise(5)[None], "output_type": "latent", **LARGE}
    edited = pipeline(EDIT, [photo], **given).images[0]
    assert relative_error(edited, authors(pipeline, noise(5), [reference], AUTHORS)) < 1e-5
    drawn = pipeline("a red house", **{**given, "img_guidance_scale": 1.6}).images[0]
    plain = noise(5)
    conditional, nothing = build_prompt("a red house", TOKENIZER), build_prompt(AUTHORS, TOKENIZER)
    for t, following in pairwise(schedule(3)):
        v_c, v_u = (velocity(pipeline.model, prompt, [], plain, t) for prompt in (conditional, nothing))
        plain = plain + (following - t) * (v_u + 2.5 * (v_c - v_u))
    assert relative_error(drawn, plain) < 1e-5


def test_without_a_negative_prompt_the_empty_condition_is_ours_and_words_are_for_published_weights(
    pipeline: OmniGenPipeline, tmp_path: Path
) -> None:
    drawn = pipeline("a red house", latents=noise(5)[None], output_type="latent", **LARGE).images[0]
    z = noise(5)
    conditional, nothing = build_prompt("a red house", TOKENIZER), unconditional_prompt(TOKENIZER)
    for t, following in pairwise(schedule(3)):
        v_c, v_u = (velocity(pipeline.model, prompt, [], z, t) for prompt in (conditional, nothing))
        z = z + (following - t) * (v_u + 2.5 * (v_c - v_u))
    assert relative_error(drawn, z) < 1e-5
    official = published(tmp_path / "official")
    assert read_description(official).negative_prompt == NEGATIVE
    for layout in ("ours", "diffusers"):
        convert(official, tmp_path / layout, Conversion(layout))
        assert read_description(tmp_path / layout).negative_prompt == NEGATIVE
    save_model(tmp_path / "own", CONFIG, pipeline.model.state_dict(), tokenizer="bytes", codec="dct:8")
    assert read_description(tmp_path / "own").negative_prompt is None
    convert(tmp_path / "own", tmp_path / "theirs", Conversion("diffusers"))
    assert read_description(tmp_path / "theirs").negative_prompt is None


def test_a_batch_of_prompts_and_seeds_equals_single_calls(pipeline: OmniGenPipeline, photo: np.ndarray) -> None:
    prompts = ["a red house", EDIT, "a much longer prompt about a small blue boat on a lake"]
    images = [[], [Image.fromarray(photo)], []]
    batch = pipeline(prompts, images, num_images_per_prompt=3, seed=4, output_type="latent", **LARGE)
    assert batch.seeds == [4, 5, 6] * 3
    for number, latent in enumerate(batch.images):
        prompt, shown = prompts[number // 3], images[number // 3]
        single = pipeline(prompt, shown, seed=batch.seeds[number], output_type="latent", **LARGE).images[0]
        assert relative_error(latent, single) < 1e-5


def test_the_condition_of_a_prompt_is_read_once_for_all_its_seeds(pipeline: OmniGenPipeline, photo: np.ndarray) -> None:
    lengths: list[int] = []
    hook = pipeline.model.llm.layers[0].register_forward_hook(lambda m, args, out: lengths.append(len(args[0])))
    pipeline(EDIT, [photo], num_images_per_prompt=1, **LARGE)
    one = lengths.copy()
    lengths.clear()
    pipeline(EDIT, [photo], num_images_per_prompt=4, **LARGE)
    hook.remove()
    assert lengths[0] == one[0]  # three branches' conditions
    assert [steps / alone for steps, alone in zip(lengths[1:], one[1:])] == [4.0] * 3


def test_guidance_over_a_part_of_the_way_follows_the_prompt_alone_before_and_after(pipeline: OmniGenPipeline) -> None:
    times = schedule(4)
    z = noise(1)
    conditional, nothing = build_prompt("a house", TOKENIZER), unconditional_prompt(TOKENIZER)
    for t, following in pairwise(times):
        v = v_c = velocity(pipeline.model, conditional, [], z, t)
        if 0.25 <= t < 0.75:
            v_u = velocity(pipeline.model, nothing, [], z, t)
            v = v_u + 2.5 * (v_c - v_u)
        z = z + (following - t) * v
    calls: list[int] = []
    hook = pipeline.model.time_token.register_forward_hook(lambda m, a, out: calls.append(len(out)))
    found = pipeline(
        "a house",
        height=48,
        width=64,
        num_inference_steps=4,
        guidance_start=0.25,
        guidance_end=0.75,
        seed=1,
        output_type="latent",
    ).images[0]
    hook.remove()
    assert calls == [1, 2, 2, 1]
    assert relative_error(found, z) < 1e-5


def test_generators_latents_and_seeds_give_the_same_noise(pipeline: OmniGenPipeline) -> None:
    by_seed = pipeline("a house", seed=7, output_type="np", **LARGE).images[0]
    by_generator = pipeline("a house", generator=torch.Generator().manual_seed(7), output_type="np", **LARGE).images[0]
    by_latents = pipeline("a house", latents=noise(7)[None], **LARGE).images[0]
    assert np.array_equal(by_seed, by_generator)
    assert np.array_equal(by_seed, np.asarray(by_latents))
    assert by_latents.size == (64, 48)


def test_sizes_are_those_of_the_input_unless_told(pipeline: OmniGenPipeline, photo: np.ndarray) -> None:
    quick = {"num_inference_steps": 1}
    assert pipeline(EDIT, [photo], **quick).images[0].size == (64, 48)
    assert pipeline(EDIT, [photo], use_input_image_size_as_output=False, **quick).images[0].size == (64, 64)
    assert pipeline(EDIT, [photo], max_input_image_size=32, **quick).images[0].size == (32, 16)
    assert pipeline("a house", **quick).images[0].size == (64, 64)


def test_bf16_weights_are_loaded_as_bf16(tmp_path: Path, pipeline: OmniGenPipeline) -> None:
    save_model(tmp_path / "m", CONFIG, pipeline.model.state_dict(), tokenizer="bytes", codec="dct:8", image_size=64)
    half = OmniGenPipeline.from_pretrained(tmp_path / "m", device="cpu", precision="bf16")
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}
    whole = OmniGenPipeline.from_pretrained(tmp_path / "m", device="cpu")
    near, exact = (one("a house", seed=1, output_type="np", **LARGE).images[0] for one in (half, whole))
    assert 0 < np.abs(near.astype(int) - exact).mean() < 3


def test_what_does_not_fit_is_told(pipeline: OmniGenPipeline) -> None:
    with pytest.raises(UserError, match="latents: found .* expected \\(8, 6, 8\\)"):
        pipeline("a house", latents=noise(0, (4, 4))[None], **LARGE)
    with pytest.raises(UserError, match="negative_prompt: expected words alone"):
        pipeline("a house", negative_prompt="<|image_1|>", **LARGE)
    with pytest.raises(UserError, match="1 lists for 2 prompts"):
        pipeline(["a", "b"], [[]], **LARGE)
    with pytest.raises(UserError, match="guidance_end"):
        pipeline("a house", guidance_end=1.5, **LARGE)

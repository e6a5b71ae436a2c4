"""Our network equals diffusers' port of OmniGen, through the conversion of the state dict, forward and backward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnigen.network.config import ModelConfig
from omnigen.network.layout import SampleLayout
from omnigen.network.model import OmniGen
from omnigen.weights import from_diffusers, to_diffusers
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model, relative_error, sample

diffusers = pytest.importorskip("diffusers")


def theirs(model: OmniGen) -> torch.nn.Module:
    config = model.config
    other = diffusers.OmniGenTransformer2DModel(
        in_channels=config.in_channels,
        patch_size=config.patch_size,
        hidden_size=config.hidden_size,
        rms_norm_eps=config.rms_norm_eps,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_layers,
        pad_token_id=0,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        original_max_position_embeddings=config.original_max_position_embeddings,
        rope_base=int(config.rope_theta),
        rope_scaling={"short_factor": config.rope_short_factors, "long_factor": config.rope_long_factors},
        pos_embed_max_size=config.pos_embed_max_size,
    )
    other.load_state_dict(to_diffusers(model.state_dict()))
    return other


def their_velocity(other: torch.nn.Module, one: SampleLayout, seed: int) -> torch.Tensor:
    """Runs diffusers' model at batch 1, its mask and ids written out from the definition, not from our layout."""
    _, references, noisy, timesteps = inputs((one,), seed)
    ids: list[int] = []
    spans = []
    for piece, grid in zip(one.pieces, one.references):
        ids += piece
        spans.append([len(ids), len(ids) + grid.num_tokens])
        ids += [0] * grid.num_tokens
    ids += one.pieces[-1]
    mask = torch.ones(one.length, one.length).tril()
    mask[len(ids) + 1 :] = 1
    for start, end in spans:
        mask[start:end, start:end] = 1
    return other(
        hidden_states=noisy[0][None],
        timestep=timesteps,
        input_ids=torch.tensor([ids]),
        input_img_latents=[latent[None] for latent in references],
        input_image_sizes={0: spans} if spans else {},
        attention_mask=mask[None],
        position_ids=torch.arange(one.length)[None],
        return_dict=False,
    )[0][0]


@pytest.mark.parametrize("index", range(len(SAMPLES)))
@pytest.mark.parametrize("original_max", [64, 4096])
def test_velocity_equals_that_of_diffusers(index: int, original_max: int) -> None:
    model = random_model(replace(CONFIG, original_max_position_embeddings=original_max, max_position_embeddings=131072))
    one = SAMPLES[index]
    with torch.no_grad():
        expected = their_velocity(theirs(model), one, seed=index)
        (found,) = model(*inputs((one,), seed=index))
    assert relative_error(found, expected) < 1e-5


def test_the_samples_lie_on_both_sides_of_the_long_factors() -> None:
    assert {one.length > CONFIG.original_max_position_embeddings for one in SAMPLES} == {True, False}


GRADIENT_CASES = {
    "text": sample((9,), (), (3, 5)),
    "one image": sample((6, 4), ((2, 3),), (4, 4)),
    "two images": SAMPLES[2],
    "three images of three shapes": sample((5, 3, 2, 4), ((2, 3), (5, 1), (3, 3)), (4, 6)),
    "an image twice as wide": sample((3, 2), ((2, 8),), (8, 2)),
}


def gradient_differences(config: ModelConfig, one: SampleLayout) -> dict[str, float]:
    model = random_model(config)
    other = theirs(model)
    weight = torch.randn(4, 2 * one.target.rows, 2 * one.target.columns, generator=torch.Generator().manual_seed(5))
    (their_velocity(other, one, seed=1) * weight).sum().backward()
    (model(*inputs((one,), seed=1))[0] * weight).sum().backward()
    # diffusers' embedding has a padding id, whose row gets no gradient; ours is not given that id.
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in other.named_parameters()
    }
    expected = from_diffusers(gradients)
    differences = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        largest = float(expected[name].abs().max())
        differences[name] = float((parameter.grad - expected[name]).abs().max()) / (largest or 1.0)
    return differences


@pytest.mark.parametrize("name", sorted(GRADIENT_CASES))
def test_gradients_equal_those_of_diffusers(name: str) -> None:
    differences = gradient_differences(CONFIG, GRADIENT_CASES[name])
    assert max(differences.values()) < 1e-5, max(differences, key=differences.__getitem__)


BIG = replace(
    CONFIG,
    original_max_position_embeddings=4096,
    max_position_embeddings=131072,
    pos_embed_max_size=72,
    num_layers=1,
)
# The first is the last length with the short factors, the second the first with the long ones.
BIG_CASES = {
    "4096": sample((63,), (), (64, 63)),
    "4097": sample((64,), (), (64, 63)),
    "three images": sample((9, 8, 7, 6), ((30, 20), (16, 48), (32, 32)), (40, 48)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BIG_CASES))
def test_long_samples_equal_diffusers_forward_and_backward(name: str) -> None:
    one = BIG_CASES[name]
    model = random_model(BIG)
    with torch.no_grad():
        expected = their_velocity(theirs(model), one, seed=2)
        (found,) = model(*inputs((one,), seed=2))
    assert relative_error(found, expected) < 1e-5
    differences = gradient_differences(BIG, one)
    assert max(differences.values()) < 1e-5, max(differences, key=differences.__getitem__)


def test_the_long_samples_lie_on_both_sides_of_4096() -> None:
    assert [BIG_CASES[name].length for name in ("4096", "4097")] == [4096, 4097]
    assert BIG_CASES["three images"].length > 4097


def test_the_conversion_is_a_bijection() -> None:
    state = random_model().state_dict()
    converted = to_diffusers(state)
    assert set(converted) == set(theirs(random_model()).state_dict())
    back = from_diffusers(converted)
    assert set(back) == set(state)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_the_position_table_equals_that_of_diffusers() -> None:
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    from omnigen.network.embedders import position_table

    expected = get_2d_sincos_pos_embed(48, 192, base_size=64, output_type="pt").float()
    assert relative_error(position_table(48, 192)[0], expected) < 1e-6

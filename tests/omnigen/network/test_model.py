"""The network: names, count, initialization; a pack equals its samples; conditions never see noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnigen.network import blocks
from omnigen.network.blocks import Checkpointing
from omnigen.network.config import PRESETS, ModelConfig
from omnigen.network.layout import PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model, relative_error, sample


def official_keys(num_layers: int) -> set[str]:
    """The names in the published checkpoint, as OmniGen's repository defines them."""
    weight_bias = [
        "x_embedder.proj", "input_x_embedder.proj", "time_token.mlp.0", "time_token.mlp.2", "t_embedder.mlp.0",
        "t_embedder.mlp.2", "final_layer.linear", "final_layer.adaLN_modulation.1",
    ]  # fmt: skip
    layer = [
        "input_layernorm", "post_attention_layernorm", "self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj",
        "mlp.down_proj",
    ]  # fmt: skip
    keys = {f"{name}.{kind}" for name in weight_bias for kind in ("weight", "bias")}
    keys |= {f"llm.layers.{i}.{name}.weight" for i in range(num_layers) for name in layer}
    return keys | {"pos_embed", "llm.embed_tokens.weight", "llm.norm.weight"}


def test_the_full_size_network_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = OmniGen(PRESETS["phi3-mini"])
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_762_072_592
    assert set(model.state_dict()) == official_keys(32)


@pytest.mark.parametrize("implementation", ["segment", "dense"])
def test_a_pack_of_mixed_samples_equals_the_samples_one_by_one(implementation: str) -> None:
    model = random_model()
    layout, references, noisy, timesteps = inputs(SAMPLES)
    with torch.no_grad():
        packed = model(layout, references, noisy, timesteps, attention=implementation)
        for i, one in enumerate(SAMPLES):
            mine = [latent for latent, owner in zip(references, layout.reference_samples) if owner == i]
            (alone,) = model(PackLayout.build((one,)), mine, noisy[i : i + 1], timesteps[i : i + 1])
            assert relative_error(packed[i], alone) < 1e-5


@pytest.mark.parametrize("implementation", ["segment", "dense"])
def test_the_gradients_of_a_pack_are_the_sum_of_its_samples(implementation: str) -> None:
    packed, single = random_model(), random_model()
    layout, references, noisy, timesteps = inputs(SAMPLES)
    weights = [torch.randn(v.shape, generator=torch.Generator().manual_seed(i)) for i, v in enumerate(noisy)]
    velocities = packed(layout, references, noisy, timesteps, attention=implementation)
    sum((v * w).sum() for v, w in zip(velocities, weights)).backward()  # type: ignore[union-attr]
    for i, one in enumerate(SAMPLES):
        mine = [latent for latent, owner in zip(references, layout.reference_samples) if owner == i]
        (alone,) = single(PackLayout.build((one,)), mine, noisy[i : i + 1], timesteps[i : i + 1])
        (alone * weights[i]).sum().backward()
    for (name, parameter), expected in zip(packed.named_parameters(), single.parameters()):
        assert parameter.grad is not None
        assert expected.grad is not None
        assert relative_error(parameter.grad, expected.grad) < 1e-5, name


def test_checkpointing_changes_no_gradient() -> None:
    gradients: list[list[torch.Tensor | None]] = []
    modes: tuple[Checkpointing, ...] = ("none", "selective", "full")
    for checkpointing in modes:
        model = random_model()
        sum(v.square().sum() for v in model(*inputs(SAMPLES), checkpointing=checkpointing)).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*gradients))


@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
def test_a_pack_taken_in_pieces_gives_the_same(checkpointing: Checkpointing, monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[list[torch.Tensor]] = []
    for piece in (blocks.PIECE, 7):
        monkeypatch.setattr(blocks, "PIECE", piece)
        model = random_model()
        velocities = model(*inputs(SAMPLES), checkpointing=checkpointing)
        sum(v.square().sum() for v in velocities).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        results.append([*(velocity.detach() for velocity in velocities), *gradients])
    assert len(results[0]) == len(results[1])
    assert all(relative_error(a, b) < 1e-5 for a, b in zip(*results))


def test_every_parameter_has_a_gradient_in_a_pack_without_images() -> None:
    model = random_model()
    sum(v.sum() for v in model(*inputs((sample((4,), (), (2, 2)),)))).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_condition_tokens_see_neither_noise_nor_time() -> None:
    model = random_model()
    recorded: list[torch.Tensor] = []
    model.llm.norm.register_forward_hook(lambda module, args, output: recorded.append(args[0]))
    layout, references, noisy, timesteps = inputs(SAMPLES)
    with torch.no_grad():
        model(layout, references, noisy, timesteps)
        model(layout, references, [latent + 1 for latent in noisy], 1 - timesteps)
    conditions = torch.cat([layout.text_index, layout.reference_index])
    assert torch.equal(recorded[0][conditions], recorded[1][conditions])
    assert not torch.equal(recorded[0], recorded[1])


def test_a_text_token_does_not_see_later_tokens_and_an_image_sees_itself_whole() -> None:
    model = random_model()
    one = SAMPLES[1]
    changed = SampleLayout((one.pieces[0], (*one.pieces[1][:-1], 299)), one.references, one.target)
    recorded: list[torch.Tensor] = []
    model.llm.norm.register_forward_hook(lambda module, args, output: recorded.append(args[0]))
    _, references, noisy, timesteps = inputs((one,))
    moved = references[0].clone()
    moved[:, -1, -1] += 1
    with torch.no_grad():
        model(PackLayout.build((one,)), references, noisy, timesteps)
        model(PackLayout.build((changed,)), references, noisy, timesteps)
        model(PackLayout.build((one,)), [moved], noisy, timesteps)
    last_text = one.condition_length - 1
    assert torch.equal(recorded[0][:last_text], recorded[1][:last_text])
    image_start = len(one.pieces[0])
    assert torch.equal(recorded[0][:image_start], recorded[2][:image_start])
    assert not torch.isclose(recorded[0][image_start], recorded[2][image_start]).all()


def test_a_fresh_network_predicts_zero_and_depends_on_the_seed_alone() -> None:
    model = OmniGen.initialized(CONFIG, seed=3)
    with torch.no_grad():
        assert all(not velocity.any() for velocity in model(*inputs(SAMPLES)))
    torch.manual_seed(123)
    again = OmniGen.initialized(CONFIG, seed=3).state_dict()
    other = OmniGen.initialized(CONFIG, seed=4).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())
    assert not torch.equal(other["llm.layers.0.mlp.down_proj.weight"], again["llm.layers.0.mlp.down_proj.weight"])


def test_bf16_autocast_keeps_float32_parameters_and_comes_close() -> None:
    model = random_model()
    with torch.no_grad():
        exact = model(*inputs(SAMPLES))
    with torch.autocast("cpu", torch.bfloat16):
        velocities = model(*inputs(SAMPLES))
    sum(v.square().sum() for v in velocities).backward()
    assert all(v.dtype == torch.float32 for v in velocities)
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())  # type: ignore[union-attr]
    assert all(relative_error(v, e) < 0.05 for v, e in zip(velocities, exact))


def test_a_bf16_network_works_whole() -> None:
    model = random_model().to(torch.bfloat16)
    with torch.no_grad():
        assert all(v.isfinite().all() for v in model(*inputs(SAMPLES)))


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_small_presets_can_be_built(name: str) -> None:
    config: ModelConfig = replace(PRESETS[name], num_layers=1)
    model = OmniGen.initialized(config, seed=0)
    layout = PackLayout.build((sample((3,), (), (2, 2)),))
    noisy = [torch.zeros(config.in_channels, 4, 4)]
    (velocity,) = model(layout, [], noisy, torch.tensor([0.5]))
    assert velocity.shape == (config.in_channels, 4, 4)

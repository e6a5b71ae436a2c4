"""LoRA on the network: unchanged at the start, trains alone, merges and unmerges, under everything training uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from omnigen.network.model import OmniGen
from omnigen.weights.lora import (
    Adapter,
    LoraConfig,
    add_lora,
    load_lora_state,
    lora_state,
    merge_adapter,
    merge_lora,
    unmerge_adapter,
)
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model, relative_error
from x2i.errors import UserError

CONFIGURED = LoraConfig(rank=4, alpha=6.0)
PACK = inputs(SAMPLES)


def adapted(seed: int = 0, config: LoraConfig = CONFIGURED) -> OmniGen:
    """Returns the tiny network with an adapter that changes its output."""
    model = random_model()
    add_lora(model, config, seed)
    generator = torch.Generator().manual_seed(seed + 9)
    with torch.no_grad():
        for name, value in lora_state(model).items():
            if ".lora_B." in name:
                value.normal_(std=0.02, generator=generator)
    return model


def outputs(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([velocity.flatten() for velocity in model(*PACK)])


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Returns |found - expected| / |expected|."""
    return float((found - expected).norm() / expected.norm())


def test_a_new_adapter_changes_nothing_and_alone_can_be_trained() -> None:
    model = random_model()
    before, names = outputs(model), set(model.state_dict())
    add_lora(model, CONFIGURED, seed=0)
    assert torch.equal(outputs(model), before)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trainable.keys() == lora_state(model).keys() == set(model.state_dict()) - names
    assert "llm.layers.0.self_attn.qkv_proj.lora_A.weight" in trainable
    assert len(trainable) == 2 * 2 * CONFIG.num_layers
    assert sum(p.numel() for p in trainable.values()) == CONFIG.num_layers * 4 * 192 * (1 + 3 + 1 + 1)


def test_the_start_depends_on_the_seed_alone() -> None:
    states = []
    for seed in (3, 3, 4):
        model = random_model()
        torch.manual_seed(len(states))
        add_lora(model, CONFIGURED, seed)
        states.append(lora_state(model))
    down = "llm.layers.1.self_attn.o_proj.lora_A.weight"
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0][down], states[2][down])
    assert states[0][down].abs().max() <= 1 / 192**0.5


def test_alpha_and_rank_give_the_factor() -> None:
    assert LoraConfig(rank=8).scaling == 1
    assert LoraConfig(rank=4, alpha=6.0).scaling == 1.5
    assert LoraConfig(rank=16, alpha=2.0, rslora=True).scaling == 0.5


@pytest.mark.parametrize("targets", [("qkv_proj", "o_proj"), ("gate_up_proj", "down_proj", "final_layer.linear")])
def test_a_merged_network_computes_the_same_and_unmerging_returns_the_base(targets: tuple[str, ...]) -> None:
    config = LoraConfig(rank=4, alpha=6.0, targets=targets)
    base, model = random_model(), adapted(config=config)
    state, expected = {name: t.clone() for name, t in lora_state(model).items()}, outputs(model)
    assert relative_error(outputs(base), expected) > 1e-3
    merge_lora(model)
    assert set(model.state_dict()) == set(base.state_dict())
    assert distance(outputs(model), expected) < 3e-6
    unmerge_adapter(model, Adapter(config, state))
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, base.state_dict()[name], atol=1e-7, rtol=1e-6), name
    merge_adapter(base, Adapter(config, state))
    assert distance(outputs(base), expected) < 3e-6


def test_merging_is_exact_but_for_the_order_of_sums() -> None:
    """One layer in fp32, and the whole network in fp64, whose rotary angles alone are fp32."""
    model = adapted()
    layer = model.llm.layers[0].self_attn.qkv_proj
    x = torch.randn(50, 192, generator=torch.Generator().manual_seed(0))
    expected, whole = layer(x), outputs(model.double())
    model.float()
    merge_lora(model)
    assert relative_error(model.llm.layers[0].self_attn.qkv_proj(x), expected) < 1e-6
    model = adapted().double()
    merge_lora(model)
    assert distance(outputs(model), whole) < 1e-6


def test_a_state_goes_into_another_network_of_the_same_kind() -> None:
    model, other = adapted(), random_model()
    add_lora(other, CONFIGURED, seed=5)
    load_lora_state(other, lora_state(model))
    assert torch.equal(outputs(other), outputs(model))


def test_adapters_stay_in_fp32_beside_bf16_weights() -> None:
    model = random_model().bfloat16()
    add_lora(model, CONFIGURED, seed=0)
    assert {p.dtype for p in lora_state(model).values()} == {torch.float32}
    (model(*PACK)[0] ** 2).sum().backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(grad is not None and grad.dtype == torch.float32 and torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("how", ["autocast", "checkpointing", "compile"])
def test_training_with_an_adapter_works_under(how: str) -> None:
    def gradients(model: OmniGen, special: bool) -> dict[str, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=special and how == "autocast"):
            velocities = model(*PACK, checkpointing=special and how == "checkpointing")
        sum((v**2).mean() for v in velocities).backward()
        return {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}

    model = adapted()
    if how == "compile":
        for layer in model.llm.layers:
            layer.self_attn.qkv_proj.compile()
            layer.self_attn.o_proj.compile()
    expected, found = gradients(adapted(), special=False), gradients(model, special=True)
    assert found.keys() == expected.keys() == lora_state(model).keys()
    for name, grad in found.items():
        assert relative_error(grad, expected[name]) < (0.1 if how == "autocast" else 1e-4), name


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("qvk_proj",), "did you mean 'qkv_proj'"),
        (("embed_tokens",), "is a Embedding"),
        ((), "expected names of linear layers"),
    ],
)
def test_targets_that_are_not_linear_layers_are_refused(targets: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        add_lora(random_model(), LoraConfig(targets=targets), seed=0)


def test_a_state_that_does_not_fit_is_refused() -> None:
    model = adapted()
    state = lora_state(model)
    with pytest.raises(UserError, match="missing"):
        load_lora_state(model, dict(list(state.items())[1:]))
    other = random_model()
    add_lora(other, LoraConfig(rank=3), seed=0)
    with pytest.raises(UserError, match="another rank"):
        load_lora_state(other, state)
    with pytest.raises(UserError, match="no adapter"):
        load_lora_state(random_model(), state)
    with pytest.raises(UserError, match="merge it"):
        add_lora(model, CONFIGURED, seed=0)
    wider = {name.replace("layers.1", "layers.7"): tensor for name, tensor in state.items()}
    with pytest.raises(UserError, match=r"the nearest is llm\.layers\.1"):
        merge_adapter(random_model(), Adapter(CONFIGURED, wider, origin="a/b"))


def _shard(rank: int, world: int, rendezvous: str, folder: str) -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    torch.set_num_threads(1)
    model = adapted()
    for layer in model.llm.layers:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sum((v**2).mean() for v in model(*PACK)).backward()
    optimizer.step()
    gathered = {name: value.full_tensor() for name, value in lora_state(model).items()}
    if rank == 0:
        torch.save(gathered, Path(folder) / "state.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_shards_take_the_step_of_one_process(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_shard, (2, str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2)
    model = adapted()
    sum((v**2).mean() for v in model(*PACK)).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    found = torch.load(tmp_path / "state.pt", weights_only=True)
    assert found.keys() == lora_state(model).keys()
    for name, value in lora_state(model).items():
        assert relative_error(found[name], value) < 1e-5, name

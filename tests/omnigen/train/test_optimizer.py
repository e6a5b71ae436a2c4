from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from omnigen.network.model import OmniGen
from omnigen.train.config import OptimizationConfig
from omnigen.train.ema import Average
from omnigen.train.optimizer import build_optimizer, learning_rate, set_learning_rate
from tests.support.tiny_network import CONFIG
from x2i.errors import UserError


def test_the_rate_warms_up_then_stays_or_falls_along_a_cosine():
    constant = OptimizationConfig(steps=100, lr=1.0, warmup=10, schedule="constant")
    assert [learning_rate(step, constant) for step in (0, 4, 9, 10, 99)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    cosine = OptimizationConfig(steps=111, lr=1.0, warmup=10, schedule="cosine", min_lr_ratio=0.2)
    assert [learning_rate(step, cosine) for step in (10, 60, 110)] == pytest.approx([1.0, 0.6, 0.2])
    assert learning_rate(0, OptimizationConfig(lr=0.5, warmup=0)) == 0.5


def test_only_matrices_decay():
    model = nn.Sequential(nn.Linear(3, 3), nn.RMSNorm(3))
    groups = build_optimizer(model, 1.0, weight_decay=0.1).param_groups
    decays = {tuple(p.shape): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {(3, 3): 0.1, (3,): 0.0}


def test_the_average_moves_in_fp32_where_bf16_would_stand_still():
    model = nn.Linear(4, 4, bias=False)
    nn.init.ones_(model.weight)
    average = Average(model, 0.9999)
    in_bf16 = torch.ones(4, 4, dtype=torch.bfloat16)
    with torch.no_grad():
        model.weight.fill_(1.01)
    for _ in range(1000):
        average.update(model, 10**6)
        in_bf16.lerp_(model.weight.detach().bfloat16(), 1e-4)
    assert in_bf16.eq(1).all()
    expected = 1.01 - 0.01 * 0.9999**1000
    assert average.average["weight"].dtype == torch.float32
    assert average.average["weight"].flatten().tolist() == pytest.approx([expected] * 16, rel=1e-5)


def test_the_average_of_a_short_run_is_not_its_random_beginning():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.9999)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for count in range(100):
        average.update(model, count)
    assert average.average["weight"].item() > 0.999


def test_the_network_has_its_own_weights_back_after_using_the_average():
    model = nn.Linear(3, 3)
    average = Average(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1)
    own, averaged = copy.deepcopy(model.state_dict()), copy.deepcopy(average.average)
    with average.applied_to(model):
        assert model.weight.equal(averaged["weight"])
    assert all(model.state_dict()[name].equal(value) for name, value in own.items())
    assert all(average.average[name].equal(value) for name, value in averaged.items())


def test_groups_of_parameters_have_their_own_rates():
    model = OmniGen.initialized(replace(CONFIG, num_layers=1), 0)
    scales = {"fresh": 5.0, "llm.embed_tokens": 0.1, "final_layer.linear": 2.0}
    optimizer = build_optimizer(model, 1.0, lr_scales=scales)
    set_learning_rate(optimizer, 1.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["llm.embed_tokens.weight"] == pytest.approx(0.1)
    assert found["x_embedder.proj.weight"] == found["final_layer.adaLN_modulation.1.bias"] == 5.0
    assert found["final_layer.linear.weight"] == 2.0
    assert found["llm.layers.0.mlp.down_proj.weight"] == found["llm.norm.weight"] == 1.0
    assert optimizer.param_groups[0]["lr"] == 1.0  # the one that is logged
    with pytest.raises(UserError, match=r"train.lr_scales.llm.embed: no parameter"):
        build_optimizer(model, 1.0, lr_scales={"llm.embed": 2.0})

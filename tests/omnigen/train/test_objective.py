from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnigen.codecs.base import load_codec
from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.sample import Dropout, ImageReader, make_planned_sample
from omnigen.data.shards.catalog import Catalog
from omnigen.network.config import preset
from omnigen.network.model import OmniGen
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.config import OptimizationConfig
from omnigen.train.objective import (
    count_tokens,
    edit_weights,
    interpolate,
    prepare_pack,
    sample_generator,
    sample_losses,
    sample_timestep,
)

CPU = torch.device("cpu")


def packed(shards, numbers, counters=None, config=OptimizationConfig()):  # noqa: B008 - frozen
    catalog = Catalog.open([shards])
    planned_samples = [
        make_planned_sample(counter, catalog.sample_ref(number), Dropout.NONE, 32, ByteTokenizer())
        for number, counter in zip(numbers, counters or numbers)
    ]
    pack = prepare_pack(load_pack(planned_samples, ImageReader(32)), load_codec("dct:6"), config, CPU)
    assert pack is not None
    return pack


def small_model():
    tokenizer = ByteTokenizer()
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
    model = OmniGen.initialized(preset("tiny", vocab_size=tokenizer.vocab_size, in_channels=6, **sizes), 0)
    torch.nn.init.normal_(model.final_layer.linear.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return model


def test_one_is_data_and_zero_is_noise():
    data, noise = torch.ones(2, 2), torch.zeros(2, 2)
    assert interpolate(data, noise, 1.0).equal(data)
    assert interpolate(data, noise, 0.0).equal(noise)
    assert interpolate(data, noise, 0.25).equal(torch.full((2, 2), 0.25))


def test_timesteps_are_logit_normal_and_a_shift_moves_them_to_the_noise():
    generator = torch.Generator().manual_seed(0)
    drawn = np.array([sample_timestep(generator) for _ in range(4000)])
    logits = np.log(drawn / (1 - drawn))
    assert logits.mean() == pytest.approx(0, abs=0.06)
    assert logits.std() == pytest.approx(1, abs=0.04)
    shifted = [sample_timestep(torch.Generator().manual_seed(n), shift=3.0) for n in range(500)]
    plain = [sample_timestep(torch.Generator().manual_seed(n)) for n in range(500)]
    assert all(a == pytest.approx(t / (t + 3 - 3 * t)) for a, t in zip(shifted, plain))
    assert all(a < t for a, t in zip(shifted, plain))


def test_noise_depends_on_seed_draw_and_key_alone():
    def draw(*name):
        return torch.randn(5, generator=sample_generator(*name))

    assert draw(0, 1, "a").equal(draw(0, 1, "a"))
    for other in ((1, 1, "a"), (0, 2, "a"), (0, 1, "b")):
        assert not draw(0, 1, "a").equal(draw(*other))


def test_edit_weighting_follows_the_authors_numbers():
    target = torch.zeros(1, 10, 10)
    source = target.clone()
    assert edit_weights([(target, source)])[0] == (None, False)  # equal: nothing to learn but copying

    source[0, 0, :] = 1.0  # a tenth of the elements changed by 1: mean(d) = 0.1, weight 10
    weight, counts = edit_weights([(target, source)])[0]
    assert counts
    assert weight[0, 0].tolist() == pytest.approx([10.0] * 10)
    assert weight[0, 1:].eq(1).all()

    source[:] = 0.0
    source[0, 0, 0] = 0.5  # mean(d) = 0.005: 1 / mean = 200, clipped to 64
    assert edit_weights([(target, source)])[0][0][0, 0, 0] == 64

    source[:] = 0.2
    source[0, 0, :] = 1.0  # mean(d) = 0.28: 1 / mean = 3.6, clipped to 5; 0.2 is below the threshold of change
    weight, _ = edit_weights([(target, source)])[0]
    assert weight[0, 0, 0] == 5
    assert weight[0, 1, 0] == 1

    source[:] = 0.9  # mean(d) above 0.8: not an edit
    assert edit_weights([(target, source)])[0] == (None, True)


def test_only_samples_that_show_one_input_of_the_targets_size_are_weighted(shards):
    catalog = Catalog.open([shards])
    tasks = [catalog.sample_ref(number).task for number in range(len(catalog))]
    numbers = [tasks.index(task) for task in ("colorize", "denoise", "text_to_image", "few_shot")]
    pack = packed(shards, numbers)
    weighted = {task: weight is not None for task, weight in zip(pack.tasks, pack.weights)}
    assert weighted["text_to_image"] is weighted["few_shot"] is False
    assert weighted["denoise"]
    plain = packed(shards, numbers, config=OptimizationConfig(edit_weighting=False))
    assert plain.weights == [None] * 4


def test_a_pack_gives_each_sample_the_loss_it_has_alone(shards):
    model, numbers = small_model(), [0, 9, 17, 30]
    together = sample_losses(model, packed(shards, numbers))
    for place, number in enumerate(numbers):
        alone = sample_losses(model, packed(shards, [number]))
        assert together.weighted_S[place].item() == pytest.approx(alone.weighted_S[0].item(), rel=1e-5)
        assert together.plain_S[place].item() == pytest.approx(alone.plain_S[0].item(), rel=1e-5)


def test_the_loss_of_a_network_that_predicts_zero_is_the_mean_square_of_the_velocity(shards):
    pack = packed(shards, [1, 20])
    model = small_model()
    torch.nn.init.zeros_(model.final_layer.linear.weight)
    losses = sample_losses(model, pack)
    for loss, clean, noise, tokens in zip(losses.plain_S, pack.clean, pack.noise, pack.tokens):
        assert tokens == 4
        assert loss.item() / tokens == pytest.approx((clean - noise).square().mean().item(), rel=1e-5)


def test_a_sample_whose_target_is_its_input_does_not_count(shards):
    pack = packed(shards, [0, 1])
    silent = replace(pack, counted=(False, True))
    losses = sample_losses(small_model(), silent)
    assert losses.weighted_S[0] == 0
    assert losses.weighted_S[1] > 0
    assert count_tokens([silent]) == count_tokens([pack]) - 4


def test_what_is_minimized_weighs_every_element_of_a_target_and_what_is_compared_does_not(shards):
    pack, model = packed(shards, [0, 9]), small_model()
    shape = pack.clean[1].shape
    weight = torch.linspace(1, 64, pack.clean[1].numel()).reshape(shape)
    weighed = replace(pack, weights=[None, weight])
    noisy = [interpolate(x, eps, t) for x, eps, t in zip(pack.clean, pack.noise, pack.timesteps_S)]
    predicted = model(pack.layout, pack.references, noisy, pack.timesteps_S)
    errors = [(v.detach() - (x - eps)) ** 2 for v, x, eps in zip(predicted, pack.clean, pack.noise)]
    per_token = shape[0] * 2 * 2  # channels times a patch

    losses = sample_losses(model, weighed)
    assert losses.plain_S.tolist() == pytest.approx([float(error.sum()) / per_token for error in errors])
    assert losses.weighted_S[0].item() == losses.plain_S[0].item()
    assert losses.weighted_S[1].item() == pytest.approx(float((errors[1] * weight).sum()) / per_token)
    assert losses.weighted_S[1] > 10 * losses.plain_S[1]

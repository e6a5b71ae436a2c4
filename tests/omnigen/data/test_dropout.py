"""Dropout of text, of images and of both: how often, on which draws, and what is left of a sample."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen.codecs.base import load_codec
from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.sample import Dropout, DropoutRates, ImageReader, condition, make_planned_sample
from omnigen.data.order.packing import PackingState
from omnigen.data.order.sample_sequence import CatalogSequence
from omnigen.data.order.schedule import PackSchedule, ScheduleOptions
from omnigen.data.shards.catalog import Catalog
from omnigen.prompt import images_only_prompt, unconditional_prompt
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.config import OptimizationConfig
from omnigen.train.objective import prepare_pack
from tests.support.training_shards import make_shards
from x2i.sample import placeholder

TOKENIZER = ByteTokenizer()
DRAWS = 20000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    tasks = ("text_to_image", "colorize", "few_shot")
    return Catalog.open([make_shards(tmp_path_factory.mktemp("data"), tasks, sizes=((32, 32),))])


def text_of(prompt) -> str:
    """The words of a prompt of the byte tokenizer, an image as its number in brackets, special strings left out."""
    pieces = [bytes(i - 16 for i in piece if i >= 16).decode() for piece in prompt.pieces]
    marks = [f"[{number}]" for number in prompt.image_numbers]
    return "".join(part for pair in zip(pieces, [*marks, ""]) for part in pair)


@pytest.mark.parametrize(
    "rates",
    [
        DropoutRates(0.05, 0.05, 0.1),
        DropoutRates(text=0.5),
        DropoutRates(images=0.01),
        DropoutRates(both=1.0),
        DropoutRates(0.25, 0.25, 0.5),
        DropoutRates(),
    ],
)
def test_each_kind_is_as_frequent_as_asked(rates):
    found = Counter(rates.decide(1, index, f"key-{index % 7}") for index in range(DRAWS))
    asked = {Dropout.TEXT: rates.text, Dropout.IMAGES: rates.images, Dropout.BOTH: rates.both}
    asked[Dropout.NONE] = 1 - sum(asked.values())
    for kind, rate in asked.items():
        assert found[kind] / DRAWS == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / DRAWS) + 1e-12), kind


def test_draws_are_independent_of_each_other_and_of_the_seed():
    rates = DropoutRates(0.2, 0.2, 0.1)
    kinds = [rates.decide(1, index, "a") is not Dropout.NONE for index in range(DRAWS)]
    for others in (kinds[1:], [rates.decide(2, n, "a") is not Dropout.NONE for n in range(DRAWS)]):
        both = sum(a and b for a, b in zip(kinds, others)) / len(others)
        assert both == pytest.approx(0.25, abs=0.015)


def test_a_planned_run_drops_at_the_rates_whatever_the_task(catalog):
    rows = catalog.training_rows()
    schedule = PackSchedule(
        CatalogSequence(catalog, rows, dict.fromkeys(rows, 1.0), 3),
        TOKENIZER,
        ScheduleOptions(3, 32, 600, 2, DropoutRates(0.1, 0.2, 0.3)),
    )
    state, planned_samples = PackingState(), []
    for number in range(150):
        step = schedule.step(number, state)
        state = step.state
        planned_samples.extend(step.samples)
    assert len(planned_samples) > 2500
    for task in rows:
        mine = Counter(planned.dropout for planned in planned_samples if planned.ref.task == task)
        for kind, rate in ((Dropout.TEXT, 0.1), (Dropout.IMAGES, 0.2), (Dropout.BOTH, 0.3)):
            assert mine[kind] / mine.total() == pytest.approx(rate, abs=0.06), (task, kind)


def test_without_images_the_marks_go_and_the_words_stay():
    instruction = f"Turn {placeholder(1)} into {placeholder(2)}, in the style of{placeholder(1)}\n please"
    assert text_of(condition(instruction, 2, Dropout.NONE, TOKENIZER)) == (
        "Turn [1] into [2], in the style of[1]\n please"
    )
    words = condition(instruction, 2, Dropout.IMAGES, TOKENIZER)
    assert text_of(words) == "Turn into , in the style of please"
    assert words.image_numbers == ()
    assert len(words.pieces) == 1


@given(st.text(alphabet="abc <>|/img\n", max_size=30), st.integers(0, 3))
def test_no_kind_of_dropout_leaves_half_a_mark_or_loses_an_image(words, images):
    instruction = words + " ".join(placeholder(number) for number in range(1, images + 1)) + " end"
    for kind in Dropout:
        prompt = condition(instruction, images, kind, TOKENIZER)
        shown = images if kind in (Dropout.NONE, Dropout.TEXT) else 0
        assert prompt.image_numbers == tuple(range(1, shown + 1))
        assert "image_" not in text_of(prompt)


def test_without_words_the_images_stand_in_order_and_without_either_there_is_cfg():
    instruction = f"From {placeholder(2)} and {placeholder(1)} make one"
    assert condition(instruction, 2, Dropout.TEXT, TOKENIZER) == images_only_prompt(2, TOKENIZER)
    assert condition(instruction, 2, Dropout.BOTH, TOKENIZER) == unconditional_prompt(TOKENIZER)
    assert condition("A dog", 0, Dropout.TEXT, TOKENIZER) == unconditional_prompt(TOKENIZER)
    assert condition("A dog", 0, Dropout.IMAGES, TOKENIZER) == condition("A dog", 0, Dropout.NONE, TOKENIZER)


def test_an_edit_stays_an_edit_as_long_as_its_image_is_shown(catalog):
    """Edit weighting compares with the input: it holds without words, and ends where the input is not shown."""
    rows = map(catalog.sample_ref, range(len(catalog)))
    row = next(row for row in rows if row.task == "colorize" and "astronaut" in row.key)
    codec = load_codec("dct:6")
    packs = {}
    for kind in Dropout:
        batch = load_pack([make_planned_sample(7, row, kind, 32, TOKENIZER)], ImageReader(32))
        packs[kind] = prepare_pack(batch, codec, OptimizationConfig(), torch.device("cpu"))
    weighted = {kind: pack.weights[0] is not None for kind, pack in packs.items()}
    assert weighted == {Dropout.NONE: True, Dropout.TEXT: True, Dropout.IMAGES: False, Dropout.BOTH: False}
    assert packs[Dropout.NONE].weights[0].equal(packs[Dropout.TEXT].weights[0])
    assert [len(pack.references) for pack in packs.values()] == [1, 1, 0, 0]
    for pack in packs.values():
        assert pack.clean[0].equal(packs[Dropout.NONE].clean[0])
        assert pack.noise[0].equal(packs[Dropout.NONE].noise[0])

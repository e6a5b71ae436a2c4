from __future__ import annotations

import itertools

import pytest
import torch

from omnigen.data.catalog import Catalog
from omnigen.data.loader import LoadedStep, StepLoader
from omnigen.data.packing import PackingState
from omnigen.data.plan import Planner, rows_that_fit
from omnigen.data.sample import Dropout, DropoutRates, condition
from omnigen.tokenizer import ByteTokenizer
from tests.omnigen_data.photographs import make_shards
from x2i.sample import placeholder
from x2i.store.shards import find_shards

SIDE, BUDGET = 48, 600
TOKENIZER = ByteTokenizer()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    tasks = ("text_to_image", "colorize", "denoise", "few_shot")
    return make_shards(tmp_path_factory.mktemp("data"), tasks, sizes=((64, 64), (64, 32)))


def make_planner(dataset, packs_per_step=4, weights=None):
    catalog = Catalog.open([dataset], validation_fraction=0.2)
    rows = catalog.training_rows()
    return Planner(
        catalog,
        rows,
        weights or dict.fromkeys(rows, 1.0),
        tokenizer=TOKENIZER,
        seed=1,
        max_side=SIDE,
        budget=BUDGET,
        packs_per_step=packs_per_step,
        dropout=DropoutRates(0.1, 0.1, 0.1),
    )


def contents(steps: list[LoadedStep]) -> list[list[list[tuple]]]:
    """What the network would see of every pack: who, in which order, with which pixels."""
    return [
        [
            [
                (
                    s.slot.counter,
                    s.slot.row.key,
                    s.slot.dropout,
                    s.target.sum().item(),
                    *(r.sum().item() for r in s.references),
                )
                for s in pack.samples
            ]
            for pack in step.packs
        ]
        for step in steps
    ]


def load(dataset, first=0, last=3, state=None, **options):
    return list(StepLoader(make_planner(dataset), state or PackingState(), first, last, max_side=SIDE, **options))


def test_packs_are_the_same_with_any_number_of_workers(dataset):
    inline = contents(load(dataset))
    assert sum(len(pack) for step in inline for pack in step) > 30
    for workers in (1, 2):
        assert contents(load(dataset, workers=workers)) == inline


def test_packs_are_the_same_with_any_number_of_ranks(dataset):
    whole = contents(load(dataset))
    for world in (2, 3, 4):
        shares = [contents(load(dataset, rank=rank, world=world)) for rank in range(world)]
        dealt = [[shares[i % world][step][i // world] for i in range(4)] for step in range(3)]
        assert dealt == whole


def test_loading_goes_on_from_the_state_after_any_step(dataset):
    steps = load(dataset, last=4)
    for done in range(1, 4):
        rest = load(dataset, done, 4, steps[done - 1].plan.state)
        assert contents(rest) == contents(steps[done:])


def test_packs_are_full_to_95_percent_and_never_over(dataset):
    planner, state = make_planner(dataset), PackingState()
    tokens = []
    for number in range(20):
        plan = planner.step(number, state)
        state = plan.state
        tokens.extend(sum(slot.layout.length for slot in pack) for pack in plan.packs)
    assert max(tokens) <= BUDGET
    assert sum(tokens) / len(tokens) / BUDGET >= 0.95


def test_every_epoch_of_a_task_visits_each_of_its_samples_once(dataset):
    planner = make_planner(dataset)
    catalog = Catalog.open([dataset], validation_fraction=0.2)
    rows = catalog.training_rows()
    drawn = [planner.catalog_row(counter) for counter in range(400)]
    for task, numbers in rows.items():
        mine = [row for row in drawn if row in set(numbers.tolist())]
        epochs = [mine[start : start + len(numbers)] for start in range(0, len(mine) - len(numbers), len(numbers))]
        assert len(epochs) >= 3, task
        assert all(sorted(epoch) == sorted(numbers.tolist()) for epoch in epochs)
        assert any(a != b for a, b in itertools.pairwise(epochs))


def test_the_layout_that_was_planned_is_the_layout_that_is_loaded(dataset):
    for step in load(dataset, last=2):
        for slots, pack in zip(step.plan.packs, step.packs):
            assert pack.layout is not None
            assert pack.layout.num_tokens == sum(slot.layout.length for slot in slots)
            for sample in pack.samples:
                rows, columns = sample.slot.layout.target
                assert sample.target.shape == (rows * 16, columns * 16, 3)
                assert sample.target.dtype == torch.uint8
                shown = [(r * 16, c * 16, 3) for r, c in sample.slot.layout.references]
                assert [tuple(image.shape) for image in sample.references] == shown


def test_an_undecodable_image_leaves_an_empty_slot_and_moves_nothing(dataset, tmp_path):
    broken = make_shards(tmp_path, ("text_to_image", "colorize", "denoise", "few_shot"), sizes=((64, 64), (64, 32)))
    shard = next(shard for shard in find_shards(broken) if shard.name.startswith("denoise"))
    row = shard.index().to_pylist()[0]
    with open(shard.tar, "r+b") as stream:
        stream.seek(row["image_offsets"][0])
        stream.write(b"no image" * 20)
    whole, holed = load(dataset), load(broken)
    bad = {(sample.counter, sample.key) for step in holed for pack in step.packs for sample in pack.bad}
    assert {key for _, key in bad} <= {row["key"]}
    without = [[[entry for entry in pack if entry[:2] not in bad] for pack in step] for step in contents(whole)]
    assert contents(holed) == without


def test_dropout_happens_as_often_as_asked_and_depends_on_the_draw_alone():
    rates = DropoutRates(text=0.2, images=0.1, both=0.3)
    kinds = [rates.decide(5, counter, "key") for counter in range(4000)]
    for kind, rate in zip(Dropout, (0.4, 0.2, 0.1, 0.3)):
        assert kinds.count(kind) / 4000 == pytest.approx(rate, abs=0.03)
    assert kinds[17] is rates.decide(5, 17, "key")


def test_dropout_takes_away_what_its_name_says():
    text = f"Turn {placeholder(1)} into {placeholder(2)} please"
    plain, words, images, nothing = (
        condition(text, 2, kind, TOKENIZER) for kind in (Dropout.NONE, Dropout.IMAGES, Dropout.TEXT, Dropout.BOTH)
    )
    assert plain.image_numbers == images.image_numbers == (1, 2)
    assert words.image_numbers == nothing.image_numbers == ()
    assert images.num_tokens < plain.num_tokens
    assert condition("A cat", 0, Dropout.TEXT, TOKENIZER) == nothing == condition("A", 0, Dropout.BOTH, TOKENIZER)
    assert condition(placeholder(1), 1, Dropout.IMAGES, TOKENIZER) == nothing


def test_samples_too_long_for_a_pack_are_found_at_start(dataset):
    catalog = Catalog.open([dataset])
    for task, rows in catalog.training_rows().items():
        lengths = {}
        for number in rows:
            row = catalog.row(int(number))
            slots = [make_slot_of(row, kind) for kind in Dropout]
            lengths[int(number)] = max(slot.layout.length for slot in slots)
        for budget in (40, 60, 90, 120):
            kept = rows_that_fit(catalog, rows, tokenizer=TOKENIZER, max_side=SIDE, budget=budget)
            assert kept.tolist() == [number for number, length in lengths.items() if length <= budget], task


def make_slot_of(row, kind):
    from omnigen.data.sample import make_slot

    return make_slot(0, row, kind, SIDE, TOKENIZER)

from __future__ import annotations

import itertools
import os
import struct
import zlib
from dataclasses import fields

import pytest
import torch

from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.loader import LoadedStep, StepLoader
from omnigen.data.loading.sample import Dropout, DropoutRates, ImageReader, LoadedSample, condition, make_planned_sample
from omnigen.data.order.packing import PackingState
from omnigen.data.order.sample_sequence import CatalogSequence
from omnigen.data.order.schedule import PackSchedule, ScheduleOptions, rows_that_fit
from omnigen.data.shards.catalog import Catalog
from omnigen.network.layout import PackLayout
from omnigen.tokenizer import ByteTokenizer
from tests.support.training_shards import make_shards, photograph
from x2i.errors import UserError
from x2i.image import encode
from x2i.sample import placeholder
from x2i.store.files.ranges import RangeReader
from x2i.store.shards import find_shards

SIDE, BUDGET = 48, 600
TOKENIZER = ByteTokenizer()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    tasks = ("text_to_image", "colorize", "denoise", "few_shot")
    return make_shards(tmp_path_factory.mktemp("data"), tasks, sizes=((64, 64), (64, 32)))


def make_schedule(dataset, packs_per_step=4, weights=None):
    catalog = Catalog.open([dataset], validation_fraction=0.2)
    rows = catalog.training_rows()
    return PackSchedule(
        CatalogSequence(catalog, rows, weights or dict.fromkeys(rows, 1.0), 1),
        TOKENIZER,
        ScheduleOptions(1, SIDE, BUDGET, packs_per_step, DropoutRates(0.1, 0.1, 0.1)),
    )


def contents(steps: list[LoadedStep]) -> list[list[list[tuple]]]:
    """What the network would see of every pack: who, in which order, with which pixels, laid out how."""
    return [[[*map(seen, pack.samples), laid_out(pack.layout)] for pack in step.packs] for step in steps]


def seen(sample: LoadedSample) -> tuple:
    pixels = [(tuple(image.shape), image.numpy().tobytes()) for image in (*sample.references, sample.target)]
    planned = sample.planned
    return (
        planned.index,
        planned.ref.key,
        planned.ref.task,
        planned.dropout,
        planned.image_numbers,
        planned.layout,
        pixels,
    )


def laid_out(layout: PackLayout | None) -> tuple:
    if layout is None:
        return ()
    values = [getattr(layout, field.name) for field in fields(layout)]
    return tuple(value.numpy().tobytes() if isinstance(value, torch.Tensor) else value for value in values)


def load(dataset, first=0, last=3, state=None, **options):
    return list(StepLoader(make_schedule(dataset), state or PackingState(), first, last, **options))


@pytest.mark.slow
def test_packs_are_the_same_with_any_number_of_workers(dataset):
    inline = contents(load(dataset))
    assert sum(len(pack) for step in inline for pack in step) > 30
    for workers in (1, 2):
        assert contents(load(dataset, workers=workers)) == inline


def dealt(shares, world):
    return [[shares[i % world][step][i // world] for i in range(4)] for step in range(3)]


def test_packs_are_the_same_with_any_number_of_ranks(dataset):
    whole = contents(load(dataset))
    assert sum(len(pack) for step in whole for pack in step) > 30
    for world in (2, 3, 4):
        shares = [contents(load(dataset, rank=rank, world=world)) for rank in range(world)]
        assert dealt(shares, world) == whole


@pytest.mark.slow
def test_packs_are_the_same_with_any_number_of_ranks_of_several_workers(dataset):
    whole = contents(load(dataset))
    for rank, world, workers in ((1, 2, 2), (3, 4, 1)):
        share = contents(load(dataset, rank=rank, world=world, workers=workers))
        assert share == [step[rank::world] for step in whole]


def test_a_run_may_go_on_with_another_number_of_ranks_and_workers(dataset):
    whole = load(dataset)
    shares = [
        contents(load(dataset, 1, 3, whole[0].scheduled.state, rank=rank, world=2, workers=rank)) for rank in (0, 1)
    ]
    assert [[shares[i % 2][step][i // 2] for i in range(4)] for step in range(2)] == contents(whole[1:])


def test_loading_goes_on_from_the_state_after_any_step(dataset):
    steps = load(dataset, last=4)
    for done in range(1, 4):
        rest = load(dataset, done, 4, steps[done - 1].scheduled.state)
        assert contents(rest) == contents(steps[done:])


def test_packs_are_full_to_95_percent_and_never_over(dataset):
    schedule, state = make_schedule(dataset), PackingState()
    tokens = []
    for number in range(20):
        step = schedule.step(number, state)
        state = step.state
        tokens.extend(sum(planned.layout.length for planned in pack) for pack in step.packs)
    assert max(tokens) <= BUDGET
    assert sum(tokens) / len(tokens) / BUDGET >= 0.95


def test_every_epoch_of_a_task_visits_each_of_its_samples_once(dataset):
    schedule = make_schedule(dataset)
    catalog = Catalog.open([dataset], validation_fraction=0.2)
    rows = catalog.training_rows()
    drawn = [schedule.sequence.catalog_row(index) for index in range(400)]
    for task, numbers in rows.items():
        mine = [row for row in drawn if row in set(numbers.tolist())]
        epochs = [mine[start : start + len(numbers)] for start in range(0, len(mine) - len(numbers), len(numbers))]
        assert len(epochs) >= 3, task
        assert all(sorted(epoch) == sorted(numbers.tolist()) for epoch in epochs)
        assert any(a != b for a, b in itertools.pairwise(epochs))


def test_the_layout_that_was_planned_is_the_layout_that_is_loaded(dataset):
    for step in load(dataset, last=2):
        for planned_samples, pack in zip(step.scheduled.packs, step.packs):
            assert pack.layout is not None
            assert pack.layout.num_tokens == sum(planned.layout.length for planned in planned_samples)
            for sample in pack.samples:
                rows, columns = sample.planned.layout.target
                assert sample.target.shape == (rows * 16, columns * 16, 3)
                assert sample.target.dtype == torch.uint8
                shown = [(r * 16, c * 16, 3) for r, c in sample.planned.layout.references]
                assert [tuple(image.shape) for image in sample.references] == shown


def cut_jpeg(size):
    return encode(photograph("coffee", *size), "jpeg", 95)[:-400]


DAMAGE = {
    "no image": (lambda size: b"no image" * 20, "not_an_image"),
    "a truncated JPEG": (cut_jpeg, "image_truncated"),
    "an image of another size": (lambda size: encode(photograph("coffee", 16, 16), "png"), "its index says"),
    "nothing but zeros": (lambda size: b"", "not_an_image"),
    "an image of too many pixels": (lambda size: bomb(), "too_many_pixels"),
}


def bomb():
    """A PNG that claims to be 100,000 pixels wide and high."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def damaged(root, kind):
    """The dataset again, where one input image of `denoise` is replaced; returns the folder and the sample's key."""
    broken = make_shards(root, ("text_to_image", "colorize", "denoise", "few_shot"), sizes=((64, 64), (64, 32)))
    shard = next(shard for shard in find_shards(broken) if shard.name.startswith("denoise"))
    row = shard.index().to_pylist()[0]
    [offset, _], [count, _] = row["image_offsets"], row["image_bytes"]
    data = DAMAGE[kind][0](row["image_sizes"][0])
    with open(shard.tar, "r+b") as stream:
        stream.seek(offset)
        stream.write(data[:count].ljust(count, b"\0"))
    return broken, row["key"]


def assert_one_hole(whole, holed, key, reason):
    bad = [sample for step in holed for pack in step.packs for sample in pack.bad]
    assert {sample.key for sample in bad} == {key}
    assert all(reason in sample.reason and "input 1" in sample.reason for sample in bad)
    assert all("denoise" in sample.tar for sample in bad)
    empty = {sample.index for sample in bad}
    kept = [[[seen(s) for s in pack.samples if s.planned.index not in empty] for pack in step.packs] for step in whole]
    assert [[[seen(s) for s in pack.samples] for pack in step.packs] for step in holed] == kept
    assert [step.scheduled.state for step in holed] == [step.scheduled.state for step in whole]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_image_leaves_an_empty_slot_and_moves_nothing(dataset, tmp_path, kind):
    broken, key = damaged(tmp_path, kind)
    assert_one_hole(load(dataset, last=6), load(broken, last=6), key, DAMAGE[kind][1])


@pytest.mark.slow
def test_a_bad_image_in_a_worker_process_leaves_an_empty_slot_too(dataset, tmp_path):
    broken, key = damaged(tmp_path, "a truncated JPEG")
    assert_one_hole(load(dataset, last=6), load(broken, last=6, workers=2), key, "image_truncated")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_shrinks_while_training_stops_it_and_is_named(tmp_path, workers):
    root = make_shards(tmp_path, ("text_to_image", "colorize"), sizes=((64, 64),))
    schedule = make_schedule(root)
    for shard in find_shards(root):
        os.truncate(shard.tar, 1500)
    with pytest.raises(UserError, match=r"^\S+\.tar: wanted \d+ bytes at \d+, found \d+: the file is truncated"):
        list(StepLoader(schedule, PackingState(), 0, 1, workers=workers))


def test_dropout_happens_as_often_as_asked_and_depends_on_the_draw_alone():
    rates = DropoutRates(text=0.2, images=0.1, both=0.3)
    kinds = [rates.decide(5, index, "key") for index in range(4000)]
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
            row = catalog.sample_ref(int(number))
            planned_samples = [make_slot_of(row, kind) for kind in Dropout]
            lengths[int(number)] = max(planned.layout.length for planned in planned_samples)
        for budget in (40, 60, 90, 120):
            kept = rows_that_fit(catalog, rows, tokenizer=TOKENIZER, max_side=SIDE, budget=budget)
            assert kept.tolist() == [number for number, length in lengths.items() if length <= budget], task


def make_slot_of(row, kind):
    from omnigen.data.loading.sample import make_planned_sample

    return make_planned_sample(0, row, kind, SIDE, TOKENIZER)


def test_images_are_kept_as_far_as_they_fit_the_last_read_first(tmp_path):
    data = make_shards(tmp_path / "data", ("text_to_image",), ("astronaut", "chelsea", "coffee"), ((32, 32),))
    catalog = Catalog.open([data])
    planned_samples = [
        make_planned_sample(0, catalog.sample_ref(row), Dropout.NONE, 32, ByteTokenizer()) for row in range(3)
    ]
    room_for_two = 2 * 32 * 32 * 3
    files = RangeReader()
    reader, plain = ImageReader(32, cache_bytes=room_for_two, files=files), ImageReader(32, cache_bytes=0)
    for place in (0, 1, 2, 0, 2, 2, 1, 0, 1, 2, 0, 1):  # the last two are 0 and 1
        [one], [other] = (
            load_pack([planned_samples[place]], reader).samples,
            load_pack([planned_samples[place]], plain).samples,
        )
        assert one.target.equal(other.target)
    files.close()
    catalog.shards[0].tar.unlink()
    for place in (1, 0, 1):
        assert load_pack([planned_samples[place]], reader).samples
    with pytest.raises(UserError, match="not any more"):
        load_pack([planned_samples[2]], reader)

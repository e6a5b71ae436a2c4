"""A stream opens a few shards at a time: each sample once an epoch, exact from any state, whoever loads it."""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest

from omnigen.data.loading.loader import StepLoader
from omnigen.data.loading.sample import DropoutRates
from omnigen.data.order.packing import PackingState
from omnigen.data.order.schedule import PackSchedule, ScheduleOptions, rows_that_fit
from omnigen.data.order.stream import POSITION_BITS, ShardStream, StreamSequence, split_shards
from omnigen.data.shards.catalog import Catalog
from omnigen.data.shards.find import find_training_shards
from omnigen.tokenizer import ByteTokenizer
from tests.support.s3 import bucket  # noqa: F401  a fixture
from tests.support.training_shards import make_shards
from x2i.errors import UserError
from x2i.store.files.cache import FileCache
from x2i.store.files.ranges import RangeReader
from x2i.store.files.remote import dataset_path

TASKS = ("text_to_image", "canny_to_image", "colorize", "denoise", "inpaint")
SAMPLES = len(TASKS) * 16
SIDE, BUDGET = 48, 600


@pytest.fixture(scope="module")
def unindexed(tmp_path_factory):
    """Five shards of sixteen samples, in a folder without any index."""
    made = make_shards(tmp_path_factory.mktemp("data"), TASKS, sizes=((64, 64), (64, 32)))
    folder = tmp_path_factory.mktemp("unindexed")
    for tar in (made / "shards").glob("*.tar"):
        shutil.copy(tar, folder)
    return folder


def sequence_of(folder, at_a_time=2, seed=7, cache=None, budget=BUDGET):
    return StreamSequence(ShardStream(tuple(find_training_shards([folder])), at_a_time, cache), seed, fitting(budget))


def fitting(budget):
    def choose(catalog):
        rows = np.arange(len(catalog))
        return rows_that_fit(catalog, rows, tokenizer=ByteTokenizer(), max_side=SIDE, budget=budget)

    return choose


def load(sequence, first=0, last=6, state=None, **options):
    schedule = PackSchedule(
        sequence,
        ByteTokenizer(),
        ScheduleOptions(1, SIDE, BUDGET, 2, DropoutRates(0.1, 0.1, 0.1)),
    )
    yield from StepLoader(schedule, state or PackingState(), first, last, **options)


def seen(steps):
    return [[[sample_seen(sample) for sample in pack.samples] for pack in step.packs] for step in steps]


def sample_seen(sample):
    pixels = [image.numpy().tobytes() for image in (*sample.references, sample.target)]
    return sample.planned.index, sample.planned.ref.key, sample.planned.dropout, sample.planned.layout, pixels


def walk(sequence, count):
    number = 0
    for _ in range(count):
        yield number, sequence.sample_ref(number)
        number = sequence.next_index(number)


def test_every_epoch_draws_each_sample_once_in_groups_of_few_shards(unindexed):
    found = list(walk(sequence_of(unindexed), 3 * SAMPLES))
    keys = [row.key for _, row in found]
    epochs = [keys[start : start + SAMPLES] for start in (0, SAMPLES, 2 * SAMPLES)]
    assert [len(set(epoch)) for epoch in epochs] == [SAMPLES] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for group in {number >> POSITION_BITS for number, _ in found}:
        tars = [row.tar for number, row in found if number >> POSITION_BITS == group]
        assert len(set(tars)) == (1 if group % 3 == 2 else 2)
        assert tars != sorted(tars) or len(set(tars)) == 1


def test_the_order_depends_on_the_seed_alone(unindexed):
    once, again, other = (
        [row.key for _, row in walk(sequence_of(unindexed, seed=seed), SAMPLES)] for seed in (7, 7, 8)
    )
    assert once == again != other


def test_a_run_that_goes_on_opens_no_shard_that_is_past(tmp_path):
    made = make_shards(tmp_path / "data", sizes=((48, 48), (48, 32), (32, 48), (32, 32)))  # eight shards
    stream = ShardStream(tuple(find_training_shards([made])), 1)
    steps = list(load(StreamSequence(stream, 7, fitting(BUDGET)), last=3))
    state = steps[1].scheduled.state
    groups = {number >> POSITION_BITS for number in (*state.waiting, state.next)}
    assert 1 <= min(groups) <= max(groups) <= 5
    for group in range(min(groups)):
        [shard] = stream.group(group, 7)
        shard.tar.path.unlink()
        shard.index.path.unlink()
    goes_on = load(StreamSequence(stream, 7, fitting(BUDGET)), 2, 3, state)
    assert seen(goes_on) == seen(steps[2:])


@pytest.mark.slow
def test_ranks_and_workers_change_nothing(unindexed):
    whole = seen(load(sequence_of(unindexed)))
    assert seen(load(sequence_of(unindexed), workers=2)) == whole
    shares = [seen(load(sequence_of(unindexed), rank=rank, world=2, workers=rank)) for rank in (0, 1)]
    assert [[share[0] for share in step] for step in zip(*shares)] == whole
    assert sum(len(pack) for step in whole for pack in step) > 30


def test_copies_of_shards_on_a_store_stay_within_the_cache(unindexed, bucket, tmp_path):  # noqa: F811
    store, root = fsspec.core.url_to_fs(f"{bucket}/streamed")
    for path in sorted(unindexed.iterdir()):
        store.put_file(str(path), f"{root}/{path.name}")
    sizes = sorted(path.stat().st_size for path in unindexed.iterdir())
    limit = sum(sizes[-4:]) + 200_000  # the indexes made of them lie there too
    cache = FileCache(tmp_path / "cache", limit)
    wanted = seen(load(sequence_of(unindexed, 1), last=40))
    found, copies = [], set()
    for step in load(sequence_of(f"{bucket}/streamed", 1, cache=cache), last=40):
        found += seen([step])
        kept = [path for path in cache.folder.glob("*.tar*") if path.is_file()]
        copies |= set(kept)
        assert sum(path.stat().st_size for path in kept) <= limit
    assert found == wanted
    assert len(copies) >= 5
    with pytest.raises(UserError, match=f"data.cache_bytes: found 1000, expected at least {sum(sizes[-4:])}"):
        sequence_of(f"{bucket}/streamed", 1, cache=FileCache(tmp_path / "small", 1000))
    with pytest.raises(UserError, match=r"data.cache_bytes: found 0"):
        sequence_of(f"{bucket}/streamed", 1)


def test_shards_without_an_index_stream_from_a_server_that_knows_no_ranges(unindexed, tmp_path):
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for number, path in enumerate(sorted(unindexed.iterdir()), 8):
            shutil.copy(path, tmp_path / f"{number:03d}.tar")
        url = f"http://127.0.0.1:{server.server_port}/"
        stream = ShardStream(
            tuple(find_training_shards([url + "{008..012}.tar"])), 2, FileCache(tmp_path / "cache", 10**9)
        )
        found = seen(load(StreamSequence(stream, 7, fitting(BUDGET))))
        with RangeReader() as reader, pytest.raises(UserError, match="its server ignores byte ranges"):
            reader.read(dataset_path(url + "008.tar"), 512, 10)
        server.shutdown()
    assert found == seen(load(sequence_of(unindexed)))


def test_a_damaged_shard_is_told_when_its_turn_comes(unindexed, tmp_path):
    folder = shutil.copytree(unindexed, tmp_path / "shards")
    stream = ShardStream(tuple(find_training_shards([folder])), 1)
    [damaged] = stream.group(3, 7)
    os.truncate(damaged.tar.path, 5000)
    sequence = StreamSequence(stream, 7, fitting(BUDGET))
    assert len(list(walk(sequence, 3 * 16))) == 48
    with pytest.raises(UserError, match=f"{damaged.tar.path}: .*truncated"):
        list(walk(sequence, 3 * 16 + 1))


def test_a_stream_of_which_nothing_fits_is_told(unindexed):
    with pytest.raises(UserError, match=r"longer than train\.pack_tokens"):
        list(load(sequence_of(unindexed, budget=5), last=1))


def test_samples_that_do_not_fit_are_passed_over(unindexed):
    catalog = Catalog.open([unindexed])
    short = sorted(catalog.sample_ref(number).key for number in fitting(36)(catalog))
    assert len({key.partition("-")[0] for key in short}) == 3, "two of the five shards hold nothing that fits"
    sequence = sequence_of(unindexed, at_a_time=1, budget=36)
    found = [row for _, row in walk(sequence, 2 * (len(short) + 2)) if row is not None]
    for epoch in (found[: len(short)], found[len(short) : 2 * len(short)]):
        assert sorted(row.key for row in epoch) == short


def test_whole_shards_are_held_out(unindexed):
    found = find_training_shards([unindexed])
    training, held_out = split_shards(found, 0.4, 0)
    assert (len(training), len(held_out)) == (3, 2)
    assert {shard.tar.path for shard in [*training, *held_out]} == {shard.tar.path for shard in found}
    assert split_shards(found, 0.4, 1) != (training, held_out)
    assert split_shards(found, 0.0, 0) == (found, [])
    with pytest.raises(UserError, match=r"data\.validation_fraction: found 0\.05; .* of 1 none"):
        split_shards(found[:1], 0.05, 0)


def test_numbers_in_braces_stand_for_many_paths(tmp_path):
    for name in ("a-08", "a-09", "a-10", "b-09"):
        (tmp_path / f"{name}.tar").write_bytes(b"")
    found = find_training_shards([tmp_path / "a-{08..10}.tar", tmp_path / "b-09.tar"])
    assert [shard.tar.path.name for shard in found] == ["a-08.tar", "a-09.tar", "a-10.tar", "b-09.tar"]
    with pytest.raises(UserError, match=r"a-11\.tar: no such file"):
        find_training_shards([tmp_path / "a-{08..11}.tar"])
    with pytest.raises(UserError, match="the smaller number first"):
        find_training_shards([tmp_path / "a-{10..08}.tar"])

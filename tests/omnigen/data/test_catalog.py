from __future__ import annotations

import pickle
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen.data.order.stream import split_shards
from omnigen.data.shards.catalog import Catalog, held_out_uids, task_weights
from omnigen.data.shards.find import find_training_shards
from omnigen.data.shards.index import read_shard_index
from omnigen.data.shards.sample_ref import IMAGE, SampleRef, SampleTable
from omnigen.data.shards.unique_keys import hash_texts
from tests.support.training_shards import make_sample, make_shards
from x2i.errors import UserError
from x2i.image import decode
from x2i.sample import placeholder
from x2i.store import Dataset
from x2i.store.files.tar import read_range
from x2i.store.shards import SHARD_SCHEMA, find_shards, shard_name, training_shard

TASKS = ("text_to_image", "colorize")
NAMES = ("chelsea", "coffee", "rocket")


@pytest.fixture
def dataset(tmp_path):
    return make_shards(tmp_path / "dataset", TASKS, NAMES, ((48, 32), (32, 32)))


def test_a_row_leads_to_the_pixels(dataset):
    catalog = Catalog.open([dataset])
    assert len(catalog) == 12
    assert catalog.tasks == ("colorize", "text_to_image")
    rows = [catalog.sample_ref(number) for number in range(len(catalog))]
    assert {row.key for row in rows} == {f"{t}-{n}-{w}x32" for t in TASKS for n in NAMES for w in (32, 48)}
    for row in rows:
        for offset, count, width, height in row.images:
            assert decode(read_range(row.tar, offset, count)).shape == (height, width, 3)
        assert row.num_inputs == (1 if row.task == "colorize" else 0)


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_shards_of_the_validation_part_are_held_out_whatever_the_fraction(dataset, fraction):
    for path in (dataset / "shards").glob("colorize-*"):
        path.rename(path.with_name(path.name.replace("colorize-", "colorize_validation-")))
    catalog = Catalog.open([dataset], fraction)
    assert catalog.validation_rows()["colorize"].size == 6
    assert not catalog.training_rows()["colorize"].size
    assert "text_to_image" in catalog.training_rows()
    training, held_out = split_shards(find_training_shards([dataset]), fraction, 0)
    assert [shard.tar.path.name.split("-")[0] for shard in training] == ["text_to_image"]
    assert [shard.tar.path.name.split("-")[0] for shard in held_out] == ["colorize_validation"]


def test_a_number_that_no_sample_has_is_an_error(dataset):
    catalog = Catalog.open([dataset])
    for number in (-1, len(catalog)):
        with pytest.raises(IndexError):
            catalog.sample_ref(number)


def test_rows_say_what_the_columns_hold_however_these_are_cut_into_chunks():
    words = ["naïve", "", "日本 🎨", "plain", "x" * 1000, "é"]
    keys = [f"key-{number}" for number in range(len(words))]
    tasks, tars = ("colorize", "text_to_image"), [Path("a.tar"), Path("b.tar")]
    images = np.array([(n, 2**32 - 1 - n, n + 1, n + 2) for n in range(9)], IMAGE)
    first_image = np.array([0, 1, 3, 4, 6, 7, 9])
    task_id, shard_id = np.array([0, 1, 0, 1, 0, 1], np.int16), np.array([0, 0, 0, 1, 1, 1], np.int32)
    whole = pa.array(["left out", *words, "left out"], pa.large_string())[1:-1]
    for cuts in ([0, 6], [0, 1, 6], [0, 2, 2, 4, 6]):
        pieces = pa.chunked_array([whole[a:b] for a, b in pairwise(cuts)], pa.large_string())
        table = SampleTable(
            pa.chunked_array([pa.array(keys, pa.large_string())]),
            pieces, tasks, task_id, tars, shard_id, images, first_image, np.arange(6) % 2 == 0,
        )  # fmt: skip
        for number, text in enumerate(words):
            places = tuple(images[first_image[number] : first_image[number + 1]].tolist())
            expected = SampleRef(keys[number], tasks[number % 2], text, tars[number // 3], places, number % 2 == 0)
            assert table.sample_ref(number) == expected


def test_a_folder_of_shards_is_as_good_as_a_dataset(dataset):
    assert Catalog.open([dataset / "shards"]).fingerprint() == Catalog.open([dataset]).fingerprint()


@pytest.mark.parametrize("lost", ["the end mark", "one byte of the last image", "half"])
def test_a_truncated_tar_is_refused_at_start(dataset, lost):
    shard = find_shards(dataset)[0]
    tar, last = shard.tar, shard.index().to_pylist()[-1]
    end = max(offset + size for offset, size in zip(last["image_offsets"], last["image_bytes"]))
    end = max(end, last["json_offset"] + last["json_size"])
    kept = {"the end mark": -(-end // 512) * 512, "one byte of the last image": end - 1, "half": end // 2}[lost]
    tar.write_bytes(tar.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"{tar.name}.*truncated"):
        Catalog.open([dataset])


def test_a_missing_tar_is_refused(dataset):
    tar = find_shards(dataset)[0].tar
    tar.unlink()
    with pytest.raises(UserError, match=rf"{tar.name}: missing"):
        Catalog.open([dataset])


def test_a_missing_index_is_refused(dataset):
    shard = find_shards(dataset)[1]
    shard.index_path.unlink()
    with pytest.raises(UserError, match=rf"{shard.index_path.name}: missing"):
        Catalog.open([dataset])


@pytest.mark.parametrize("text", ["", "{1}{2}", "{2}", "{1} and {17}", "{0}{1}", "<|image_2|> {1}"])
def test_an_index_whose_instructions_mark_other_images_than_the_inputs_is_refused(dataset, text):
    index = find_shards(dataset)[0].index_path
    rows = pq.read_table(index).to_pylist()
    assert rows[1]["task"] == "colorize"
    rows[1]["instruction"] = re.sub(r"\{(\d+)\}", lambda mark: placeholder(int(mark[1])), text)
    pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_SCHEMA), index)
    with pytest.raises(UserError, match=rf"{index.name}: sample {rows[1]['key']!r}: instruction"):
        Catalog.open([dataset])


@pytest.mark.parametrize("extra", [None, 2])
def test_samples_with_other_numbers_of_inputs_in_one_index_are_judged_each_by_its_own(tmp_path, extra):
    tasks = ("text_to_image", "colorize", "few_shot")
    shards = find_shards(make_shards(tmp_path / "dataset", tasks, NAMES))
    rows = [row for shard in shards for row in pq.read_table(shard.index_path).to_pylist()]
    if extra is not None:
        [one] = [row for row in rows if row["task"] == "colorize"][:1]
        one["instruction"] += placeholder(extra)
    joined = tmp_path / "joined.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_SCHEMA), joined)
    if extra is None:
        assert len(read_shard_index(joined, "joined")) == len(rows)
    else:
        with pytest.raises(UserError, match=rf"joined: sample {one['key']!r}: instruction marks images \[1, {extra}\]"):
            read_shard_index(joined, "joined")


def test_marks_may_be_repeated_and_stand_in_any_order(tmp_path):
    index = find_shards(make_shards(tmp_path / "dataset", ("few_shot",), NAMES))[0].index_path
    rows = pq.read_table(index).to_pylist()
    inputs = rows[0]["num_inputs"]
    rows[0]["instruction"] = "".join(map(placeholder, [*range(inputs, 0, -1), 1]))
    pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_SCHEMA), index)
    assert Catalog.open([index.parent]).sample_ref(0).num_inputs == inputs


def test_an_index_whose_column_names_are_damaged_is_refused(dataset):
    index = find_shards(dataset)[0].index_path
    index.write_bytes(index.read_bytes().replace(b"instruction_bytes", b"instruction\xff\xfeytes"))
    with pytest.raises(UserError, match=rf"{index.name}: not a readable Parquet"):
        Catalog.open([dataset])


def test_a_catalog_can_be_pickled_whether_or_not_it_was_read(dataset):
    catalog = Catalog.open([dataset])
    row = catalog.sample_ref(3)
    assert pickle.loads(pickle.dumps(catalog)).sample_ref(3) == row


@pytest.mark.parametrize("column", ["key", "task", "instruction"])
def test_an_index_with_letters_that_are_no_utf_8_is_refused(dataset, column):
    index = find_shards(dataset)[0].index_path
    table = pq.read_table(index)
    letters = [value.encode() for value in table.column(column).to_pylist()]
    damaged = pa.array([b"\xff" + letters[0], *letters[1:]], pa.binary()).view(pa.string())
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.schema.field(place), damaged), index)
    with pytest.raises(UserError, match=rf"{index.name}: .*UTF8"):
        Catalog.open([dataset])


def test_an_index_that_is_no_parquet_is_refused(dataset):
    index = find_shards(dataset)[0].index_path
    index.write_bytes(b"PAR1 but not really")
    with pytest.raises(UserError, match=rf"{index.name}: not a readable Parquet"):
        Catalog.open([dataset])


def test_an_index_without_a_column_is_refused(dataset):
    index = find_shards(dataset)[0].index_path
    pq.write_table(pq.read_table(index).drop_columns(["uids"]), index)
    with pytest.raises(UserError, match="column uids: expected .* found nothing"):
        Catalog.open([dataset])


def test_the_tar_of_another_shard_is_refused(dataset):
    first, second = find_shards(dataset)
    shutil.copy(first.tar, second.tar)
    with pytest.raises(UserError, match=rf"{second.tar.name}"):
        Catalog.open([dataset])


def test_a_key_that_stands_twice_is_refused(dataset):
    with training_shard(dataset, shard_name("text_to_image", 0, 1)) as writer:
        writer.add(*make_sample("text_to_image", "chelsea", (32, 32)))
    with pytest.raises(UserError, match="duplicate key 'text_to_image-chelsea-32x32', also in text_to_image-0in-00000"):
        Catalog.open([dataset])


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_tar_is_named_by_the_index_that_is_there(dataset, lost):
    Dataset.create(dataset)
    for shard in find_shards(dataset)[:lost]:
        shard.tar.unlink()
    with pytest.raises(UserError, match=r"colorize-1in-00000.tar: missing, though its index .* is there"):
        Catalog.open([dataset])


def test_a_dataset_given_twice_is_refused(dataset):
    with pytest.raises(UserError, match="listed twice"):
        Catalog.open([dataset, dataset / "shards"])


def test_two_datasets_may_use_the_same_keys(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "other")
    assert len(Catalog.open([dataset, tmp_path / "other"])) == 24


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(UserError, match="no training shards"):
        Catalog.open([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        Catalog.open([tmp_path / "nowhere"])


def test_no_held_out_photograph_is_seen_in_training(tmp_path):
    root = tmp_path / "dataset"
    photographs = [f"uid{number}" for number in range(40)]
    with training_shard(root, shard_name("subject_pair", 1, 0)) as writer:
        for number in range(200):
            sample, inputs, output = make_sample("colorize", "coins", (16, 16))
            uids = (photographs[number % 40], photographs[number * 7 % 40])
            source = type(sample.source)(uids, ("",) * 2, ("",) * 2)
            fields = {**sample.__dict__, "key": f"pair-{number}", "task": "subject_pair", "source": source}
            writer.add(type(sample)(**fields), inputs, output)
    catalog = Catalog.open([root], validation_fraction=0.2, split_seed=3)
    uids = find_shards(root)[0].index(["uids"]).column("uids").to_pylist()
    held_out = held_out_uids(photographs, 0.2, 3)
    assert 2 <= len(held_out) <= 16
    trained = {uid for row, held in zip(uids, catalog.held_out) if not held for uid in row}
    assert trained
    assert not trained & held_out
    assert all(set(row) & held_out for row, held in zip(uids, catalog.held_out) if held)


def test_more_data_moves_no_photograph_from_one_side_to_the_other():
    few, many = [f"u{number}" for number in range(50)], [f"u{number}" for number in range(500)]
    assert held_out_uids(many, 0.1, 0) & set(few) == held_out_uids(few, 0.1, 0)


def test_a_small_dataset_still_has_a_photograph_to_validate_on():
    assert len(held_out_uids(["a", "b", "c"], 1e-9, 0)) == 1
    assert not held_out_uids(["a", "b", "c"], 0.0, 0)


def test_weights_name_tasks_that_are_there(dataset):
    rows = Catalog.open([dataset]).training_rows()
    assert task_weights(rows, None) == {"colorize": 6.0, "text_to_image": 6.0}
    assert task_weights(rows, {"colorize": 0.3}) == {"colorize": 0.3, "text_to_image": 0.0}
    with pytest.raises(UserError, match="weights.colorise: .* did you mean 'colorize'"):
        task_weights(rows, {"colorise": 1.0})
    with pytest.raises(UserError, match="held out"):
        task_weights({**rows, "colorize": np.array([], dtype=np.int64)}, {"colorize": 1.0})


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=60), start=st.integers(0, 5))
@settings(deadline=None, max_examples=200)
def test_equal_texts_and_no_others_have_equal_hashes(texts, start):
    array = pa.array(texts, pa.large_string())[start:]
    hashes = hash_texts(array)
    assert len(hashes) == len(array)
    assert len(set(hashes.tolist())) == len(set(array.to_pylist()))
    assert hash_texts(pa.array(array.to_pylist(), pa.large_string())).tolist() == hashes.tolist()


def test_the_catalog_holds_out_what_the_rule_says_for_one_uid_alone(dataset):
    for fraction, seed in ((0.5, 1), (0.3, 2), (1e-9, 3), (0.0, 4)):
        catalog = Catalog.open([dataset], fraction, seed)
        held_out = held_out_uids(NAMES, fraction, seed)
        rows = [catalog.sample_ref(number) for number in range(len(catalog))]
        assert [any(name in row.key for name in held_out) for row in rows] == catalog.held_out.tolist()


def test_a_single_tar_may_be_given(dataset):
    tar = find_shards(dataset)[0].tar
    assert len(Catalog.open([tar])) == len(Catalog.open([str(tar)])) == 6
    with pytest.raises(UserError, match="listed twice"):
        Catalog.open([dataset, tar])
    with pytest.raises(UserError, match=r"nowhere\.tar: no such file"):
        Catalog.open([dataset / "nowhere.tar"])


def test_a_shard_of_our_dataset_without_any_index_is_refused(dataset):
    (dataset / "dataset.json").write_text("{}")
    for shard in find_shards(dataset):
        shard.index_path.unlink()
    for path in (dataset, find_shards(dataset)[0].tar):
        with pytest.raises(UserError, match=r"parquet: missing: .* the shard was not finished"):
            Catalog.open([path])


def test_the_fingerprint_changes_with_samples_their_order_and_the_split(dataset, tmp_path):
    here = Catalog.open([dataset], 0.4).fingerprint()
    first, second = (shard.tar for shard in find_shards(dataset))
    others = (Catalog.open([second, first], 0.4), Catalog.open([first], 0.4), Catalog.open([dataset]))
    assert Catalog.open([first, second], 0.4).fingerprint() == here
    assert len({here, *(catalog.fingerprint() for catalog in others)}) == 4

"""What a path is, and that the choice of samples shown is even, bounded and always the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from x2i.errors import UserError
from x2i.inspect.target import Kind, find_sample, open_target, select_samples
from x2i.store import Dataset


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".", Kind.DATASET),
        ("shards", Kind.SHARDS),
        ("shards/deblur-1in-00000.tar", Kind.SHARD),
        ("images/00000.tar", Kind.IMAGES),
        ("columns/quality/00000.parquet", Kind.TABLE),
        ("relations/duplicates.parquet", Kind.TABLE),
        ("shards/deblur-1in-00000.parquet", Kind.TABLE),
    ],
)
def test_a_path_is_recognized_and_its_dataset_found(dataset: Dataset, path: str, kind: Kind) -> None:
    target = open_target(dataset.root / path)
    assert target.kind is kind
    assert target.dataset is not None
    assert target.dataset.root.resolve() == dataset.root.resolve()


@pytest.mark.parametrize("name", ["nowhere", "notes.txt", "strange.tar", "empty"])
def test_what_cannot_be_shown_is_refused_with_what_was_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "strange.tar").write_bytes(b"\0" * 1024)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"expected|neither"):
        open_target(tmp_path / name)


def test_the_same_samples_are_chosen_every_time_and_a_larger_choice_keeps_them(dataset: Dataset) -> None:
    target = open_target(dataset.root)
    few, many = select_samples(target, None, 2), select_samples(target, None, 4)
    again = select_samples(target, None, 2)
    for task, views in few.shown.items():
        keys = [view.row["key"] for view in views]
        assert keys == [view.row["key"] for view in again.shown[task]]
        assert keys == [view.row["key"] for view in many.shown[task]][: len(keys)]
    assert (few.total, few.count, many.count) == (22, 12, 22)


def test_a_limit_takes_from_the_tasks_in_turn(dataset: Dataset) -> None:
    chosen = select_samples(open_target(dataset.root), None, 4, limit=9)
    assert chosen.count == 9
    assert {len(views) for views in chosen.shown.values()} <= {1, 2}
    assert len(chosen.shown) == 7


def test_one_task_alone_can_be_chosen_and_an_unknown_one_is_named(dataset: Dataset) -> None:
    assert set(select_samples(open_target(dataset.root), "deblur", 3).shown) == {"deblur"}
    with pytest.raises(UserError, match="no samples of task 'blur'; there are: canny_to_image"):
        select_samples(open_target(dataset.root), "blur", 3)


def test_a_foreign_shard_without_an_index_is_shown_all_the_same(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copy(dataset.root / "shards/deblur-1in-00000.tar", tmp_path / "train.tar")
    target = open_target(tmp_path / "train.tar")
    assert (target.kind, target.dataset) == (Kind.SHARD, None)
    view = find_sample(target, "deblur-00000-00001")
    assert view is not None
    assert view.sample.key == "deblur-00000-00001"
    assert len(view.images) == 2
    assert select_samples(target, None, 3).count == 3

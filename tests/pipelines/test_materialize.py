"""From a dataset of photographs to training shards, through the engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.commands.materialize import MaterializeStage, describe_summary, shard_bounds, stages_for
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.support import photos
from x2i.errors import UserError
from x2i.image import decode
from x2i.recipes import RECIPES
from x2i.store import Dataset
from x2i.store.shards import Shard

INLINE = RunOptions(executor=Executor.INLINE)


def sums(root: Path) -> dict[str, str]:
    files = sorted((root / "shards").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(dataset: Dataset, *stages: MaterializeStage) -> dict[str, Any]:
    summaries = execute(stages, dataset, INLINE)
    assert not any(summary.failed for summary in summaries), summaries
    return {summary.stage: summary for summary in summaries}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every recipe run on every photograph, images at most 160 px wide or high."""
    dataset = photos.write_all(tmp_path_factory.mktemp("full"))
    run(dataset, *(MaterializeStage(recipe=name, max_side=160) for name in RECIPES))
    return dataset


@pytest.fixture
def own(tmp_path: Path) -> Dataset:
    return photos.write_all(tmp_path / "own")


def test_every_recipe_makes_a_shard_of_its_task(full: Dataset) -> None:
    names = {f"{recipe.task}-{recipe.num_inputs}in-00000" for recipe in RECIPES.values()}
    assert {shard.name for shard in full.shards()} == names
    for name, recipe in RECIPES.items():
        for sample, images in full.samples(recipe.task):
            assert sample.key.startswith(f"{name}-0000")
            assert (sample.task, sample.recipe.name, sample.num_inputs) == (recipe.task, name, recipe.num_inputs)
            sizes = [decode(data).shape[1::-1] for data in images]
            assert [tuple(size) for size in sizes] == list(sample.sizes)
            assert max(max(size) for size in sizes) <= 160


def test_lineage_names_every_source_image(full: Dataset) -> None:
    names = {key: name for name, key in photos.keys().items()}
    for sample, _ in full.samples():
        source_keys = ["-".join(pair) for pair in _pairs(sample.key)]
        assert list(sample.source.uids) == [f"uid-{names[key]}" for key in source_keys]
        assert set(sample.source.licenses) == {"CC0"}
        assert all(url.startswith("https://photos.example/") for url in sample.source.urls)


def _pairs(key: str) -> list[tuple[str, str]]:
    numbers = [part for part in key.split("-")[1:] if part.isdigit()]
    return list(zip(numbers[::2], numbers[1::2]))


def test_the_output_is_the_photograph_and_the_input_is_not(full: Dataset) -> None:
    names = {key: name for name, key in photos.keys().items()}
    for sample, images in full.samples("deblur"):
        name = names["-".join(_pairs(sample.key)[0])]
        damaged, output = (decode(data).mean(axis=2) for data in images)
        expected = cv2.resize(photos.photo(name), output.shape[::-1], interpolation=cv2.INTER_AREA).mean(axis=2)
        likeness = [np.corrcoef(picture.ravel(), expected.ravel())[0, 1] for picture in (damaged, output)]
        assert likeness[1] > 0.96, name  # two rounds of JPEG lie between
        assert likeness[0] < likeness[1]


def test_maps_and_masks_are_png_and_photographs_jpeg(full: Dataset) -> None:
    (edges,) = full.shards("image_to_canny")
    assert set(map(tuple, edges.index()["image_names"].to_pylist())) == {("input_1.jpg", "output.png")}
    (masks,) = full.shards("referring_segmentation")
    assert set(map(tuple, masks.index()["image_names"].to_pylist())) == {("input_1.jpg", "output.png")}
    for _, images in full.samples("image_to_canny"):
        assert set(np.unique(decode(images[1]))) == {0, 255}


def test_all_samples_of_a_task_have_the_same_members(full: Dataset) -> None:
    for shard in full.shards():
        assert len(set(map(tuple, shard.index()["image_names"].to_pylist()))) == 1, shard.name


def test_the_few_shot_example_is_another_image(full: Dataset) -> None:
    count = 0
    for sample, _ in full.samples("few_shot"):
        example, query = sample.source.uids
        assert example != query
        count += 1
    assert count >= 5


def test_unsuitable_photographs_are_counted_by_reason(full: Dataset) -> None:
    summaries = run(full, MaterializeStage(recipe="colorize", max_side=160))
    counts = summaries["materialize-colorize"].counts
    assert counts.ok == 7
    assert counts.filtered == {"unsuitable_image": 3}
    assert counts.failed == {}


def test_a_second_run_has_nothing_to_do_and_a_fresh_one_writes_the_same_bytes(own: Dataset, tmp_path: Path) -> None:
    stages = [MaterializeStage(recipe=name, max_side=96, shard_size=4) for name in ("deblur", "few_shot", "inpaint")]
    run(own, *stages)
    before = sums(own.root)
    assert all(summary.ran == 0 for summary in run(own, *stages).values())
    other = photos.write_all(tmp_path / "other")
    for stage in reversed(stages):  # one by one, in another order
        run(other, stage)
    assert sums(other.root) == before
    assert len(before) == 2 * 3 * 3


def test_a_changed_selection_is_refused_until_overwrite_is_said(own: Dataset) -> None:
    run(own, MaterializeStage(recipe="colorize", max_side=96))
    changed = MaterializeStage(recipe="colorize", max_side=96, select={"cat": "captions.caption LIKE '%cat%'"})
    with pytest.raises(UserError, match="select"):
        execute([changed], own, INLINE)
    execute([changed], own, RunOptions(executor=Executor.INLINE, overwrite=True))
    assert [sample.source.uids for sample, _ in own.samples("colorize")] == [("uid-chelsea",)]


def test_a_column_nobody_asks_for_does_not_make_shards_stale(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    stage = MaterializeStage(recipe="deblur", max_side=64)
    run(dataset, stage)
    photos.write_quality(tmp_path)
    assert run(dataset, stage)["materialize-deblur"].ran == 0


def test_what_was_not_selected_is_counted(full: Dataset) -> None:
    where = {"big": "quality.min_side >= 150", "new": "NOT duplicates.is_duplicate"}
    summary = MaterializeStage(recipe="text_to_image", select=where, max_samples=2).plan_summary(full)
    assert summary["candidates"] == 10
    assert summary["selected"] == 2
    assert sum(summary["not_selected"].values()) == 8
    assert next(iter(summary["not_selected"])) == "has_caption"
    assert describe_summary(summary).startswith("2 of 10 candidates selected; not selected: has_caption 1, ")


def test_a_plan_record_tells_the_report_what_was_selected(full: Dataset) -> None:
    stage = MaterializeStage(recipe="text_to_image", select={"cat": "captions.caption LIKE '%cat%'"}, max_samples=3)
    recorded = json.loads(json.dumps(stage.config()))
    assert MaterializeStage.from_config(recorded) == stage


def test_every_pair_is_made_both_ways_and_near_duplicates_are_not(full: Dataset) -> None:
    made = {sample.source.uids: sample.instruction for sample, _ in full.samples("subject_pair")}
    assert set(made) == {("uid-astronaut", "uid-astronaut_face"), ("uid-astronaut_face", "uid-astronaut")}
    assert "face" in made["uid-astronaut", "uid-astronaut_face"]
    assert "orange suit" in made["uid-astronaut_face", "uid-astronaut"]
    summary = MaterializeStage(recipe="subject_pair").plan_summary(full)
    assert summary["not_selected"] == {"not_near_duplicates": 2}


def test_an_ambiguous_phrase_is_not_used(full: Dataset) -> None:
    summary = MaterializeStage(recipe="referring_segmentation").plan_summary(full)
    assert summary["not_selected"] == {"phrase_is_unique": 2}
    chosen = MaterializeStage(recipe="referring_segmentation", select={"cup": "entities.phrase = 'cup'"})
    assert chosen.plan_summary(full)["selected"] == 1


def test_max_samples_takes_an_even_choice_that_does_not_change(full: Dataset) -> None:
    def keys(most: int | None) -> list[str]:
        plan = MaterializeStage(recipe="deblur", max_samples=most).plan(full)
        return [key for part in plan for key in part.rows["key"].to_pylist()]

    assert keys(None) == sorted(keys(None))
    assert set(keys(3)) < set(keys(5)) < set(keys(None))
    assert keys(5) == sorted(keys(5))
    assert keys(5) != keys(None)[:5]


def test_shards_end_at_samples_or_bytes(full: Dataset) -> None:
    assert list(shard_bounds([1] * 5, 2, 100)) == [(0, 2), (2, 4), (4, 5)]
    assert list(shard_bounds([60, 60, 30, 500, 1], 10, 100)) == [(0, 1), (1, 3), (3, 4), (4, 5)]
    assert list(shard_bounds([], 2, 100)) == []
    parts = list(MaterializeStage(recipe="deblur", shard_bytes=100_000).plan(full))
    assert [part.id for part in parts] == [f"deblur-1in-{k:05d}" for k in range(len(parts))]
    assert len(parts) >= 3


def test_a_partition_names_the_image_partitions_it_reads(full: Dataset) -> None:
    parts = list(MaterializeStage(recipe="deblur", shard_size=4).plan(full))
    assert [list(part.inputs) for part in parts] == [["images/00000"], ["images/00001"], ["images/00002"]]


def test_a_selection_that_nothing_passes_plans_nothing(own: Dataset) -> None:
    stage = MaterializeStage(recipe="deblur", select={"never": "images.width < 0"})
    assert list(stage.plan(own)) == []
    assert stage.plan_summary(own) == {"candidates": 10, "selected": 0, "not_selected": {"never": 10}}
    assert run(own, stage)["materialize-deblur"].planned_rows == 0


def test_a_shard_without_samples_is_not_written(own: Dataset) -> None:
    flat = {"flat": "images.uid = 'uid-flat'"}
    summary = run(own, MaterializeStage(recipe="colorize", select=flat))["materialize-colorize"]
    assert summary.counts.filtered == {"unsuitable_image": 1}
    assert own.shards() == []


def test_a_damaged_source_image_is_a_failure_of_its_own_sample_alone(own: Dataset) -> None:
    row = own.images().to_pylist()[1]
    tar = own.root / "images/00000.tar"
    with open(tar, "r+b") as stream:
        stream.seek(row["offset"])
        stream.write(b"not a picture at all" * 4)
    summary = run(own, MaterializeStage(recipe="deblur", max_side=64))["materialize-deblur"]
    assert sum(summary.counts.failed.values()) == 1
    assert summary.counts.ok == 8


def test_recipes_that_lack_a_column_are_skipped_unless_asked_for(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    stages, skipped = stages_for(dataset, RECIPES, False, (), {})
    assert {stage.recipe for stage in stages} == set(RECIPES) - set(skipped)
    assert set(skipped) == {"text_to_image", "subject_pair", "canny_to_image", "referring_segmentation"}
    assert "x2i detect" in skipped["referring_segmentation"]
    with pytest.raises(UserError, match="x2i caption"):
        stages_for(dataset, ["text_to_image"], True, (), {})
    with pytest.raises(UserError, match="x2i filter"):
        MaterializeStage(recipe="deblur", select={"big": "quality.min_side > 5"}).plan_summary(dataset)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"recipe": "deblurr"}, "deblur, denoise"),
        ({"recipe": "deblur", "quality": 0}, "quality"),
        ({"recipe": "deblur", "max_side": 8}, "max_side"),
        ({"recipe": "deblur", "shard_size": 0}, "shard_size"),
    ],
)
def test_a_wrong_option_is_refused(options: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        MaterializeStage(**options)


def _command(name: str) -> Any:
    import importlib

    import typer

    app = typer.Typer()
    app.command(name)(importlib.import_module(f"pipelines.commands.{name}").command)
    return app


def test_the_commands_run_what_they_say(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    options = ["--executor", "inline", "--max-side", "64", "--max-samples", "3", "--json"]
    result = CliRunner().invoke(_command("cvtasks"), [str(tmp_path), *options, "--where", "wide=images.width > 200"])
    assert result.exit_code == 0, result.output
    assert "materialize-canny_to_image: skipped: captions has not been made: run `x2i caption` first" in result.stderr
    assert "materialize-deblur: 3 of 10 candidates selected; not selected: max_samples 7" in result.stderr
    assert {stage["stage"] for stage in json.loads(result.stdout)["stages"]} == {
        f"materialize-{name}" for name in ("image_to_canny", "deblur", "denoise", "inpaint", "colorize")
    }
    assert len(list(dataset.samples("deblur"))) == 3
    refused = CliRunner().invoke(_command("materialize"), [str(tmp_path), "--recipe", "text_to_image"])
    assert isinstance(refused.exception, UserError)


def test_shards_open_in_webdataset(full: Dataset) -> None:
    import webdataset

    for shard in full.shards():
        samples = list(webdataset.WebDataset(str(shard.tar), shardshuffle=False, empty_check=False).decode("rgb8"))
        assert [sample["__key__"] for sample in samples] == shard.index()["key"].to_pylist()
        for sample in samples:
            assert set(sample["json"]) == {
                *("key", "task", "instruction", "num_inputs", "sizes", "source", "recipe", "scores")
            }
            output = sample.get("output.jpg", sample.get("output.png"))
            assert list(output.shape[1::-1]) == sample["json"]["sizes"][-1]


def test_shards_open_in_hugging_face_datasets_with_one_set_of_features(
    full: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset

    features = set()
    for shard in full.shards():
        stream = load_dataset(
            "webdataset", data_files=str(shard.tar), split="train", streaming=True, cache_dir=str(tmp_path)
        )
        rows = list(stream)
        assert [row["__key__"] for row in rows] == shard.index()["key"].to_pylist()
        features.add(str(stream.features["json"]))
        names = Shard(shard.tar).index()["image_names"].to_pylist()[0]
        assert {name for name in rows[0] if name.endswith((".jpg", ".png"))} == set(names)
    assert len(features) == 1

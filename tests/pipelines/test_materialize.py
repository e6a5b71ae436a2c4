"""From a dataset of photographs to training shards, through the engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.planning import preview_plan
from pipelines.engine.run import execute
from pipelines.engine.stage import PlannedPartition
from pipelines.stages.materialize import (
    MaterializeStage,
    computer_vision_recipes,
    describe_counts,
    manifest_stages,
    recipe_options,
    recipe_stages,
)
from pipelines.stages.shard_options import ShardOptions
from tests.support import photos
from tests.support.command_line import typed
from x2i.errors import UserError
from x2i.image import decode
from x2i.inspect.report.funnel import read_funnel
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.plan import missing_tables
from x2i.recipes.shard_sizes import expected_bytes, shard_bounds
from x2i.store import Dataset
from x2i.store.commits import list_commits, list_stages
from x2i.store.outdated import outdated_stages
from x2i.store.shards import Shard
from x2i.tables import IMAGE_TYPE

TWO_BASES = {"bases": ["deblur", "image_to_canny"], "share": 1.0}
OPTIONS = {"few_shot": {"share": 1.0}, "two_shot": TWO_BASES, "three_shot": TWO_BASES}
INLINE = RunOptions(executor=Executor.INLINE)


def stage(name: str, **shards: Any) -> MaterializeStage:
    return MaterializeStage(recipe=name, options=OPTIONS.get(name, {}), **shards)


def sums(root: Path) -> dict[str, str]:
    files = sorted((root / "shards").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def planned_rows(stage: MaterializeStage, dataset: Dataset) -> list[Any]:
    """Returns the partitions that a stage plans."""
    return [item for item in stage.plan(dataset) if isinstance(item, PlannedPartition)]


def counts(stage: MaterializeStage, dataset: Dataset) -> dict[str, int]:
    """Returns what planning counts beside the rows."""
    return dict(preview_plan(dataset, stage).counts)


def run(dataset: Dataset, *stages: MaterializeStage) -> dict[str, Any]:
    summaries = execute(stages, dataset, INLINE)
    assert not any(summary.failed for summary in summaries), summaries
    return {summary.stage: summary for summary in summaries}


def ready(dataset: Dataset) -> list[str]:
    """Returns the recipes that need no table that the photographs have not."""
    return [name for name in RECIPES if missing_tables(dataset, make_recipe(name)) is None]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every recipe that has what it needs run on every photograph, images at most 160 px wide or high."""
    dataset = photos.write_all(tmp_path_factory.mktemp("full"))
    run(dataset, *(stage(name, max_side=160) for name in ready(dataset)))
    return dataset


@pytest.fixture
def own(tmp_path: Path) -> Dataset:
    return photos.write_all(tmp_path / "own")


def test_every_recipe_with_candidates_makes_a_shard_of_its_task(full: Dataset) -> None:
    recipes = {name: make_recipe(name) for name in ready(full) if counts(stage(name), full)["candidates"]}
    assert len(recipes) > 0.9 * len(ready(full)) > 0.7 * len(RECIPES.names())
    names = {f"{name}-{recipe.num_inputs}in-00000" for name, recipe in recipes.items()}
    assert {shard.name for shard in full.shards()} == names
    for name, recipe in recipes.items():
        for sample, images in full.samples(name):
            assert sample.key.startswith(f"{name}-0000")
            assert (sample.task, sample.recipe.name, sample.num_inputs) == (name, name, recipe.num_inputs)
            assert recipe.mirrorable or not sample.mirrorable
            sizes = [decode(data).shape[1::-1] for data in images]
            assert [tuple(size) for size in sizes] == list(sample.sizes)
            assert max(max(size) for size in sizes) <= 160


def test_what_was_just_made_is_not_called_outdated_and_is_when_an_image_column_changes(full: Dataset) -> None:
    assert outdated_stages(full.root) == []
    read = {shards: next(iter(list_commits(full.root, shards))).inputs for shards in list_stages(full.root)}
    reader, name = next((stage, name) for stage, names in read.items() for name in names if name.startswith("columns/"))
    _, column, partition = name.split("/")
    commit = full.root / "commits" / column / f"{partition}.json"
    before = commit.read_text()
    document = json.loads(before)
    document["outputs"][f"{name}.parquet"]["sha256"] = "0" * 64
    try:
        commit.write_text(json.dumps(document))
        assert reader in {stage.stage for stage in outdated_stages(full.root)}
    finally:
        commit.write_text(before)


def test_lineage_names_every_source_image(full: Dataset) -> None:
    names = {key: name for name, key in photos.keys().items()}
    for sample, _ in full.samples():
        source_keys = ["-".join(pair) for pair in _pairs(sample.key)]
        named = [f"uid-{names[key]}" for key in source_keys]
        assert list(sample.source.uids)[-len(named) :] == named
        assert len(named) == len(sample.source.uids) or sample.task in ("two_shot", "three_shot")
        assert set(sample.source.licenses) == {"CC0"}
        assert all(url.startswith("https://photos.example/") for url in sample.source.urls)


def _pairs(key: str) -> list[tuple[str, str]]:
    numbers = [part for part in key.split("-")[1:] if part.isdigit() and len(part) == 5]
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
    for name in ready(full):
        recipe = make_recipe(name)
        members = [*(f"input_{number}" for number in range(1, recipe.num_inputs + 1)), "output"]
        expected = tuple(f"{member}.{'png' if member in recipe.lossless else 'jpg'}" for member in members)
        for shard in full.shards(name):
            assert set(map(tuple, shard.index()["image_names"].to_pylist())) == {expected}
    for _, images in full.samples("image_to_canny"):
        assert set(np.unique(decode(images[1]))) == {0, 255}


def test_depth_samples_are_the_stored_maps(full: Dataset) -> None:
    names = {key: name for name, key in photos.keys().items()}
    found = {
        names[sample.key.removeprefix("image_to_depth-")]: images for sample, images in full.samples("image_to_depth")
    }
    assert set(found) == set(names.values()) - {"retina"}
    for name, (_, output) in found.items():
        shown = decode(output)
        stored = cv2.resize(photos.depth_map(name), shown.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.array_equal(shown[..., 0], np.rint(stored / 257).astype(np.uint8)), name
    recorded = counts(stage("image_to_depth"), full)
    assert recorded == {"candidates": 10, "not selected: depth_is_known": 1}
    (part,) = planned_rows(stage("image_to_depth"), full)
    assert "columns/depth/00001" in part.inputs


def test_all_samples_of_a_task_have_the_same_members(full: Dataset) -> None:
    for shard in full.shards():
        assert shard.index()["mirrorable"].to_pylist() == [
            shard.sample(row).mirrorable for row in shard.index().to_pylist()
        ]
        assert len(set(map(tuple, shard.index()["image_names"].to_pylist()))) == 1, shard.name


@pytest.mark.parametrize("task", ["few_shot", "two_shot", "three_shot"])
def test_the_few_shot_examples_are_other_images(full: Dataset, task: str) -> None:
    found = [sample.source.uids for sample, _ in full.samples(task)]
    assert all(len(set(uids)) == len(uids) for uids in found)
    assert len(found) >= 5


def test_unsuitable_photographs_are_counted_by_reason(full: Dataset) -> None:
    summaries = run(full, stage("colorize", max_side=160))
    found = summaries["materialize-colorize"].counts
    assert (found.ok, found.filtered, found.failed) == (7, {"unsuitable_image": 3}, {})


def test_a_second_run_has_nothing_to_do_and_a_fresh_one_writes_the_same_bytes(own: Dataset, tmp_path: Path) -> None:
    bases = {"bases": ["deblur"], "share": 1.0}
    stages = [MaterializeStage(recipe=name, max_side=96, shard_size=4) for name in ("deblur", "inpaint")]
    stages.append(MaterializeStage(recipe="few_shot", options=bases, max_side=96, shard_size=4))
    run(own, *stages)
    before = sums(own.root)
    assert all(summary.ran == 0 for summary in run(own, *stages).values())
    other = photos.write_all(tmp_path / "other")
    for each in reversed(stages):  # one by one, in another order
        run(other, each)
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
    run(dataset, stage("deblur", max_side=64))
    photos.write_quality(tmp_path)
    assert run(dataset, stage("deblur", max_side=64))["materialize-deblur"].ran == 0


def test_what_was_not_selected_is_counted(full: Dataset) -> None:
    where = {"big": "quality.min_side >= 150", "new": "NOT duplicates.is_duplicate"}
    found = counts(MaterializeStage(recipe="text_to_image", select=where, max_samples=2), full)
    assert list(found)[:2] == ["candidates", "not selected: has_caption"]
    assert found["candidates"] == 10
    assert sum(found.values()) == 10 + 8
    assert describe_counts(found).startswith("2 of 10 candidates selected; not selected: has_caption 1, ")


def test_a_plan_record_tells_the_report_what_was_selected(own: Dataset) -> None:
    cats = MaterializeStage(recipe="colorize", select={"cat": "captions.caption LIKE '%cat%'"}, max_side=64)
    assert run(own, cats)["materialize-colorize"].skipped == {"candidates": 10, "not selected: cat": 9}
    (steps,) = [recipe for recipe in read_funnel(own).recipes if recipe.recipe == "colorize"]
    assert (steps.candidates, steps.not_selected, steps.selected) == (10, {"cat": 9}, 1)


def test_every_pair_is_made_both_ways_and_near_duplicates_are_not(full: Dataset) -> None:
    made = {sample.source.uids: sample.instruction for sample, _ in full.samples("subject_pair")}
    assert set(made) == {("uid-astronaut", "uid-astronaut_face"), ("uid-astronaut_face", "uid-astronaut")}
    assert "face" in made["uid-astronaut", "uid-astronaut_face"]
    assert "orange suit" in made["uid-astronaut_face", "uid-astronaut"]
    assert counts(stage("subject_pair"), full) == {"candidates": 4, "not selected: not_near_duplicates": 2}


def test_an_ambiguous_phrase_is_not_used(full: Dataset) -> None:
    found = counts(stage("referring_segmentation"), full)
    assert found == {"candidates": 5, "not selected: phrase_is_unique": 2}


def test_a_selection_may_ask_for_the_candidates_own_row(full: Dataset) -> None:
    cup = stage("referring_segmentation", select={"cup": "candidate.phrase = 'cup'"})
    assert [part.rows["key"].to_pylist() for part in planned_rows(cup, full)] == [
        ["referring_segmentation-00000-00002-e0"]
    ]


def test_captions_are_used_where_there_are_some_and_not_needed_elsewhere(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    photos.write_subject_pairs(tmp_path)
    photos.write_depth(tmp_path)
    names = ("canny_to_image", "depth_to_image", "subject_pair")
    run(dataset, *(stage(name, max_side=64) for name in names))
    for name, expected in zip(names, (9, 9, 2)):
        assert len(list(dataset.samples(name))) == expected


def test_two_columns_of_captions_or_maps_are_chosen_by_an_option(own: Dataset) -> None:
    rows = {name: {"caption": f"The thing called {name}."} for name in photos.CAPTIONS}
    photos.column(own.root, "caption", "captions_b", rows, {"caption": pa.string()})
    chosen = MaterializeStage(recipe="text_to_image", options={"captions": "captions_b"}, max_side=64)
    run(own, chosen)
    assert all("hing called " in sample.instruction for sample, _ in own.samples("text_to_image"))
    assert "captions_b" in str(chosen.inputs(own))
    with pytest.raises(UserError, match="captions_c has not been made"):
        counts(MaterializeStage(recipe="text_to_image", options={"captions": "captions_c"}), own)


def test_a_base_that_is_added_to_few_shot_changes_no_other_sample(own: Dataset, tmp_path: Path) -> None:
    def made(dataset: Dataset, *bases: str) -> dict[str, list[bytes]]:
        run(dataset, MaterializeStage(recipe="few_shot", options={"bases": list(bases), "share": 0.6}, max_side=64))
        return {sample.key: [sample.to_json().encode(), *images] for sample, images in dataset.samples("few_shot")}

    few = made(own, "deblur", "colorize")
    more = made(photos.write_all(tmp_path / "more"), "colorize", "image_to_depth", "deblur", "canny_to_image")
    assert len(few) >= 4
    assert len(more) > len(few)
    assert {key: more[key] for key in few} == few


def test_a_damaged_map_is_a_failure_of_its_own_sample_alone(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    good, broken = photos.png_field(photos.depth_map("coffee")), {"bytes": b"not an image", "path": None}
    rows = {"coffee": {"depth": good}, "chelsea": {"depth": broken}, "rocket": {"depth": None}}
    photos.column(tmp_path, "depth", "depth", rows, {"depth": IMAGE_TYPE})
    found = run(dataset, stage("image_to_depth", max_side=64))["materialize-image_to_depth"].counts
    assert (found.ok, found.filtered, found.failed) == (1, {"unsuitable_image": 1}, {"image_corrupt": 1})


def test_max_samples_takes_an_even_choice_that_does_not_change(full: Dataset) -> None:
    def keys(most: int | None) -> list[str]:
        plan = planned_rows(stage("deblur", max_samples=most), full)
        return [key for part in plan for key in part.rows["key"].to_pylist()]

    assert keys(None) == sorted(keys(None))
    assert set(keys(3)) < set(keys(5)) < set(keys(None))
    assert keys(5) == sorted(keys(5))
    assert keys(5) != keys(None)[:5]


def test_shards_end_at_samples_or_bytes(full: Dataset) -> None:
    assert list(shard_bounds([1] * 5, 2, 100)) == [(0, 2), (2, 4), (4, 5)]
    assert list(shard_bounds([60, 60, 30, 500, 1], 10, 100)) == [(0, 1), (1, 3), (3, 4), (4, 5)]
    assert list(shard_bounds([], 2, 100)) == []
    parts = planned_rows(stage("deblur", shard_megabytes=0.1), full)
    assert [part.id for part in parts] == [f"deblur-1in-{k:05d}" for k in range(len(parts))]
    assert len(parts) >= 3


def test_a_partition_names_the_image_partitions_it_reads(full: Dataset) -> None:
    parts = planned_rows(stage("deblur", shard_size=4), full)
    assert [list(part.inputs) for part in parts] == [["images/00000"], ["images/00001"], ["images/00002"]]


def test_a_selection_that_nothing_passes_plans_nothing(own: Dataset) -> None:
    nothing = MaterializeStage(recipe="deblur", select={"never": "images.width < 0"})
    assert planned_rows(nothing, own) == []
    assert counts(nothing, own) == {"candidates": 10, "not selected: never": 10}
    assert run(own, nothing)["materialize-deblur"].planned_rows == 0


def test_a_shard_without_samples_is_not_written(own: Dataset) -> None:
    flat = {"flat": "images.uid = 'uid-flat'"}
    summary = run(own, MaterializeStage(recipe="colorize", select=flat))["materialize-colorize"]
    assert summary.counts.filtered == {"unsuitable_image": 1}
    assert own.shards() == []


def test_a_damaged_source_image_is_a_failure_of_its_own_sample_alone(own: Dataset) -> None:
    row = own.images().to_pylist()[1]
    tar = own.root / "images/00000.tar"
    with open(tar, "r+b") as stream:
        stream.seek(row["data_offset"])
        stream.write(b"not a picture at all" * 4)
    summary = run(own, MaterializeStage(recipe="deblur", max_side=64))["materialize-deblur"]
    assert sum(summary.counts.failed.values()) == 1
    assert summary.counts.ok == 8


def test_recipes_that_lack_a_column_are_skipped_unless_asked_for(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    stages, skipped = recipe_stages(dataset, {name: {} for name in RECIPES}, ShardOptions(), asked_for=False)
    assert {stage.recipe for stage in stages} == set(RECIPES) - set(skipped)
    lacking = {name for name in RECIPES if any(not table.optional for table in make_recipe(name).reads())}
    assert set(skipped) == lacking
    assert "x2i detect" in skipped["referring_segmentation"]
    assert "depth has not been made" in skipped["depth_to_image"]
    with pytest.raises(UserError, match="x2i caption"):
        recipe_stages(dataset, {"text_to_image": {}}, ShardOptions())
    with pytest.raises(UserError, match="x2i filter"):
        counts(MaterializeStage(recipe="deblur", select={"big": "quality.min_side > 5"}), dataset)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"recipe": "deblurr"}, "did you mean 'deblur'"),
        ({"recipe": "deblur", "quality": 0}, "quality"),
        ({"recipe": "deblur", "max_side": 8}, "max_side"),
        ({"recipe": "deblur", "shard_size": 0}, "shard_size"),
        ({"recipe": "deblur", "options": {"sigmas": [1, 2]}}, "did you mean 'sigma'"),
        ({"recipe": "deblur", "options": {"sigma": 1}}, "sigma"),
        ({"recipe": "deblur", "options": {"sigma": [0, 9]}}, "expected at most 0.2"),
        ({"recipe": "deblur", "options": {"kinds": ["motoin"]}}, "kinds"),
        ({"recipe": "few_shot", "options": {"bases": ["text_to_image"]}}, "does not make one pair"),
        ({"recipe": "few_shot", "options": {"bases": ["deblurr"]}}, "did you mean 'deblur'"),
    ],
)
def test_a_wrong_option_is_refused(options: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        MaterializeStage(**options).config()


def test_an_option_decides_what_the_shards_are_made_from(own: Dataset) -> None:
    run(own, MaterializeStage(recipe="deblur", options={"kinds": ["gaussian"]}, max_side=64))
    kinds = {sample.recipe.parameters["kind"] for sample, _ in own.samples("deblur")}
    assert kinds == {"gaussian"}
    with pytest.raises(UserError, match="options"):
        run(own, MaterializeStage(recipe="deblur", options={"kinds": ["motion"]}, max_side=64))


def test_set_reaches_one_recipe_plainly_and_several_by_name() -> None:
    assert recipe_options(["deblur"], ["sigma=[0.1, 0.2]"]) == {"deblur": {"sigma": [0.1, 0.2]}}
    both = recipe_options(["deblur", "denoise"], ["denoise.sigma=[5, 9]", "deblur.kinds=[motion]"])
    assert both == {"deblur": {"kinds": ["motion"]}, "denoise": {"sigma": [5, 9]}}
    for wrong in ("sigma=[5, 9]", "inpaint.coverage=[0, 1]"):
        with pytest.raises(UserError, match="one of deblur, denoise"):
            recipe_options(["deblur", "denoise"], [wrong])


def test_a_manifests_step_reaches_every_option() -> None:
    recipes = {
        "deblur": {"kinds": ["motion"], "max_samples": 3, "select": {"small": "images.width < 9"}},
        "denoise": None,
    }
    options = {"max_side": 64, "select": {"wide": "images.width > 5"}, "recipes": recipes}
    deblur, denoise = manifest_stages(options, "m.yaml: steps.0.materialize")
    assert (deblur.options, deblur.max_samples, deblur.max_side) == ({"kinds": ["motion"]}, 3, 64)
    assert list(deblur.select) == ["wide", "small"]
    assert (denoise.options, denoise.max_samples, list(denoise.select)) == ({}, None, ["wide"])
    chosen = manifest_stages({"select": {"new": "NOT duplicates.is_duplicate"}, "recipes": {"text_to_image": {}}}, "m")
    assert {"captions", "duplicates"} <= chosen[0].reads


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, r"at\.recipes: expected recipes"),
        ({"recipes": {"deblurr": {}}}, r"at\.recipes\.deblurr: .*did you mean 'deblur'"),
        ({"recipes": {"deblur": {"sigmas": 1}}}, r"at\.recipes\.deblur: .*did you mean 'sigma'"),
        ({"recipes": {"deblur": {}}, "max_sied": 5}, r"at: max_sied: .*did you mean 'max_side'"),
        ({"recipes": {"deblur": {}}, "quality": 500}, r"expected at most 100"),
    ],
)
def test_a_mistake_in_a_manifests_step_is_named_with_its_place(options: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        manifest_stages(options, "at")


def test_the_expected_bytes_follow_the_pixels_after_shrinking() -> None:
    rows = pa.table({"widths": [[1000], [100, 2000]], "heights": [[500], [100, 1000]]})
    assert expected_bytes(rows, 1000, 0.5) == [2048 + 250_000, 2048 + 5_000 + 250_000]


def test_the_commands_run_what_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = photos.write_photos(tmp_path)
    options = ["--executor", "inline", "--max-side", "64", "--max-samples", "3", "--json"]
    assert typed("cvtasks", tmp_path, *options, "--where", "wide=images.width > 200") == 0
    told = capsys.readouterr()
    (line,) = [
        line for line in told.err.splitlines() if "skipped, entities has not been made: run `x2i detect` first" in line
    ]
    assert "referring_segmentation" in line
    stages = {stage["stage"]: stage for stage in json.loads(told.out)["stages"]}
    vision = computer_vision_recipes()
    recipes = {name: make_recipe(name) for name in vision}
    images_alone = {n for n, r in recipes.items() if all(table.optional for table in r.reads())}
    assert set(stages) == {f"materialize-{name}" for name in images_alone}
    assert {recipe.family for recipe in recipes.values()} >= {"conditions", "restoration", "segmentation"}
    beside = stages["materialize-deblur"]["skipped"]
    assert describe_counts(beside) == "3 of 10 candidates selected; not selected: max_samples 7"
    assert stages["materialize-deblur"]["planned_rows"] == 3
    assert len(list(dataset.samples("deblur"))) == stages["materialize-deblur"]["counts"]["ok"]
    assert typed("materialize", tmp_path, "--recipe", "text_to_image") == 2
    assert "x2i caption" in capsys.readouterr().err


def test_shards_open_in_webdataset(full: Dataset) -> None:
    import webdataset

    for shard in full.shards():
        samples = list(webdataset.WebDataset(str(shard.tar), shardshuffle=False, empty_check=False).decode("rgb8"))
        assert [sample["__key__"] for sample in samples] == shard.index()["key"].to_pylist()
        for sample in samples:
            assert set(sample["json"]) == {
                *("key", "task", "instruction", "num_inputs", "sizes", "source", "recipe", "scores", "mirrorable")
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

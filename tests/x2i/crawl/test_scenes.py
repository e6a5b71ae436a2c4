"""Drawn scenes from the crawl to samples: stored as drawn, their truth as columns, and recipes that work from it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.steps import stages_of
from tests.support.recipe_checks import made
from x2i.image import decode
from x2i.image.rle import decode_mask
from x2i.recipes import RECIPES
from x2i.recipes.scenes import RecolorThing
from x2i.scenes.draw import draw
from x2i.scenes.scene import Pairs, Scene, are_drawn, scene_at
from x2i.scenes.words import caption
from x2i.store import Dataset, paths

SOURCE = "scenes:6?seed=8&size=64"
STEPS = {
    "crawl": {"sources": [SOURCE], "format": "png"},
    "caption": {},
    "scenes": {},
    "scene_entities": {"column": "entities"},
    "scene_relations": {},
    "materialize": {"recipes": {name: {} for name in ("referring_segmentation", "recolor_thing", "image_to_boxes")}},
}
EDITS = ("recolor_thing", "remove_thing", "add_thing", "move_thing", "change_ground")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset = Dataset.create(tmp_path_factory.mktemp("scenes") / "d", "scenes")
    for kind, options in STEPS.items():
        execute(stages_of(kind, options, kind), dataset, RunOptions(executor=Executor.INLINE))
    return dataset


def column(dataset: Dataset, name: str) -> list[dict]:
    return pq.read_table(paths.column_file(dataset.root, name, "00000")).to_pylist()


def test_what_is_stored_is_what_the_address_draws(dataset: Dataset) -> None:
    rows = dataset.images().to_pylist()
    assert len(rows) == 6
    for row in rows:
        scene = scene_at(row["url"])
        assert np.array_equal(decode(dataset.image(row["key"])[1]), draw(scene).pixels)
        assert row["text"] == caption(scene)


def test_truth_is_told_in_columns(dataset: Dataset) -> None:
    addresses = {row["key"]: row["url"] for row in dataset.images().to_pylist()}
    for row in column(dataset, "scenes"):
        scene = scene_at(addresses[row["key"]])
        assert Scene.from_json(row["scene"]) == scene
        assert (row["count"], row["ground"]) == (len(scene.things), scene.ground)
    for row in column(dataset, "entities"):
        scene = scene_at(addresses[row["key"]])
        mask = decode_mask(row["mask_counts"], *row["mask_size"])
        assert np.array_equal(mask, draw(scene).masks[row["entity"]])
        assert mask[row["y0"] : row["y1"], row["x0"] : row["x1"]].sum() == mask.sum()
        assert 0 < row["visible_share"] <= 1
    assert {row["relation"] for row in column(dataset, "scene_relations")} <= {
        "left of", "right of", "above", "below", "in front of",
    }  # fmt: skip


def test_recipes_of_found_objects_work_from_them(dataset: Dataset) -> None:
    counts = {shard.name.rsplit("-", 2)[0]: shard.index(["key"]).num_rows for shard in dataset.shards()}
    assert counts["recolor_thing"] == 6
    assert counts["image_to_boxes"] == 6
    assert counts["referring_segmentation"] == len(column(dataset, "entities"))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_only_what_it_says(name: str) -> None:
    for number in range(5):
        sample = made(RECIPES.get(name), f"key-{number}")
        before, after = (Scene(**{**sample.parameters[when], "things": ()}) for when in ("before", "after"))
        assert (before == after) == (name != "change_ground")
        scenes = [Scene.from_json(json.dumps(sample.parameters[when])) for when in ("before", "after")]
        for scene, pixels in zip(scenes, (sample.inputs[0], sample.output)):
            assert np.array_equal(draw(scene).pixels, pixels)
        kept = [thing for thing in scenes[0].things if thing in scenes[1].things]
        changed = {"recolor_thing": 1, "remove_thing": 1, "move_thing": 1}.get(name, 0)
        assert len(kept) == len(scenes[0].things) - changed


def test_a_recoloring_of_seen_pairs_brings_in_no_unseen_one() -> None:
    recipe = RecolorThing(pairs=Pairs.SEEN)
    for number in range(20):
        example = recipe.example([np.zeros((32, 32, 3), np.uint8)])
        sample = recipe.make(example.sources, example.metadata, np.random.default_rng(number))
        (new,) = [thing for thing in sample.parameters["after"]["things"] if thing not in
                  sample.parameters["before"]["things"]]  # fmt: skip
        assert are_drawn(Pairs.SEEN, new["kind"], new["color"])

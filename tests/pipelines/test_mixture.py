"""A manifest's mixture through the engine: what the plan says before any work is what the shards hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.planning import preview_plan
from pipelines.engine.run import execute
from pipelines.stages.materialize import manifest_stages
from pipelines.stages.shard_options import parse_sides
from tests.support import photos
from x2i.errors import UserError
from x2i.store import Dataset

INLINE = RunOptions(executor=Executor.INLINE)
RECIPES: dict[str, Any] = {
    "deblur": {"weight": 2},
    "denoise": {},
    "image_to_palette": {},
    "color_layout_to_image": None,
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return photos.write_all(tmp_path / "own")


def stages(**options: Any) -> list[Any]:
    return manifest_stages({"max_side": 64, "recipes": RECIPES, **options}, "materialize")


def planned(dataset: Dataset, **options: Any) -> dict[str, int]:
    plans = [preview_plan(dataset, stage) for stage in stages(**options)]
    return {plan.stage.removeprefix("materialize-"): sum(entry.rows for entry in plan.entries) for plan in plans}


def test_the_plan_has_the_counts_asked_for_and_the_shards_what_was_planned(dataset: Dataset) -> None:
    asked = planned(dataset, total=10)
    assert asked == {"deblur": 4, "denoise": 2, "image_to_palette": 2, "color_layout_to_image": 2}
    assert not (dataset.root / "shards").exists()
    summaries = execute(stages(total=10), dataset, INLINE)
    assert {s.stage.removeprefix("materialize-"): s.planned_rows for s in summaries} == asked
    made = Counter(sample.task for sample, _ in dataset.samples())
    assert {task: made[task] for task in ("image_to_palette", "color_layout_to_image")} == {
        "image_to_palette": 2,
        "color_layout_to_image": 2,
    }
    again = execute(stages(total=10), dataset, INLINE)
    assert all(summary.ran == 0 for summary in again)


def test_a_number_of_samples_stands_beside_weights(dataset: Dataset) -> None:
    recipes = {**RECIPES, "denoise": {"samples": 7}}
    assert planned(dataset, total=15, recipes=recipes) == {
        "deblur": 4,
        "denoise": 7,
        "image_to_palette": 2,
        "color_layout_to_image": 2,
    }


def test_scaling_makes_the_largest_mixture_in_these_proportions(dataset: Dataset) -> None:
    found = planned(dataset, short="scale")
    assert found == {"deblur": 10, "denoise": 5, "image_to_palette": 5, "color_layout_to_image": 5}


def test_a_cap_on_each_image_holds_over_the_recipes(dataset: Dataset) -> None:
    execute(stages(total=1000, per_image=2), dataset, INLINE)
    uses = Counter(uid for sample, _ in dataset.samples() for uid in sample.source.uids)
    assert max(uses.values()) <= 2
    assert sum(planned(dataset, total=1000, per_image=2).values()) == 2 * len(photos.CAPTIONS)


def test_weights_without_a_total_are_refused() -> None:
    with pytest.raises(UserError, match="give one"):
        stages()


def test_parts_are_shards_of_their_own(dataset: Dataset) -> None:
    recipes = {"image_to_palette": {}}
    for part in ("train", "validation"):
        execute(stages(recipes=recipes, part=part, validation=0.3), dataset, INLINE)
    names = {path.name.rpartition("-")[0] for path in (dataset.root / "shards").glob("*.tar")}
    assert names == {"image_to_palette-1in", "image_to_palette_validation-1in"}
    keys = [sample.key for sample, _ in dataset.samples()]
    assert len(keys) == len(set(keys)) == len(photos.CAPTIONS)


def test_recipes_of_other_numbers_of_inputs_have_sides_of_their_own(dataset: Dataset) -> None:
    recipes = {"image_to_palette": {"max_samples": 2}, "text_to_image": {"max_samples": 2}}
    execute(stages(recipes=recipes, max_side=96, max_sides={0: 48}), dataset, INLINE)
    longest = {sample.task: max(max(size) for size in sample.sizes) for sample, _ in dataset.samples()}
    assert longest == {"image_to_palette": 96, "text_to_image": 48}
    with pytest.raises(UserError, match="max_sides: expected at least 32, found 8"):
        stages(recipes=recipes, max_sides={0: 8})
    with pytest.raises(UserError, match="expected a number of input images and pixels"):
        parse_sides(["wide"])
    assert parse_sides(["0=48", "3=512"]) == {0: 48, 3: 512}

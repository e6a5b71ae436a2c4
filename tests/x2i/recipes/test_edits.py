"""Edits: what is said was done, where the masks say it was, and one side is the photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from tests.support.photos import ellipse, photo, write_all
from x2i.annotate.edits import Edits
from x2i.annotate.inpainting import Inpainting
from x2i.image.rle import decode_mask, encode_mask
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.base import ImageMap, Rendered, Source
from x2i.recipes.edits.base import CHANGED_LEVELS, Edit, place_of
from x2i.recipes.edits.colors import color_labs, color_name, lab, without_color
from x2i.recipes.edits.lettering import INKS
from x2i.recipes.edits.translations import LANGUAGES, TRANSLATIONS
from x2i.recipes.plan import plan_samples
from x2i.recipes.render import EncodedSample, SampleRenderer
from x2i.recipes.restoration.lettering import typeface
from x2i.seeding import generator
from x2i.store import Dataset
from x2i.store.query.views import Selection

EDITS = [name for name in RECIPES if issubclass(RECIPES.get(name), Edit)]


def made(name: str, key: str = "k", photo_name: str = "coffee", side: int = 192, **options: Any) -> Rendered | Any:
    recipe = make_recipe(name, options)
    example = recipe.example([photo(photo_name, side), photo("chelsea", side)])
    return recipe.make(example.sources, example.metadata, generator(key))


def masks(sample: Rendered) -> tuple[np.ndarray, np.ndarray]:
    size = sample.parameters["mask_size"]
    return tuple(decode_mask(sample.parameters[name], *size) for name in ("before_mask", "after_mask"))  # type: ignore[return-value]


@pytest.mark.parametrize("name", EDITS)
def test_one_side_is_a_photograph_and_nothing_changes_outside_of_the_masks(name: str) -> None:
    for key in "abc":
        sample = made(name, key)
        if not isinstance(sample, Rendered):
            continue
        before, after = masks(sample)
        difference = np.abs(sample.inputs[0].astype(int) - sample.output).max(2)
        outside = difference[~(before | after)]
        assert (outside.mean() if len(outside) else 0) <= 1 or name == "instruction_edit"
        assert sample.scores["outside_error"] == pytest.approx(outside.mean() if len(outside) else 0, abs=1e-3)
        assert sample.scores["changed_share"] == pytest.approx((difference > CHANGED_LEVELS).mean(), abs=1e-4)
        if "replaced" not in sample.parameters:
            natural = photo("coffee", 192)
            assert any(np.array_equal(side, natural) for side in (sample.inputs[0], sample.output))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_changes_more_than_it_may_is_dropped(name: str) -> None:
    assert not isinstance(made(name, changed=[0.0, 0.0], side=96), Rendered)


def test_removing_and_adding_are_each_other_s_inverse() -> None:
    removed, added = made("remove_object"), made("add_object")
    assert np.array_equal(removed.inputs[0], added.output)
    assert np.array_equal(removed.output, added.inputs[0])
    assert removed.parameters["before_mask"] == added.parameters["after_mask"]


def test_a_recolored_object_has_the_color_that_was_asked_for() -> None:
    image = photo("coffee", 256)
    mask = ellipse(*image.shape[:2], 0.5, 0.5, 0.2)
    entity = {"phrase": "the red cup", "score": 0.5, "model": "m", "segmenter": "s", "entities_of_phrase": 1}
    metadata = {**entity, "mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}
    for key in range(12):
        sample = make_recipe("recolor_object", {"natural_output": 0.0}).make(
            [Source(image)], metadata, generator("color", key)
        )
        color = sample.parameters["color"]
        middle = np.median(lab(sample.output)[mask], axis=0)
        nearest = min(color_labs(), key=lambda name: float(np.linalg.norm(color_labs()[name] - middle)))
        distance = {name: float(np.linalg.norm(value - middle)) for name, value in color_labs().items()}
        assert distance[color] < distance[nearest] + 12, (color, nearest)
        assert "red cup" not in sample.parameters["request"]


def test_a_color_has_a_name_only_where_the_object_has_one_color() -> None:
    whole = np.ones((40, 40), bool)
    assert color_name(np.full((40, 40, 3), (200, 30, 35), np.uint8), whole) == "red"
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::2] = (255, 0, 0)
    stripes[1::2] = (0, 0, 255)
    assert color_name(stripes, whole) is None
    assert without_color("the dark red cup") == "the cup"
    assert without_color("the orange") == "the orange"


def test_a_moved_object_is_where_the_words_say() -> None:
    for key in range(8):
        sample = made("move_object", str(key), "rocket")
        if not isinstance(sample, Rendered):
            continue
        (x0, y0), (x1, y1) = (np.argwhere(mask).mean(0)[::-1] for mask in masks(sample))
        across, down = x1 - x0, y1 - y0
        word = sample.parameters["word"]
        assert {"left": across < -1, "right": across > 1, "up": down < -1, "down": down > 1}[word]
        assert sample.mirrorable == (word in ("up", "down"))
        assert word in sample.parameters["request"]


def test_a_resized_object_is_larger_or_smaller_as_the_words_say() -> None:
    words = set()
    for key in range(8):
        sample = made("resize_object", str(key))
        if isinstance(sample, Rendered):
            word, scale = sample.parameters["word"], sample.parameters["scale"]
            grows = (scale > 1) == (sample.parameters["photograph"] == "input")
            assert word == ("larger" if grows else "smaller")
            words.add(word)
    assert words == {"larger", "smaller"}


def test_relighting_is_brightest_on_the_side_that_is_named() -> None:
    for key in range(12):
        sample = made("relight", str(key), "retina", natural_output=0.0)
        gain = sample.output.astype(float).mean(2) / np.maximum(sample.inputs[0].astype(float).mean(2), 8)
        height, width = gain.shape
        halves = {
            "the left": (gain[:, : width // 2], gain[:, width // 2 :]),
            "the right": (gain[:, width // 2 :], gain[:, : width // 2]),
            "above": (gain[: height // 2], gain[height // 2 :]),
            "below": (gain[height // 2 :], gain[: height // 2]),
        }
        lit, unlit = halves[sample.parameters["side"]]
        assert np.median(lit) > np.median(unlit)


def test_a_background_is_replaced_and_the_object_is_not() -> None:
    for name in ("plain_background", "replace_background"):
        sample = made(name)
        kept = ~masks(sample)[0]
        assert kept.any()
        assert np.array_equal(sample.inputs[0][kept], sample.output[kept])


def test_a_text_covers_its_box_in_its_color_and_the_words_say_so() -> None:
    for key in range(6):
        sample = made("add_text", str(key), side=256)
        line = sample.parameters["text_after"]
        x0, y0, x1, y1 = line["box"]
        letters = sample.output[y0:y1, x0:x1].reshape(-1, 3).astype(int)
        near = np.abs(letters - np.array(INKS[line["color"]])).max(1) < 30
        assert 0.08 < near.mean() < 0.8
        assert f'"{line["text"]}"' in sample.parameters["request"]
        assert f'"{line["text"]}"' in make_recipe("add_text").instruction(str(key), sample)


def test_a_replaced_or_translated_text_stays_where_it_is() -> None:
    for name in ("replace_text", "translate_text"):
        for key in range(4):
            sample = made(name, str(key), side=256)
            before, after = sample.parameters["text_before"], sample.parameters["text_after"]
            assert before["text"] != after["text"]
            assert (before["place"], before["color"]) == (after["place"], after["color"])


def test_every_translation_has_a_word_for_each_language_that_the_font_can_show() -> None:
    for row in TRANSLATIONS:
        assert len(row) == len(LANGUAGES)
        for word in row:
            assert not any(typeface(20).getmask(letter).getbbox() is None for letter in word if letter != " ")


def test_a_recolored_text_changes_only_its_letters() -> None:
    sample = made("recolor_text", side=256)
    before, after = masks(sample)
    assert np.array_equal(before, after)
    assert sample.parameters["text_before"]["color"] != sample.parameters["text_after"]["color"]


@pytest.fixture(scope="module")
def edit_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Photographs with objects, captions, one object of each filled, and paintings of them."""
    dataset = write_all(tmp_path_factory.mktemp("edits"))
    stages = [
        AnnotateStage(Inpainting(model="classic:telea")),
        AnnotateStage(Edits(), "stylized"),
        AnnotateStage(Edits(instructions=("a woodcut in beige and brown",))),
    ]
    for summary in execute(stages, dataset, RunOptions(executor=Executor.INLINE)):
        assert summary.failed == {}
    return dataset


@pytest.mark.parametrize("name", EDITS)
def test_samples_are_planned_and_rendered_from_a_dataset(name: str, edit_dataset: Dataset) -> None:
    recipe = make_recipe(name)
    rows = plan_samples(edit_dataset, recipe, Selection({}), max_samples=6).rows.to_pylist()
    assert rows
    made = list(SampleRenderer(edit_dataset.root, recipe, 128, 90).render(rows))
    samples = [one.sample for one in made if isinstance(one, EncodedSample)]
    assert samples, made
    for sample in samples:
        assert sample.recipe.parameters["mask_size"]
        assert sample.num_inputs == 1
        assert len(set(sample.source.uids)) == len(sample.source.uids)


@pytest.mark.parametrize("name", ["move_object", "remove_pasted_object", "add_object"])
def test_a_place_in_the_words_is_where_the_object_is_in_the_picture_they_are_about(name: str) -> None:
    recipe = make_recipe(name)
    example = recipe.example([photo("coffee", 128), photo("rocket", 128)])
    metadata = {**example.metadata, "phrase": "a thing on the left of the rest"}
    samples = [recipe.make(example.sources, metadata, generator(key)) for key in "abcdefgh"]
    made = [sample for sample in samples if isinstance(sample, Rendered)]
    assert made
    for sample in made:
        phrase, (before, _) = sample.slots["phrase"], masks(sample)
        if name == "remove_pasted_object":
            assert phrase == f"the thing {place_of(before)}"
        elif name == "add_object":
            assert (phrase, sample.parameters["place"]) == ("a thing", "in the middle")
        else:
            assert ("of the rest" in phrase) == (sample.parameters["photograph"] == "input")


def test_a_painting_whose_strokes_lie_a_few_pixels_off_is_kept_and_a_cropped_one_is_not() -> None:
    image = photo("coffee", 256)
    for offset, kept in ((3, True), (40, False)):
        shifted = np.ascontiguousarray(np.roll(image, offset, 1) // 2 + 60)
        told = {"instruction": "a pale print", "model": "m"}
        made = make_recipe("stylize").make([Source(image, {"stylized": ImageMap(shifted, told)})], told, generator("k"))
        assert isinstance(made, Rendered) == kept

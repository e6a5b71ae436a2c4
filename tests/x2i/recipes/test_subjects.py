"""The subjects family: words tied to images, cut-outs that are the object and no literal copy, rows of a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support.photos import column, ellipse, keys, photo, png_field, write_all
from x2i.errors import UserError
from x2i.image import decode
from x2i.reasons import Dropped
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered
from x2i.recipes.cutouts import Varied, around, cut_out, eroded
from x2i.recipes.phrasings.binding import bound
from x2i.recipes.plan import plan_samples
from x2i.recipes.render import SampleRenderer
from x2i.sample import placeholder
from x2i.seeding import generator
from x2i.store import Dataset
from x2i.store.query.views import Selection
from x2i.tables import IMAGE_TYPE

ONE, TWO = placeholder(1), placeholder(2)
STILL = Varied(0, 0.9, ((0.0, 0.0),) * 4, 1, 1, (1, 1, 1), False, (0.5, 0.5), 255)


@pytest.mark.parametrize(
    ("caption", "phrases", "expected"),
    [
        ("A cat beside a red cup.", ["cat", "red cup"], f"The cat in {ONE} beside the red cup in {TWO}."),
        ("A red cup beside a cat.", ["cat", "red cup"], f"The red cup in {TWO} beside the cat in {ONE}."),
        ("a man and his dog", ["dog"], f"a man and his dog in {ONE}"),
        ("Two dogs run", ["dogs"], f"The two dogs in {ONE} run"),
        ("Cups on a table", ["cups"], f"The cups in {ONE} on a table"),
        ("A cat and a cat", ["cat"], None),
        ("A cat", ["dog"], None),
        ("A category", ["cat"], None),
    ],
)
def test_phrases_of_a_caption_point_at_their_images(caption: str, phrases: list[str], expected: str | None) -> None:
    assert bound(caption, phrases) == expected


def test_the_border_that_erosion_takes_is_uneven_and_bounded() -> None:
    disc = ellipse(200, 200, 0.5, 0.5, 0.4)
    kept = eroded(disc, 0.1, generator("erosion"))
    assert not (kept & ~disc).any()
    y, x = np.mgrid[:200, :200] - 100
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    edges = [radius[kept & (np.abs(angle - a) < 0.1)].max() for a in np.linspace(-3, 3, 16)]
    assert np.ptp(edges) > 3
    assert min(edges) >= 80 - 0.1 * disc.sum() ** 0.5 - 2
    assert np.array_equal(eroded(disc, 0.0, generator("erosion")), disc)


def test_a_cut_out_shows_the_object_and_nothing_around_it() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    disc = ellipse(120, 160, 0.3, 0.5, 0.2)
    image[disc] = (200, 40, 40)
    image[~disc] = (0, 0, 255)
    shown = cut_out(image, disc, 0.05, STILL, generator("cut"))
    assert not isinstance(shown, Dropped)
    assert shown.shape == image.shape
    is_red = np.abs(shown.astype(int) - [200, 40, 40]).max(axis=2) < 12
    assert is_red.sum() > 2 * disc.sum()
    assert not ((shown[..., 2] > 120) & (shown[..., 0] < 60)).any()
    rows, columns = np.nonzero(is_red)
    assert abs(rows.mean() - 60) < 4
    assert abs(columns.mean() - 80) < 4


def test_surroundings_have_the_shape_of_the_photograph_and_hold_the_box() -> None:
    image = np.zeros((100, 150, 3), np.uint8)
    image[20:40, 30:60] = 255
    shown, said = around(image, [60, 40, 120, 80], (200, 300), 1.2)
    assert shown.shape == image.shape
    left, top, right, bottom = said["part"]
    assert left <= 30 < 60 <= right
    assert top <= 20 < 40 <= bottom
    assert (right - left) / (bottom - top) == pytest.approx(1.5, rel=0.06)
    assert shown.mean() > 2 * image.mean()


@pytest.mark.parametrize("name", ["entity_to_image", "two_entities_to_image"])
def test_an_input_is_no_literal_copy_and_says_how_it_was_made(name: str) -> None:
    recipe = make_recipe(name, {"background": "plain"})
    example = recipe.example([photo("astronaut"), photo("coffee")])
    made = [recipe.make(example.sources, example.metadata, generator(name, k)) for k in range(3)]
    assert all(isinstance(sample, Rendered) for sample in made)
    assert len({sample.inputs[0].tobytes() for sample in made}) == 3
    for sample in made:
        assert np.array_equal(sample.output, photo("astronaut"))
        assert all(drawn["literal"] and drawn["background"] == "plain" for drawn in sample.parameters["inputs"])


def test_rows_of_a_dataset_become_samples(photo_dataset: Dataset) -> None:
    recipe = make_recipe("entity_to_image")
    planned = plan_samples(photo_dataset, recipe, Selection())
    assert {key for row in planned.rows["images"].to_pylist() for key in row} <= {keys()["astronaut"], keys()["coffee"]}
    made = list(SampleRenderer(photo_dataset.root, recipe, 256, 95).render(planned.rows.to_pylist()))
    assert made
    assert all(not isinstance(sample, Dropped) and sample.sample.num_inputs == 1 for sample in made)


def test_both_directions_of_a_pair_become_samples(photo_dataset: Dataset) -> None:
    planned = plan_samples(photo_dataset, make_recipe("subject_pair"), Selection())
    pair = [keys()["astronaut"], keys()["astronaut_face"]]
    assert sorted(planned.rows["images"].to_pylist()) == sorted([pair, pair[::-1]])
    assert planned.not_selected == {"not_near_duplicates": 2}


def test_edges_are_those_of_the_target_and_the_words_name_both_images() -> None:
    recipe = make_recipe("entity_and_edges_to_image")
    example = recipe.example([photo("coffee"), photo("astronaut")])
    made = recipe.make(example.sources, example.metadata, generator("both"))
    assert isinstance(made, Rendered)
    edges = make_recipe("canny_to_image").draw(example.sources[0], {}, generator("both"))
    assert set(np.unique(made.inputs[1])) == {0, 255}
    assert np.mean((made.inputs[1] > 0) == (edges.pixels > 0)) > 0.9
    assert np.array_equal(made.output, photo("coffee"))
    assert {mark for mark in (ONE, TWO) if mark in recipe.instruction("key", made)} == {ONE, TWO}


def test_two_damages_are_named_and_both_were_done() -> None:
    recipe = make_recipe("remove_two_damages", {"scene": ["remove_haze"], "file": ["remove_jpeg_artifacts"]})
    example = recipe.example([photo("coffee"), photo("astronaut")])
    made = recipe.make(example.sources, example.metadata, generator("two"))
    assert isinstance(made, Rendered)
    assert made.slots["damage"] == "haze and JPEG artifacts"
    assert [drawn["recipe"] for drawn in made.parameters["damages"]] == ["remove_haze", "remove_jpeg_artifacts"]
    assert made.inputs[0].std() < photo("coffee").std()


def test_a_repainted_object_is_the_input_and_no_literal_one(tmp_path: Path) -> None:
    dataset = write_all(tmp_path)
    side, columns = 64, {"objects": pa.list_(pa.int32()), "painted": IMAGE_TYPE, "told": pa.list_(pa.string())}
    columns |= {"similarity": pa.list_(pa.float32()), "model": pa.string()}
    sheet = np.vstack([np.full((side, side, 3), color, np.uint8) for color in ((250, 10, 10), (10, 10, 250))])
    row = {"objects": [7, 0], "painted": png_field(sheet), "told": ["a", "b"], "similarity": [0.5, 0.75], "model": "m"}
    column(tmp_path, "annotate", "repaints", {"coffee": row}, columns)
    column(tmp_path, "annotate", "of_others", {"coffee": {**row, "objects": [7, 8]}}, columns)
    made = {}
    for name in ("repaints", "of_others"):
        recipe = make_recipe("entity_to_image", {"background": "plain", "repaints": name})
        planned = plan_samples(dataset, recipe, Selection())
        [sample] = SampleRenderer(tmp_path, recipe, 128, 95).render(planned.rows.to_pylist())
        made[name] = sample.sample.recipe.parameters["inputs"][0], decode(sample.inputs[0].data)
    said, shown = made["repaints"]
    assert said == {"literal": False, "repainter": "m", "told": "b", "similarity": 0.75}
    assert shown.shape == (side, side, 3)
    assert np.abs(shown.astype(int) - [10, 10, 250]).max() < 8
    assert made["of_others"][0]["literal"]


@pytest.mark.parametrize("edit", ["relight", "recolor_object"])
def test_a_restoration_and_an_edit_are_asked_for_at_once(edit: str) -> None:
    recipe = make_recipe("restore_and_edit", {"edit": edit, "restorations": ["remove_gaussian_noise"]})
    example = recipe.example([photo("coffee"), photo("astronaut")])
    made = recipe.make(example.sources, example.metadata, generator("both"))
    assert isinstance(made, Rendered)
    alone = make_recipe(edit).make(example.sources, example.metadata, generator("both"))
    assert np.array_equal(made.output, alone.output)
    noise = made.inputs[0].astype(float) - alone.inputs[0]
    assert noise.std() > 3
    assert abs(noise.mean()) < 0.3 * noise.std()
    words = recipe.instruction("key", made)
    assert "Gaussian noise" in words
    assert alone.parameters["request"] in words
    assert made.parameters["damage"]["recipe"] == "remove_gaussian_noise"


def test_only_edits_and_restorations_are_composed() -> None:
    with pytest.raises(UserError, match="deblur is no edit"):
        make_recipe("restore_and_edit", {"edit": "deblur"}).reads()
    recipe = make_recipe("restore_and_edit", {"restorations": ["relight"]})
    example = recipe.example([photo("coffee"), photo("astronaut")])
    with pytest.raises(UserError, match="relight is no restoration"):
        recipe.make(example.sources, example.metadata, generator("wrong"))

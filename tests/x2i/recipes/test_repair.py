"""Old photos, watermarks, text, holes and software's defects: what was drawn is what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.photos import ellipse, photo
from x2i.image.rle import encode_mask
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered, Source
from x2i.recipes.masks import LAMA_SHAPES
from x2i.recipes.restoration.lettering import watermark
from x2i.recipes.restoration.old_photo import scratches
from x2i.seeding import generator


def damaged(name: str, photo_name: str = "astronaut", key: str = "k", options: Mapping[str, Any] | None = None) -> Any:
    recipe = make_recipe(name, options)
    example = recipe.example([photo(photo_name), photo("coffee")])
    made = recipe.make(example.sources, example.metadata, generator(key))
    assert isinstance(made, Rendered), made
    return made


def changed(made: Rendered) -> np.ndarray:
    return (made.inputs[0] != made.output).any(2)


@pytest.mark.parametrize("shape", LAMA_SHAPES)
def test_lama_holes_scale_with_the_picture(shape: str) -> None:
    small, large = (
        np.mean([LAMA_SHAPES[shape](side, side, generator(shape, k)).mean() for k in range(60)]) for side in (128, 512)
    )
    assert 0.05 < small < 0.6
    assert large == pytest.approx(small, rel=0.15)


def test_free_form_holes_cover_what_they_may_and_leave_the_rest() -> None:
    for k in range(20):
        made = damaged("inpaint_free_form", key=f"{k}")
        hole = (made.inputs[0] == made.parameters["rgb"]).all(2)
        assert 0.02 <= made.parameters["coverage"] <= 0.5
        assert hole.mean() == pytest.approx(made.parameters["coverage"], abs=0.01)
        assert not (changed(made) & ~hole).any()


def test_the_hole_of_an_object_holds_the_whole_object() -> None:
    image = photo("coffee")
    mask = ellipse(*image.shape[:2], 0.5, 0.5, 0.25)
    metadata = {"mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}
    made = make_recipe("inpaint_object").make([Source(image)], metadata, generator("k"))
    assert isinstance(made, Rendered)
    hole = (made.inputs[0] == made.parameters["rgb"]).all(2)
    assert hole[mask].all()
    assert mask.sum() < hole.sum() < 1.3 * mask.sum()


def test_a_watermark_mixes_its_color_into_the_picture_with_the_recorded_opacity() -> None:
    seen = set()
    for k in range(12):
        made = damaged("remove_watermark", key=f"{k}")
        color = {"white": 255, "black": 0}[made.parameters["color"]]
        seen.add(made.parameters["tiled"])
        clean = made.output.astype(float)
        far = changed(made) & (np.abs(color - clean).min(2) > 60)
        opacity = (made.inputs[0] - clean)[far] / (color - clean)[far]
        assert opacity.max() == pytest.approx(made.parameters["opacity"], abs=0.03)
        assert opacity.min() > -0.02
    assert seen == {True, False}
    place = np.array([0.5, 0.5])
    once, tiled = (watermark((256, 256), "SAMPLE", 0.1, 20, place, tiled).mean() for tiled in (False, True))
    assert tiled > 2 * once > 0


def test_text_stands_in_its_recorded_boxes_and_nowhere_else() -> None:
    for k in range(10):
        made = damaged("remove_text", key=f"{k}")
        outside = np.ones(made.output.shape[:2], bool)
        for line in made.parameters["lines"]:
            x0, y0, x1, y1 = line["box"]
            assert changed(made)[y0:y1, x0:x1].mean() > 0.1
            outside[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False
        assert not changed(made)[outside].any()


def test_pixelation_makes_blocks_and_banding_leaves_few_colors() -> None:
    made = damaged("remove_pixelation")
    size = [round(side * made.parameters["factor"]) for side in made.output.shape[:2]]
    assert len(np.unique(made.inputs[0].reshape(-1, 3), axis=0)) <= size[0] * size[1]
    steps = (np.diff(made.inputs[0].astype(int), axis=1) != 0).any((0, 2)).sum()
    assert steps <= size[1] - 1
    made = damaged("remove_color_banding", options={"kinds": ["palette"]})
    assert len(np.unique(made.inputs[0].reshape(-1, 3), axis=0)) <= made.parameters["count"]
    made = damaged("remove_color_banding", options={"kinds": ["levels"]})
    values, counts = np.unique(made.inputs[0][..., 1], return_counts=True)
    assert len(values) <= made.parameters["count"]
    assert made.inputs[0].mean() == pytest.approx(made.output.mean(), abs=1.5)
    assert counts.max() < 4 * counts.sum() / made.parameters["count"]


def test_oversharpening_and_moire_follow_their_equations() -> None:
    made = damaged("remove_oversharpening", "coffee")
    clean = made.output.astype(float)
    blurred = cv2.GaussianBlur(made.output, (0, 0), made.parameters["sigma_px"]).astype(float)
    expected = np.clip(clean + made.parameters["amount"] * (clean - blurred), 0, 255)
    assert np.abs(expected - made.inputs[0]).mean() < 0.6
    flat = np.full((256, 256, 3), 120, np.uint8)
    made = make_recipe("remove_moire").make([Source(flat)], {}, generator("k"))
    assert isinstance(made, Rendered)
    bands = made.inputs[0] / 120 - 1
    assert np.abs(bands).max() <= made.parameters["strength"] + 0.01
    assert bands.std() == pytest.approx(made.parameters["strength"] / 2, rel=0.1)
    assert abs(bands.mean()) < 0.02


def test_an_old_photo_is_faded_and_scratched_as_recorded() -> None:
    tones, steps = set(), set()
    for k in range(25):
        made = damaged("restore_old_photo", key=f"{k}")
        tones.add(made.parameters["tone"])
        steps |= {step.split(" ")[0] for step in made.parameters["steps"]}
        assert made.inputs[0].std() < made.output.std()
    assert tones == {"gray", "sepia", "faded"}
    assert steps >= {"blur", "resolution", "jpeg"}
    few, many = (scratches((256, 256), count, generator("s")).sum() for count in (2, 20))
    assert many > 3 * few > 0

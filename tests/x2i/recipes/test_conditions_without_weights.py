"""Sketches, layouts, boxes and cut-outs: targets can be read back to what they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.photos import ellipse, photo
from x2i.image.rle import encode_mask
from x2i.reasons import Dropped
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered, Source
from x2i.recipes.boxes import Boxes
from x2i.recipes.plan import plan_samples
from x2i.seeding import generator
from x2i.store import Dataset
from x2i.store.query.views import Selection

SKETCHES = ("xdog", "scribble", "soft_edges", "line_segments")


def made(
    name: str, image: np.ndarray, metadata: Mapping[str, Any] | None = None, key: str = "k", **options: Any
) -> Rendered:
    result = make_recipe(name, options).make([Source(image)], metadata or {}, generator(key))
    assert isinstance(result, Rendered), result
    return result


@pytest.mark.parametrize("name", SKETCHES)
@pytest.mark.parametrize("photo_name", ["astronaut", "coffee", "motorcycle_left"])
def test_both_directions_show_the_same_drawing(name: str, photo_name: str) -> None:
    image = photo(photo_name)
    there, back = made(f"image_to_{name}", image), made(f"{name}_to_image", image)
    assert np.array_equal(there.output, back.inputs[0])
    assert np.array_equal(there.inputs[0], back.output)
    assert (there.output[..., 0] == there.output[..., 2]).all()


@pytest.mark.parametrize("name", SKETCHES)
def test_drawings_lie_on_the_borders_of_a_shape_and_nowhere_else(name: str) -> None:
    image = np.full((256, 256, 3), 200, np.uint8)
    image[64:192, 64:192] = 60
    drawing = made(f"image_to_{name}", image, **({"least": 4} if name == "line_segments" else {})).output[..., 0] > 0
    y, x = np.mgrid[:256, :256]
    inside = np.minimum(np.minimum(x - 64, 191 - x), np.minimum(y - 64, 191 - y))
    assert not drawing[np.abs(inside) > 24].any()
    assert drawing[np.abs(inside) < 6].mean() > 0.1


@pytest.mark.parametrize("name", ["xdog", "scribble"])
def test_line_drawings_hold_no_gray_level(name: str) -> None:
    assert set(np.unique(made(f"image_to_{name}", photo("astronaut")).output)) == {0, 255}


@pytest.mark.parametrize("steps", [2, 3])
def test_soft_edges_hold_only_their_steps(steps: int) -> None:
    levels = np.unique(made("image_to_soft_edges", photo("astronaut"), steps=steps).output)
    assert levels.tolist() == [number * (255 // steps) for number in range(steps + 1)]


def test_a_photograph_without_lines_is_dropped() -> None:
    flat = np.full((128, 128, 3), 90, np.uint8)
    for name in SKETCHES:
        assert isinstance(make_recipe(f"image_to_{name}").make([Source(flat)], {}, generator("k")), Dropped)


def test_listed_line_segments_are_those_that_are_drawn() -> None:
    sample = made("image_to_line_segments", photo("motorcycle_left"))
    assert len(sample.parameters["segments"]) >= 6
    for x0, y0, x1, y1 in sample.parameters["segments"]:
        assert np.hypot(x1 - x0, y1 - y0) >= 0.05 * min(sample.output.shape[:2]) - 1.5
        x, y = round((x0 + x1) / 2), round((y0 + y1) / 2)
        assert sample.output[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].max() > 100


def test_a_palette_can_be_read_back_and_holds_the_mean_colors() -> None:
    image = photo("astronaut")
    sample = made("image_to_palette", image)
    size = image.shape[0] // 8
    read = [
        "#" + "".join(f"{value:02x}" for value in sample.output[y, x])
        for y in range(size // 2, 8 * size, size)
        for x in range(size // 2, 8 * size, size)
    ]
    assert read == sample.parameters["colors"]
    assert np.abs(image[:size, :size].reshape(-1, 3).mean(0) - sample.output[1, 1]).max() < 1


def test_layouts_keep_the_colors_and_lose_the_detail() -> None:
    image = photo("coffee")
    for name in ("palette_to_image", "color_layout_to_image", "low_resolution_to_image", "blur_to_image"):
        layout = made(name, image).inputs[0].astype(float)
        assert layout.shape == image.shape
        assert np.abs(layout.mean((0, 1)) - image.mean((0, 1))).max() < 3
        assert np.abs(np.diff(layout, axis=1)).mean() < 0.5 * np.abs(np.diff(image.astype(float), axis=1)).mean()


def objects(name: str, kind: str = "image_to_boxes") -> tuple[Rendered, list[dict[str, Any]]]:
    recipe = make_recipe(kind)
    example = recipe.example([photo(name)])
    result = recipe.make(example.sources, example.metadata, generator("k"))
    assert isinstance(result, Rendered)
    return result, list(result.parameters["objects"])


def test_boxes_can_be_read_back_by_their_colors() -> None:
    sample, found = objects("coffee")
    assert len({tuple(entry["rgb"]) for entry in found}) == len(found) == 2
    top = found[0]
    rows, columns = np.nonzero((sample.output == top["rgb"]).all(2))
    x0, y0, x1, y1 = top["box"]
    assert (
        np.abs(np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) - [x0, y0, x1, y1]).max() <= 2
    )
    on_photo, _ = objects("coffee", "image_to_boxes_on_photo")
    changed = (on_photo.output != photo("coffee")).any(2)
    assert np.array_equal(changed | (sample.output.max(2) == 0), np.ones_like(changed))
    assert not (changed & (sample.output.max(2) == 0)).any()


def test_boxes_follow_the_size_of_the_picture() -> None:
    image = photo("coffee", 128)
    metadata = {"width": 2 * image.shape[1], "height": 2 * image.shape[0], "caption": None}
    metadata["objects"] = [{"label": "cup", "box": [40, 20, 100, 80]}, {"label": "cup", "box": [4, 4, 30, 30]}]
    sample = made("boxes_to_image", image, metadata)
    assert [entry["box"] for entry in sample.parameters["objects"]] == [[20, 10, 50, 40], [2, 2, 15, 15]]
    assert len({tuple(entry["rgb"]) for entry in sample.parameters["objects"]}) == 1
    metadata["objects"] *= 10
    assert isinstance(make_recipe("boxes_to_image").make([Source(image)], metadata, generator("k")), Dropped)


def test_boxes_are_planned_from_the_column_of_entities(photo_dataset: Dataset) -> None:
    planned = plan_samples(photo_dataset, make_recipe("boxes_to_image"), Selection({}))
    assert planned.rows.num_rows == 4
    assert isinstance(make_recipe("boxes_to_image"), Boxes)


def test_an_object_is_cut_out_along_its_mask() -> None:
    image = photo("coffee")
    mask = ellipse(*image.shape[:2], 0.42, 0.45, 0.3)
    entity = {"phrase": "cup", "score": 0.9, "model": "m", "segmenter": "s"}
    metadata = {**entity, "mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}
    cut = made("extract_object", image, metadata)
    assert np.array_equal(cut.output[mask], image[mask])
    assert (cut.output[~mask] == 255).all()
    assert np.array_equal(made("object_mask", image, metadata).output[..., 1] == 255, mask)
    words = {make_recipe("object_mask").instruction(f"{k}", cut) for k in range(60)}
    assert not any("blue" in text for text in words)

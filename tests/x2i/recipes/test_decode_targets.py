"""Targets are read back, from their pixels and the sample's JSON, to what made them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.support.photos import ellipse, photo
from x2i.image import decode, encode
from x2i.image.class_colors import class_colors
from x2i.image.rle import decode_mask, encode_mask
from x2i.reasons import Dropped
from x2i.recipes import make_recipe
from x2i.recipes.base import ImageMap, Rendered, Source
from x2i.recipes.decode_targets import (
    decode_classes,
    decode_depth,
    decode_dots,
    decode_instances,
    decode_normals,
    decode_palette,
    true_instances,
)
from x2i.recipes.phrasings.nouns import indefinite, plural
from x2i.sample import canonical_json
from x2i.seeding import generator

IMAGE = photo("astronaut")
HEIGHT, WIDTH = IMAGE.shape[:2]


def made(name: str, maps: dict[str, ImageMap] | None = None, **metadata: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns the output as it is read from its PNG, and the parameters as they are read from the sample's JSON."""
    recipe = make_recipe(name)
    rendered = recipe.make([Source(IMAGE, maps or {})], metadata, generator(name))
    assert isinstance(rendered, Rendered), rendered
    return decode(encode(rendered.output, "png")), json.loads(canonical_json(dict(rendered.parameters)))


def test_classes_come_back_number_by_number_also_in_another_size() -> None:
    ids = (np.arange(2 * HEIGHT)[:, None] // 100 + 3 * (np.arange(2 * WIDTH) // 200)) % 9
    fields = {"palette": "voc", "classes": list(range(9)), "labels": [f"class {k}" for k in range(9)], "shares": []}
    output, parameters = made("image_to_segmentation", {"segmentation": ImageMap(class_colors(9)[1][ids], fields)})
    found = decode_classes(output, parameters)
    assert np.array_equal(found, ids[1::2, 1::2]) or np.array_equal(found, ids[::2, ::2])
    noisy = np.clip(output.astype(int) + generator("noise").integers(-15, 16, output.shape), 0, 255).astype(np.uint8)
    assert (decode_classes(noisy, parameters) == found).mean() > 0.99


def test_normals_come_back_to_a_degree() -> None:
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    truth = np.dstack([x, y, np.ones_like(x)]) / np.sqrt(x**2 + y**2 + 1)[..., None]
    stored = np.rint((truth + 1) * 127.5).astype(np.uint8)
    output, parameters = made("image_to_normals", {"normals": ImageMap(stored, {"flipped": "y"})})
    cosine = (decode_normals(output) * truth).sum(axis=2)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 1
    assert parameters["flipped"] == "y"


def test_depth_comes_back_in_the_estimators_unit() -> None:
    truth = np.linspace(0.3, 7.5, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    stored = np.rint((truth - truth.min()) / np.ptp(truth) * 65535).astype(np.uint16)
    output, parameters = made("image_to_depth", {"depth": ImageMap(stored, {"low": 0.3, "high": 7.5})})
    assert np.abs(decode_depth(output, parameters) - truth).max() < 0.6 * 7.2 / 255


def test_keypoints_are_in_pixels_of_the_target() -> None:
    from x2i.image.skeleton import draw_poses

    points = np.array([[0.5, 0.2], [0.5, 0.6], [0.25, 0.75]], np.float32) * [2 * WIDTH, 2 * HEIGHT]
    drawn = draw_poses(2 * HEIGHT, 2 * WIDTH, [(points, np.ones(3, np.float32))], [(0, 1), (1, 2)], 0.3)
    fields = {"people": 1, "boxes": [0, 0, 2 * WIDTH, 2 * HEIGHT], "keypoints": points.ravel().tolist()}
    stored = ImageMap(drawn, {**fields, "scores": [0.9, 0.8, 0.7], "names": ["a", "b", "c"]})
    output, parameters = made("image_to_pose", {"pose": stored})
    [person] = parameters["keypoints"]
    assert [score for _, _, score in person] == [0.9, 0.8, 0.7]
    assert parameters["boxes"] == [[0, 0, WIDTH, HEIGHT]]
    for (x, y, _), (wanted_x, wanted_y) in zip(person, points / 2):
        assert (x, y) == pytest.approx((wanted_x, wanted_y), abs=0.01)
        assert output[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].max() > 100


def test_instances_come_back_as_what_is_seen_of_each() -> None:
    large, small = ellipse(HEIGHT, WIDTH, 0.5, 0.5, 0.4), ellipse(HEIGHT, WIDTH, 0.55, 0.5, 0.15)
    objects = [
        {"label": label, "mask_size": [HEIGHT, WIDTH], "mask_counts": encode_mask(mask)}
        for label, mask in (("table", large), ("cup", small))
    ]
    output, parameters = made("image_to_instances", objects=objects)
    read, true = decode_instances(output, parameters), true_instances(parameters)
    assert [entry["label"] for entry in parameters["objects"]] == ["table", "cup"]
    assert all(np.array_equal(a, b) for a, b in zip(read, true))
    assert np.array_equal(true[0], large & ~small)
    assert np.array_equal(true[1], small)


def test_a_palette_is_read_from_its_tiles() -> None:
    output, parameters = made("image_to_palette")
    assert decode_palette(output, parameters) == parameters["colors"]


def test_dots_are_counted_where_the_objects_are() -> None:
    boxes = [[20, 20, 60, 60], [150, 30, 220, 90], [40, 150, 120, 220], [180, 170, 230, 240]]
    output, parameters = made("count_objects", label="cup", boxes=boxes, width=WIDTH, height=HEIGHT)
    assert parameters["count"] == 4
    found = sorted(decode_dots(output, parameters))
    assert np.allclose(found, sorted((float(x), float(y)) for x, y in parameters["points"]), atol=1.5)
    near = [[20, 20, 60, 60], [22, 20, 62, 60]]
    recipe = make_recipe("count_objects")
    metadata = {"label": "cup", "boxes": near, "width": WIDTH, "height": HEIGHT}
    assert isinstance(recipe.make([Source(IMAGE)], metadata, generator("near")), Dropped)


@pytest.mark.parametrize("name", ["referring_segmentation", "object_mask"])
def test_a_painted_object_is_its_mask(name: str) -> None:
    mask = ellipse(HEIGHT, WIDTH, 0.4, 0.4, 0.2)
    entity = {"phrase": "cup", "score": 0.9, "model": "m", "segmenter": "s", "mask_size": [HEIGHT, WIDTH]}
    output, parameters = made(name, **entity, mask_counts=encode_mask(mask))
    assert np.array_equal((output == parameters["rgb"]).all(axis=2), mask)
    assert np.array_equal(decode_mask(encode_mask(mask), HEIGHT, WIDTH), mask)


def test_edges_of_a_network_keep_few_levels() -> None:
    soft = (photo("astronaut").mean(axis=2)).astype(np.uint8)
    output, parameters = made("image_to_edges", {"edges": ImageMap(soft, {"density": 0.2})})
    assert len(np.unique(output)) == parameters["steps"] + 1 == 3


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red cup", "red cups"),
        ("woman with a hat", "women with a hat"),
        ("glass of water", "glasses of water"),
        ("box", "boxes"),
        ("berry", "berries"),
        ("monkey", "monkeys"),
        ("sheep", "sheep"),
        ("dogs", "dogs"),
        ("person", "people"),
        ("bus", "buses"),
    ],
)
def test_plurals(phrase: str, expected: str) -> None:
    assert plural(phrase) == expected


@pytest.mark.parametrize("noun", ["edge map", "instance map", "8x8 palette", "orange", "hourglass", "umbrella"])
def test_an_before_a_vowel(noun: str) -> None:
    assert indefinite(noun) == f"an {noun}"


@pytest.mark.parametrize("noun", ["depth map", "unicorn", "one-eyed cat", "user", "house", "7x7 palette"])
def test_a_before_a_consonant(noun: str) -> None:
    assert indefinite(noun) == f"a {noun}"

"""The contact sheet of a column draws what its fields say, where they say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.support.command_line import typed
from tests.support.stored_images import Given, store
from x2i.image import encode
from x2i.image.maps import encode_map16
from x2i.image.rle import encode_mask
from x2i.inspect.palette import BADGES
from x2i.inspect.sheet.drawings import draw_map, draw_rows, words_of
from x2i.store import Dataset
from x2i.store.columns import write_column
from x2i.tables import IMAGE_TYPE, TableSpec

GRAY = np.full((60, 80, 3), 90, np.uint8)
BOX = {"x0": 20, "y0": 10, "x1": 60, "y1": 40}


def drawn(rows, scale=2.0):
    picture = Image.new("RGB", (160, 120), (90, 90, 90))
    draw_rows(picture, rows, scale)
    return np.asarray(picture)


def color(number):
    return [*bytes.fromhex(BADGES[number - 1][1:])]


def test_boxes_are_drawn_at_the_scale_of_the_picture_in_the_color_of_their_row():
    pixels = drawn([BOX, {"x0": 62, "y0": 42, "x1": 79, "y1": 59}])
    assert pixels[60, 40].tolist() == color(1)  # left side of the first box, twice as far out as in the image
    assert pixels[79, 80].tolist() == color(1)  # its lower side
    assert pixels[60, 80].tolist() == [90, 90, 90]  # nothing inside
    assert pixels[117, 140].tolist() == color(2)


def test_masks_tint_what_they_cover():
    mask_HW = np.zeros((60, 80), bool)
    mask_HW[10:40, 20:60] = True
    pixels = drawn([{"mask_size": [60, 80], "mask_counts": encode_mask(mask_HW)}])
    tinted = [round(0.55 * 90 + 0.45 * level) for level in color(1)]
    assert pixels[50, 80].tolist() == tinted
    assert pixels[110, 10].tolist() == [90, 90, 90]


def test_an_object_without_a_mask_is_drawn_by_its_box_alone():
    pixels = drawn([{**BOX, "mask_size": None, "mask_counts": None}])
    assert pixels[60, 40].tolist() == color(1)


def test_polygons_take_the_place_of_boxes_and_landmarks_are_dots():
    pixels = drawn([{**BOX, "polygon": [20, 25, 40, 10, 60, 25, 40, 40]}])
    assert pixels[60, 40].tolist() != color(1)  # the box would pass here
    assert (pixels[48:53, 38:43] == color(1)).all(axis=2).any()  # the polygon's left corner
    assert drawn([{"landmarks": [10, 10, 30, 30]}])[60, 60].tolist() == color(1)


def test_a_depth_map_is_shown_over_its_range_and_class_numbers_are_told_apart():
    assert np.asarray(draw_map(np.array([[0, 65535]], np.uint16)))[0, :, 0].tolist() == [0, 255]
    shown = np.asarray(draw_map(np.array([[0, 1, 2, 65535]], np.uint16)))[0, :, 0].tolist()
    assert shown == [0, 128, 255, 255]


def test_words_say_what_is_not_drawn_and_not_who_made_it():
    schema = pa.schema(
        [(name, pa.string()) for name in ("key", "label", "phrase", "mask_counts", "model", "revision")]
        + [("mask_size", pa.list_(pa.int32())), ("score", pa.float32()), *((s, pa.int32()) for s in BOX)]
    )
    row = {"label": "cat", "phrase": "the cat on the left", "score": 0.5, "model": "m", "revision": "r"}
    assert words_of(schema, [row]) == ["cat / the cat on the left  0.5"]
    one = pa.schema([("key", pa.string()), ("min_side", pa.int32()), ("map", IMAGE_TYPE), ("note", pa.string())])
    assert words_of(one, [{"key": "k", "min_side": 480, "map": None, "note": None}]) == ["min_side 480"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    dataset = store(tmp_path / "d", [Given(GRAY), Given(GRAY), Given(None)])
    key, other = "00000-00000", "00000-00001"
    sides = [pa.field(side, pa.int32()) for side in BOX]
    boxes = pa.schema([pa.field("key", pa.string()), *sides, pa.field("label", pa.string())])
    table = pa.Table.from_pylist([{"key": key, "label": "cup", **BOX}], schema=boxes)
    write_column(dataset.root, "boxes", "00000", table, TableSpec("boxes", "Boxes", "detect", boxes, rows="many"))
    maps = pa.schema([("key", pa.string()), ("near", IMAGE_TYPE), ("colors", IMAGE_TYPE)])
    ramp_HW = np.linspace(0, 65535, 60 * 80).reshape(60, 80).astype(np.uint16)
    near = {"bytes": encode_map16(ramp_HW), "path": "a.png"}
    colors = {"bytes": encode(np.tile(np.array([255, 0, 255], np.uint8), (60, 80, 1)), "png"), "path": "b.png"}
    rows = [{"key": key, "near": near, "colors": colors}, {"key": other, "near": None, "colors": None}]
    table = pa.Table.from_pylist(rows, schema=maps)
    write_column(dataset.root, "maps", "00000", table, TableSpec("maps", "Maps", "annotate", maps))
    return dataset


def test_the_command_draws_any_column(dataset: Dataset, tmp_path: Path, capsys):
    for column in ("boxes", "maps"):
        path, again = tmp_path / f"{column}.png", tmp_path / "again.png"
        assert typed("inspect", dataset.root, "--column", column, "--sheet", path) == 0
        assert f"contact sheet: {path}" in capsys.readouterr().out
        assert typed("inspect", dataset.root, "--column", column, "--sheet", again) == 0
        assert path.read_bytes() == again.read_bytes()
    sheet = np.asarray(Image.open(tmp_path / "maps.png"))
    assert (sheet == [255, 0, 255]).all(axis=2).sum() > 1000
    boxes = np.asarray(Image.open(tmp_path / "boxes.png"))
    assert (boxes == color(1)).all(axis=2).sum() > 100


def test_a_column_that_is_not_there_is_told_in_one_line(dataset: Dataset, tmp_path: Path, capsys):
    assert typed("inspect", dataset.root, "--column", "depth", "--sheet", tmp_path / "x.png") == 2
    assert "no column 'depth'" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()

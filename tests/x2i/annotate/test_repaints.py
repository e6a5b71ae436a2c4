"""Objects are handed to the model alone and by name, and what it draws of them is kept where it is neither copy nor
another thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from tests.support.photos import ellipse, photo
from x2i.annotate.base import StoredImage
from x2i.annotate.repaints import Repainter, Repaints, on_white, squared
from x2i.image import decode
from x2i.image.rle import encode_mask
from x2i.models.classic.hog_color import HogColor
from x2i.reasons import Dropped, Reason

SIDE = 64


class Editor:
    """Turns pictures by 90 degrees, and refuses those of which the instruction names a dog."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.seen: list[np.ndarray] = []

    def edit(self, images: Sequence[np.ndarray], instructions: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        self.told += instructions
        self.seen += images
        turned = [np.ascontiguousarray(np.rot90(image)) for image in images]
        refused = Dropped(Reason.BACKEND_ERROR, "no dogs")
        return [refused if "dog" in words else image for image, words in zip(turned, instructions, strict=True)]


def entity(number: int, label: str, x: float, image: np.ndarray) -> dict[str, Any]:
    mask = ellipse(*image.shape[:2], x, 0.5, 0.2)
    ys, xs = np.nonzero(mask)
    box = {"x0": int(xs.min()), "y0": int(ys.min()), "x1": int(xs.max()) + 1, "y1": int(ys.max()) + 1}
    said = {
        "entity": number,
        "label": label,
        "phrase": f"the {label} on the left",
        "score": 0.9,
        "area_share": float(mask.mean()),
    }
    return {**said, **box, "mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}


def stored(key: str, name: str, *labels: str) -> StoredImage:
    image = photo(name, 128)
    entities = [entity(number, label, 0.25 + 0.5 * number, image) for number, label in enumerate(labels)]
    caption = {"caption": f"Here are {' and a '.join(labels)}."}
    return StoredImage(key, {}, {"entities": entities, "captions": [caption]}, image)


def test_objects_are_named_shown_alone_and_stacked_in_their_order() -> None:
    editor = Editor()
    options = Repaints(side=SIDE, similarity=(-1.0, 1.01))
    images = [stored("a", "coffee", "cup", "spoon"), stored("b", "astronaut"), stored("c", "chelsea", "dog", "cat")]
    both, none, one = Repainter(editor, HogColor(), options).annotate(images)
    assert isinstance(none, Dropped)
    assert none.reason is Reason.NO_ENTITY
    assert both["objects"] == [0, 1]
    assert one["objects"] == [1]
    for words, told in zip(("cup", "spoon", "dog", "cat"), editor.told):
        assert f" {words} " in told or f" {words}," in told
    assert all((shown[0] == 255).all() and (shown[:, -1] == 255).all() for shown in editor.seen)
    sheet = decode(both["painted"]["bytes"]).astype(int)
    assert sheet.shape == (2 * SIDE, SIDE, 3)
    for place, shown in enumerate(editor.seen[:2]):
        assert np.abs(sheet[place * SIDE : (place + 1) * SIDE] - np.rot90(shown)).mean() < 6
    assert len(set(editor.told)) == len(editor.told)


def test_copies_and_other_things_are_left_out() -> None:
    image = stored("a", "coffee", "cup")
    cosine = Repainter(Editor(), HogColor(), Repaints(side=SIDE, similarity=(-1.0, 1.01))).annotate([image])[0]
    found = cosine["similarity"][0]
    for low, high in ((-1.0, found - 0.01), (found + 0.01, 1.01)):
        (verdict,) = Repainter(Editor(), HogColor(), Repaints(side=SIDE, similarity=(low, high))).annotate([image])
        assert isinstance(verdict, Dropped)
        assert verdict.reason is Reason.UNSUITABLE_IMAGE


def test_a_cut_out_lies_in_the_middle_and_a_picture_of_another_shape_becomes_a_square() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    mask = np.zeros((60, 90), bool)
    mask[10:20, 5:45] = True
    shown = on_white(image, mask, 100)
    rows, columns = np.nonzero(shown.max(axis=2) < 128)
    assert abs(rows.mean() - 49.5) < 1
    assert abs(columns.mean() - 49.5) < 1
    assert np.ptp(columns) == 84
    wide = cv2.resize(photo("coffee", 128), (120, 60))
    square = squared(wide, 60)
    assert square.shape == (60, 60, 3)
    assert np.abs(square[20:40].astype(int) - cv2.resize(wide, (60, 30))[5:25]).mean() < 12

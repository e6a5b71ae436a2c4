"""Maps as columns: what their values mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import pytest

from tests.support.annotating import verdicts
from tests.support.photos import photo
from x2i.annotate.base import StoredImage
from x2i.annotate.edges import Edges
from x2i.annotate.matting import Matting, trimap
from x2i.annotate.normals import Normals
from x2i.annotate.pose import PoseMaps
from x2i.annotate.segmentation import Segmentation
from x2i.image.class_colors import class_colors
from x2i.image.maps import decode_map
from x2i.image.rle import encode_mask
from x2i.image.skeleton import draw_poses
from x2i.models.abilities import Box, Detection, Pose
from x2i.models.backend import Backend
from x2i.models.classic.xdog import Xdog
from x2i.reasons import Dropped, Reason

HERE = "tests.x2i.annotate.test_maps"
FLAT = np.full((40, 60, 3), 127, np.uint8)


@dataclass(frozen=True)
class Floor(Backend):
    """Every surface is a floor: its normal points up."""

    title: ClassVar[str] = "Normals of a floor"

    def normals(self, images):
        return [np.tile(np.array([0, 1, 0], np.float32), (*image.shape[:2], 1)) for image in images]


@dataclass(frozen=True)
class SkyOverSea(Backend):
    """Class 2 (ADE20K's sky) in the upper half, 26 (its sea) below, nothing said about the first column."""

    title: ClassVar[str] = "Sky over sea"
    labels: ClassVar[tuple[str, ...]] = tuple(f"class {number}" for number in range(150))

    def classes(self, images):
        found = []
        for image in images:
            classes_HW = np.full(image.shape[:2], 26)
            classes_HW[: len(image) // 2] = 2
            classes_HW[:, 0] = -1
            found.append(classes_HW)
        return found


@dataclass(frozen=True)
class Standing(Backend):
    """People who stand upright in their boxes, with COCO's 17 keypoints."""

    title: ClassVar[str] = "Standing people"
    names: ClassVar[tuple[str, ...]] = tuple(f"joint {number}" for number in range(17))
    limbs: ClassVar[tuple[tuple[int, int], ...]] = ()

    def poses(self, images, people):
        def stand(box):
            y = np.linspace(box.y0, box.y1 - 1, 17)
            points_K2 = np.stack([np.full(17, (box.x0 + box.x1) / 2), y], axis=1)
            return Pose(points_K2.astype(np.float32), np.full(17, 0.9, np.float32))

        return [[stand(box) for box in boxes] for boxes in people]


@dataclass(frozen=True)
class OnePerson(Backend):
    """A sure person, the same one again, and an unsure one; in gray images none."""

    title: ClassVar[str] = "One person"

    def detect(self, images, phrases):
        boxes = ((Box(5, 5, 15, 35), 0.9), (Box(5, 6, 15, 35), 0.8), (Box(40, 5, 50, 35), 0.1))
        return [
            [Detection(box, score, words[0]) for box, score in boxes] if np.ptp(image) else []
            for image, words in zip(images, phrases)
        ]


@dataclass(frozen=True)
class Halfway(Backend):
    """Half of what is to be found out is the object's."""

    title: ClassVar[str] = "Trimaps as they are"

    def alphas(self, images, trimaps):
        return [levels_HW.astype(np.float32) / 255 for levels_HW in trimaps]


def test_normals_are_stored_with_minus_one_at_0_and_one_at_255():
    (row,) = verdicts(Normals(model=f"{HERE}:Floor"), [FLAT])
    assert decode_map(row["normals"]["bytes"])[0, 0].tolist() == [128, 255, 128]
    (row,) = verdicts(Normals(model=f"{HERE}:Floor", flip=("y",)), [FLAT])
    assert decode_map(row["normals"]["bytes"])[0, 0].tolist() == [128, 0, 128]
    assert row["flipped"] == "y"


def test_a_segmentation_is_colors_by_the_palette_and_class_numbers_beside_them():
    (row,) = verdicts(Segmentation(model=f"{HERE}:SkyOverSea"), [FLAT])
    colors, ids = decode_map(row["segmentation"]["bytes"]), decode_map(row["ids"]["bytes"])
    assert ids.dtype == np.uint16
    assert colors[0, 30].tolist() == [6, 230, 230]  # sky in ADE20K's palette
    assert colors[39, 30].tolist() == [9, 7, 230]  # sea
    assert colors[0, 0].tolist() == [0, 0, 0]
    assert (ids[0, 30], ids[39, 30], ids[0, 0]) == (2, 26, 65535)
    assert row["palette"] == "ade20k"
    assert row["labels"] == ["class 2", "class 26"]
    assert row["shares"] == pytest.approx([59 / 120, 59 / 120])


def test_palettes_have_a_color_of_its_own_for_each_class():
    name, colors_C3 = class_colors(20)
    assert name == "voc"
    assert colors_C3[:3].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0]]  # as Pascal VOC colors its first three
    assert len(np.unique(colors_C3, axis=0)) == 20
    assert len(np.unique(class_colors(133)[1], axis=0)) == 133
    name, colors_C3 = class_colors(150)
    assert (name, colors_C3.shape) == ("ade20k", (150, 3))
    assert colors_C3[[0, 4, 149]].tolist() == [[120, 120, 120], [4, 200, 3], [92, 0, 255]]  # wall, tree, flag


def test_a_pose_is_a_drawing_and_its_numbers():
    person = FLAT.copy()
    person[0, 0] = 255
    annotation = PoseMaps(model=f"{HERE}:Standing", detector=f"{HERE}:OnePerson")
    row, nobody = verdicts(annotation, [person, FLAT])
    assert nobody == Dropped(Reason.NOTHING_FOUND)
    assert row["people"] == 1  # the same person twice, and one that the detector is not sure of
    assert row["boxes"] == [5, 5, 15, 35]
    assert len(row["keypoints"]) == 34
    assert row["keypoints"][:2].tolist() == [10, 5]
    drawn = decode_map(row["pose"]["bytes"])
    assert drawn.shape == person.shape
    assert drawn[5:35, 10].any(axis=1).all()
    assert not drawn[:, 20:].any()


def test_only_keypoints_that_are_sure_are_drawn():
    points_K2 = np.array([[10, 10], [30, 10], [50, 10]], np.float32)
    limbs = ((0, 1), (1, 2))
    drawn = draw_poses(20, 60, [(points_K2, np.array([0.9, 0.9, 0.2], np.float32))], limbs, 0.3)
    assert drawn[10, 20].any()
    assert not drawn[10, 40].any()
    assert drawn[10, 10].tolist() == [255, 0, 0]


def test_edges_are_white_on_black():
    image = photo("coffee")
    (row,) = verdicts(Edges(), [image])
    edges_HW = decode_map(row["edges"]["bytes"])
    assert edges_HW.shape == image.shape[:2]
    assert set(np.unique(edges_HW)) == {0, 255}
    assert row["density"] == pytest.approx((edges_HW > 0).mean())
    assert verdicts(Edges(model="classic:xdog"), [image])[0]["edges"] != row["edges"]


def test_xdog_draws_dark_lines_and_leaves_flat_places_black():
    page = np.full((60, 60, 3), 240, np.uint8)
    cv2.line(page, (10, 30), (50, 30), (10, 10, 10), 2)
    (strokes_HW,) = Xdog().edges([page])
    assert strokes_HW[30, 15:45].all()
    assert not strokes_HW[:20].any()
    assert not Xdog().edges([255 - page])[0][30, 15:45].any()  # a bright line is not a dark one


def test_a_matte_is_made_of_each_mask():
    mask_HW = np.zeros((40, 60), bool)
    mask_HW[10:30, 20:40] = True
    rows = [
        {"entity": 0, "mask_size": None, "mask_counts": None},
        {"entity": 1, "mask_size": [40, 60], "mask_counts": encode_mask(mask_HW)},
    ]
    annotation = Matting(model=f"{HERE}:Halfway", border=0.05)
    images = [StoredImage("a", {}, {"entities": rows}, FLAT), StoredImage("b", {}, {"entities": []}, FLAT)]
    found, nothing = annotation.load().annotate(images)
    assert nothing == Dropped(Reason.NO_ENTITY)
    assert [row["entity"] for row in found.rows] == [1]
    alpha_HW = decode_map(found.rows[0]["alpha"]["bytes"])
    assert (alpha_HW[20, 30], alpha_HW[20, 20], alpha_HW[20, 5]) == (255, 128, 0)
    assert found.rows[0]["area_share"] == pytest.approx(alpha_HW.mean() / 255, abs=1e-3)


def test_a_trimap_does_not_open_the_mask_at_the_picture_border():
    mask_HW = np.zeros((40, 60), bool)
    mask_HW[:, :30] = True
    levels_HW = trimap(mask_HW, 0.05)
    assert levels_HW[0, 0] == 255
    assert levels_HW[0, 30] == 128
    assert levels_HW[0, 59] == 0

"""SAM3 of transformers, phrases to boxes and masks and boxes to masks, on tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Sam3Model, Sam3Processor, Sam3TrackerModel, Sam3TrackerProcessor

from tests.support.photos import photo
from tests.support.tiny_sam3 import save_sam3, save_sam3_video
from x2i.annotate.base import StoredImage
from x2i.annotate.entities import Entities
from x2i.image.rle import decode_mask
from x2i.models.abilities import Box
from x2i.models.registry import Ability, load

PHRASES = ["red car", "cup"]
BOXES = [Box(10, 10, 60, 50), Box(30, 30, 90, 70)]
ALL = {"threshold": 0.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sam3")
    return {"sam3": save_sam3(root / "sam3"), "sam3_video": save_sam3_video(root / "video")}


@pytest.mark.parametrize("name", ["sam3", "sam3_video"])
def test_objects_and_masks_are_those_of_the_library(folders, name):
    image = photo("coffee", 128).copy()
    (found,) = load(Ability.DETECTOR, f"hf:{folders[name]}", ALL).detect([image], [PHRASES])
    processor, model = Sam3Processor.from_pretrained(folders[name]), Sam3Model.from_pretrained(folders[name])
    expected = []
    for phrase in PHRASES:
        inputs = processor(images=image, text=phrase, return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        (result,) = processor.post_process_instance_segmentation(outputs, threshold=0.0, target_sizes=[image.shape[:2]])
        parts = result["scores"].tolist(), result["boxes"].numpy(), result["masks"].numpy()
        expected += [(phrase, *each) for each in zip(*parts, strict=True)]
    expected.sort(key=lambda each: -each[1])
    assert len(found) == len(expected) == 12
    for detection, (phrase, score, box, mask_HW) in zip(found, expected, strict=True):
        assert detection.phrase == phrase
        assert detection.score == pytest.approx(score, abs=1e-6)
        assert np.abs(np.array([*vars(detection.box).values()]) - np.clip(box, 0, 128)).max() <= 1
        assert np.array_equal(detection.mask_HW, mask_HW.astype(bool))


def test_masks_from_boxes_are_those_of_the_library(folders):
    image = photo("coffee", 128).copy()
    ((*found,),) = load(Ability.SEGMENTER, f"hf:{folders['sam3_video']}").segment([image], [BOXES])
    processor = Sam3TrackerProcessor.from_pretrained(folders["sam3_video"])
    corners = [[[float(v) for v in vars(box).values()] for box in BOXES]]
    inputs = processor(images=image, input_boxes=corners, return_tensors="pt")
    with torch.no_grad():
        outputs = Sam3TrackerModel.from_pretrained(folders["sam3_video"])(**inputs, multimask_output=False)
    masks = processor.post_process_masks(outputs.pred_masks, inputs["original_sizes"])[0]
    for segment, mask, score in zip(found, masks, outputs.iou_scores.flatten(), strict=True):
        assert np.array_equal(segment.mask_HW, mask[0].numpy())
        assert segment.score == pytest.approx(float(score.clamp(0, 1)), abs=1e-6)


def test_a_batch_is_as_its_images_alone(folders):
    detector = load(Ability.DETECTOR, f"hf:{folders['sam3']}", ALL)
    images, phrases = [photo("coffee", 128), photo("astronaut", 96), photo("camera", 64)], [PHRASES, ["cat"], []]
    together = detector.detect(images, phrases)
    assert [len(found) for found in together] == [12, 6, 0]
    for image, asked, found in zip(images, phrases, together, strict=True):
        for one, alone in zip(found, detector.detect([image], [asked])[0], strict=True):
            assert (one.phrase, one.box) == (alone.phrase, alone.box)
            assert one.score == pytest.approx(alone.score, abs=1e-4)


def test_an_annotation_keeps_its_masks_without_a_segmenter(folders):
    entities = Entities(model=f"hf:{folders['sam3']}", segmenter="", phrases=tuple(PHRASES), set=ALL)
    image = photo("coffee", 128)
    (verdict,) = entities.load().annotate([StoredImage("k", {}, {}, image)])
    with_masks = [row for row in verdict.rows if row["mask_counts"]]
    assert with_masks
    for row in with_masks:
        mask_HW = decode_mask(row["mask_counts"], *row["mask_size"])
        assert mask_HW.shape == image.shape[:2]
        assert row["area_share"] == pytest.approx(mask_HW.mean(), abs=1e-6)

"""Instances by universal segmentation models of transformers, on tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from tests.support import tiny_maps
from tests.support.photos import photo
from x2i.annotate.base import Found, StoredImage
from x2i.annotate.entities import Entities
from x2i.image.rle import decode_mask
from x2i.models.registry import Ability, load

COFFEE, ASTRONAUT = photo("coffee", 128).copy(), photo("astronaut", 96).copy()
LOW = {"threshold": 0.01}


@pytest.fixture(scope="module", params=["mask2former", "oneformer"])
def folder(request, tmp_path_factory):
    return getattr(tiny_maps, f"save_{request.param}")(tmp_path_factory.mktemp("hf") / request.param)


def expected(folder, image):
    """Returns what transformers finds itself."""
    asked = {}
    processor, kind = transformers.AutoImageProcessor, transformers.AutoModelForUniversalSegmentation
    if folder.name == "oneformer":
        processor, asked = transformers.OneFormerProcessor, {"task_inputs": ["instance"]}
    processor, model = processor.from_pretrained(folder), kind.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images=image, return_tensors="pt", **asked))
    (found,) = processor.post_process_instance_segmentation(outputs, threshold=0.01, target_sizes=[image.shape[:2]])
    return found, model.config.id2label


def test_objects_are_those_of_the_library(folder):
    (found,) = load(Ability.DETECTOR, f"hf-instances:{folder}", LOW).detect([COFFEE], [[]])
    theirs, labels = expected(folder, COFFEE)
    assert found
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    by_mask = {(theirs["segmentation"] == s["id"]).numpy().tobytes(): s for s in theirs["segments_info"]}
    for detection in found:
        segment = by_mask[detection.mask_HW.tobytes()]
        assert detection.phrase == labels[segment["label_id"]]
        assert detection.score == pytest.approx(segment["score"], abs=1e-4)
        rows, columns = np.nonzero(detection.mask_HW)
        box = detection.box
        assert (box.x0, box.y0, box.x1, box.y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_batch_of_several_sizes_is_as_its_images_alone(folder):
    detector = load(Ability.DETECTOR, f"hf-instances:{folder}", LOW)
    images = [COFFEE, ASTRONAUT, COFFEE[:, ::-1].copy()]
    for image, found in zip(images, detector.detect(images, [[]] * 3)):
        (alone,) = detector.detect([image], [[]])
        assert [d.phrase for d in alone] == [d.phrase for d in found]
        assert np.allclose([d.score for d in alone], [d.score for d in found], atol=1e-4)
        assert all((a.mask_HW != d.mask_HW).mean() < 1e-3 for a, d in zip(alone, found))


def test_detect_keeps_their_masks_and_needs_no_phrases(folder):
    entities = Entities(model=f"hf-instances:{folder}", segmenter="", set=LOW)
    entities.config()
    (found,) = entities.load().annotate([StoredImage("a", {}, {}, COFFEE)])
    assert isinstance(found, Found)
    assert all(decode_mask(row["mask_counts"], *row["mask_size"]).any() for row in found.rows)

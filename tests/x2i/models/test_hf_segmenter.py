"""SAM and SAM2 of transformers, on tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Sam2Model, Sam2Processor, SamModel, SamProcessor

from tests.support.photos import photo
from tests.support.tiny_detectors import save_sam, save_sam2
from x2i.errors import UserError
from x2i.models.abilities import Box
from x2i.models.registry import Ability, backend, load

BOXES = [Box(10, 10, 60, 50), Box(30, 30, 90, 70)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("hf")
    return {"sam": save_sam(root / "sam"), "sam2": save_sam2(root / "sam2")}


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_masks_are_those_of_the_library(folders, name):
    image = photo("coffee", 128)
    ((*found,),) = load(Ability.SEGMENTER, f"hf:{folders[name]}").segment([image], [BOXES])
    model, processor = {"sam": (SamModel, SamProcessor), "sam2": (Sam2Model, Sam2Processor)}[name]
    processor, model = processor.from_pretrained(folders[name]), model.from_pretrained(folders[name])
    corners = [[[float(v) for v in vars(box).values()] for box in BOXES]]
    inputs = processor(images=image.copy(), input_boxes=corners, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs, multimask_output=False)
    sizes = [inputs["original_sizes"], inputs["reshaped_input_sizes"]] if name == "sam" else [inputs["original_sizes"]]
    masks = processor.post_process_masks(outputs.pred_masks, *sizes)[0]
    for segment, mask, score in zip(found, masks, outputs.iou_scores.flatten(), strict=True):
        assert segment.mask_HW.shape == image.shape[:2]
        assert segment.mask_HW.dtype == bool
        assert np.array_equal(segment.mask_HW, mask[0].numpy())
        assert segment.score == pytest.approx(float(score.clamp(0, 1)), abs=1e-6)


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_a_batch_is_as_its_images_alone(folders, name):
    segmenter = load(Ability.SEGMENTER, f"hf:{folders[name]}")
    images, boxes = [photo("coffee", 128), photo("astronaut", 96), photo("camera", 64)], [BOXES, BOXES[:1], []]
    together = segmenter.segment(images, boxes)
    assert [len(of_image) for of_image in together] == [2, 1, 0]
    for image, asked, found in zip(images, boxes, together):
        for segment, alone in zip(found, segmenter.segment([image], [asked])[0], strict=True):
            assert (segment is None) == (alone is None)
            assert segment is None or (segment.mask_HW != alone.mask_HW).mean() < 1e-3


def test_a_model_that_is_nowhere_is_told_in_words(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model 'nobody/nothing': no such folder"):
        backend(Ability.SEGMENTER, "hf:nobody/nothing").resolve()

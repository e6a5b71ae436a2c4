"""Any depth-estimation model of transformers, on a tiny network of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.photos import photo
from tests.support.tiny_models import save_depth_model
from x2i.errors import UserError
from x2i.models.registry import Ability, backend, load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_depth_model(tmp_path_factory.mktemp("hf") / "depth")


def test_depth_is_what_the_library_predicts(folder):
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    image = photo("coffee")
    (found_HW,) = load(Ability.DEPTH_ESTIMATOR, f"hf:{folder}").depth([image])
    processor, model = AutoImageProcessor.from_pretrained(folder), AutoModelForDepthEstimation.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images=image, return_tensors="pt"))
    sizes = [image.shape[:2]]
    expected_HW = processor.post_process_depth_estimation(outputs, target_sizes=sizes)[0]["predicted_depth"].numpy()
    assert found_HW.shape == image.shape[:2]
    assert np.abs(found_HW - expected_HW).max() < 1e-5
    assert np.ptp(found_HW) > 0


def test_a_batch_of_several_sizes_is_as_its_images_alone(folder):
    estimator = load(Ability.DEPTH_ESTIMATOR, f"hf:{folder}")
    images = [photo("coffee"), photo("astronaut"), photo("coffee")[:, ::-1].copy()]
    together = estimator.depth(images)
    for image, map_HW in zip(images, together):
        assert np.abs(map_HW - estimator.depth([image])[0]).max() < 1e-4


def test_a_model_that_is_nowhere_is_told_in_words(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model 'nobody/nothing': no such folder"):
        backend(Ability.DEPTH_ESTIMATOR, "hf:nobody/nothing").resolve()
    with pytest.raises(UserError, match=r"^\./models/nothing: no such folder$"):
        backend(Ability.DEPTH_ESTIMATOR, "hf:./models/nothing").resolve()


def test_options_are_checked_and_named(folder):
    assert backend(Ability.DEPTH_ESTIMATOR, f"hf:{folder}", {"batch": 4}).batch_size == 4
    with pytest.raises(UserError, match="batches: unknown key: did you mean 'batch'"):
        backend(Ability.DEPTH_ESTIMATOR, f"hf:{folder}", {"batches": 4})

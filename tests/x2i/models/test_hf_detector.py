"""Zero-shot detectors of transformers, on tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from tests.support.photos import photo
from tests.support.tiny_detectors import save_grounding_dino, save_owlv2
from tests.support.tiny_models import save_depth_model
from x2i.errors import UserError
from x2i.models.registry import Ability, backend, load

PHRASES = ["red car", "cup of coffee", "cat"]
LOW = {"threshold": 0.01}


@pytest.fixture(scope="module", params=["grounding_dino", "mm_grounding_dino", "owlv2"])
def folder(request, tmp_path_factory):
    target = tmp_path_factory.mktemp("hf") / request.param
    if request.param == "owlv2":
        return save_owlv2(target)
    return save_grounding_dino(target, kind="MMGroundingDino" if "mm" in request.param else "GroundingDino")


def expected(folder, image, phrases):
    """Returns what transformers finds itself."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder)
    inputs = processor(images=image, text=[phrases], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    known = {"text_labels": [phrases]} if "owl" in model.config.model_type else {"input_ids": inputs["input_ids"]}
    found = processor.post_process_grounded_object_detection(
        outputs, threshold=0.01, target_sizes=[image.shape[:2]], **known
    )
    return found[0]


def test_it_finds_what_the_library_finds(folder):
    image = photo("coffee", 128)
    (found,) = load(Ability.DETECTOR, f"hf:{folder}", LOW).detect([image], [PHRASES])
    theirs = expected(folder, image.copy(), PHRASES)
    assert len(found) > 3
    order = theirs["scores"].argsort(descending=True, stable=True)
    assert np.allclose([d.score for d in found], theirs["scores"][order], atol=1e-5)
    for detection, box, label in zip(found, theirs["boxes"][order], [theirs["text_labels"][n] for n in order]):
        box = np.clip(box.numpy(), 0, [128, image.shape[0]] * 2)
        assert np.abs(np.array([*vars(detection.box).values()]) - box).max() <= 1
        words = set(label.replace(".", " ").split())
        assert not words or words & {"[UNK]", *detection.phrase.split()}


def test_a_batch_of_several_sizes_and_phrases_is_as_its_images_alone(folder):
    detector = load(Ability.DETECTOR, f"hf:{folder}", LOW)
    images = [photo("coffee", 128), photo("astronaut", 96), photo("coffee", 128)[:, ::-1].copy(), photo("coffee", 128)]
    phrases = [PHRASES, ["astronaut"], ["table", "coffee", "a red flag"], []]
    together = detector.detect(images, phrases)
    assert together[3] == []
    for image, words, found in zip(images, phrases, together):
        (alone,) = detector.detect([image], [words])
        assert [(d.box, d.phrase) for d in found] == [(d.box, d.phrase) for d in alone]
        assert np.allclose([d.score for d in found], [d.score for d in alone], atol=1e-4)
        assert {d.phrase for d in found} <= set(words)


def test_the_threshold_cuts(folder):
    found = load(Ability.DETECTOR, f"hf:{folder}", LOW).detect([photo("coffee", 128)], [PHRASES])[0]
    middle = found[len(found) // 2].score
    cut = load(Ability.DETECTOR, f"hf:{folder}", {"threshold": middle}).detect([photo("coffee", 128)], [PHRASES])[0]
    assert [d.score for d in cut] == [d.score for d in found if d.score > middle]


def test_a_model_that_is_nowhere_or_of_another_kind_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model 'nobody/nothing': no such folder"):
        backend(Ability.DETECTOR, "hf:nobody/nothing").resolve()
    with pytest.raises(UserError, match="cannot be loaded as AutoModelForZeroShotObjectDetection: Unrecognized"):
        load(Ability.DETECTOR, f"hf:{save_depth_model(tmp_path / 'depth')}")

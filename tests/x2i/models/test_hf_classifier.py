"""transformers' image classifiers, on a tiny network of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from tests.support.annotating import verdicts
from tests.support.photos import photo
from tests.support.tiny_models import save_classifier
from x2i.annotate.classifier import Classifier
from x2i.annotate.nsfw import Nsfw
from x2i.errors import UserError
from x2i.models.registry import Ability, load

NAMES = ("chelsea", "coffee", "astronaut", "camera")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("vit") / "tiny")


def logits(folder, images):
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**processor(images=images, return_tensors="pt")).logits


def test_probabilities_are_those_of_the_library(folder):
    images = [photo(name) for name in NAMES]
    classifier = load(Ability.IMAGE_CLASSIFIER, f"hf:{folder}")
    found_NC = classifier.classify(images)
    assert classifier.labels == ("photograph", "drawing", "watermark")
    assert np.abs(found_NC - logits(folder, images).softmax(dim=1).numpy()).max() < 1e-6
    assert np.ptp(found_NC) > 0.01


def test_labels_that_do_not_exclude_each_other_are_judged_alone(tmp_path):
    folder = save_classifier(tmp_path / "tags", problem_type="multi_label_classification")
    images = [photo(name) for name in NAMES]
    found_NC = load(Ability.IMAGE_CLASSIFIER, f"hf:{folder}").classify(images)
    assert np.abs(found_NC - logits(folder, images).sigmoid().numpy()).max() < 1e-6


def test_a_batch_is_as_its_images_alone(folder):
    classifier = load(Ability.IMAGE_CLASSIFIER, f"hf:{folder}")
    images = [photo(name) for name in NAMES]
    alone = np.concatenate([classifier.classify([image]) for image in images])
    assert np.abs(classifier.classify(images) - alone).max() < 1e-5


def test_the_column_holds_the_likeliest_label_and_the_named_ones(folder):
    images = [photo(name) for name in NAMES]
    expected_NC = logits(folder, images).softmax(dim=1).numpy()
    rows = verdicts(Classifier(model=f"hf:{folder}", labels=("watermark", "photograph")), images)
    for row, expected_C in zip(rows, expected_NC):
        assert row["label"] == ("photograph", "drawing", "watermark")[expected_C.argmax()]
        assert row["probability"] == pytest.approx(expected_C.max(), abs=1e-5)
        assert row["probabilities"] == pytest.approx(expected_C[[2, 0]], abs=1e-5)
        assert row["score"] == max(row["probabilities"])
    (plain,) = verdicts(Classifier(model=f"hf:{folder}"), images[:1])
    assert (plain["score"], plain["probabilities"]) == (None, [])


def test_nsfw_takes_any_classifier_and_a_label_of_it(folder):
    (row,) = verdicts(Nsfw(model=f"hf:{folder}", label="drawing"), [photo("coffee")])
    assert row["score"] == pytest.approx(float(logits(folder, [photo("coffee")]).softmax(dim=1)[0, 1]), abs=1e-5)
    with pytest.raises(UserError, match="no label 'nsfw'; it has photograph, drawing, watermark"):
        Nsfw(model=f"hf:{folder}").load()

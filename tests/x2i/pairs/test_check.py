"""Checks of pairs: resizes are repaired, other misalignments are flagged or left out, exempt tasks pass."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.photos import photo
from x2i.image import decode, encode
from x2i.pairs.check import PairChecks
from x2i.reasons import DroppedError, Reason
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store.shards import EncodedImage


def pair(before: np.ndarray, after: np.ndarray, task: str = "edit", words: str = "Add a dog.") -> tuple[Any, Any, Any]:
    sizes = tuple((image.shape[1], image.shape[0]) for image in (before, after))
    source = Lineage(("a", "b"), ("", ""), ("", ""))
    sample = Sample("k", task, f"{placeholder(1)} {words}", sizes, source, RecipeStamp("x", 1, {"line": 3}))
    first, second = (EncodedImage(encode(np.ascontiguousarray(image), "png"), "png") for image in (before, after))
    return sample, [first], second


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def test_a_resized_pair_is_repaired_and_says_so() -> None:
    image = photo("coffee", 256)
    small = resized(image, image.shape[1] * 3 // 4, image.shape[0] * 3 // 4)
    sample, (kept,), _ = PairChecks(alignment="repair").check(*pair(image, small))
    assert decode(kept.data).shape == small.shape
    assert sample.sizes[0] == sample.sizes[1]
    found = sample.recipe.parameters["alignment"]
    assert (found["kind"], found["repaired"], sample.recipe.parameters["line"]) == ("resize", True, 3)
    assert sample.scores["alignment.scale_x"] == pytest.approx(0.75, abs=0.004)
    flagged, (same,), _ = PairChecks(alignment="flag").check(*pair(image, small))
    assert decode(same.data).shape == image.shape
    assert flagged.sizes == pair(image, small)[0].sizes


def test_cropped_and_stretched_pairs_are_flagged_with_a_reason_or_left_out() -> None:
    image = photo("coffee", 256)
    height, width = image.shape[:2]
    for after, kind in ((image[8:-8, 20:-4], "crop"), (resized(image, width, height * 4 // 5), "stretch")):
        sample, (kept,), _ = PairChecks(alignment="repair").check(*pair(image, after))
        assert sample.recipe.parameters["alignment"]["kind"] == kind
        assert kind in sample.recipe.parameters["alignment"]["reason"]
        assert decode(kept.data).shape == image.shape
        with pytest.raises(DroppedError) as error:
            PairChecks(alignment="drop").check(*pair(image, after))
        assert error.value.verdict.reason is Reason.MISALIGNED
        exempt, _, _ = PairChecks(alignment="drop").check(*pair(image, after, "outpaint"))
        assert "alignment" not in exempt.recipe.parameters


def test_faulty_words_are_flagged_or_left_out() -> None:
    image = photo("coffee", 64)
    sample, _, _ = PairChecks(lint="flag").check(*pair(image, image, words="None"))
    assert sample.recipe.parameters["lint"] == ["null_like"]
    assert PairChecks(lint="drop").check(*pair(image, image))[0].recipe.parameters["lint"] == []
    with pytest.raises(DroppedError, match="null_like"):
        PairChecks(lint="drop").check(*pair(image, image, words="None"))

"""Non-maximum suppression within a phrase."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import batched_nms

from x2i.annotate.suppression import intersection_over_union, suppressed
from x2i.models.abilities import Box, Detection

ONE, NEARLY, ELSEWHERE = Box(0, 0, 10, 10), Box(0, 0, 10, 9), Box(20, 20, 30, 30)


def test_the_overlap_of_boxes():
    assert intersection_over_union(ONE, ONE) == 1
    assert intersection_over_union(ONE, NEARLY) == 0.9
    assert intersection_over_union(ONE, ELSEWHERE) == 0


def test_the_better_of_two_boxes_of_one_phrase_stays():
    found = [Detection(NEARLY, 0.5, "cat"), Detection(ONE, 0.9, "cat"), Detection(ELSEWHERE, 0.1, "cat")]
    assert suppressed(found, 0.5) == [found[1], found[2]]
    assert len(suppressed(found, 0.95)) == 3


def test_boxes_of_two_phrases_and_of_none_do_not_suppress_one_another():
    named = [Detection(ONE, 0.9, "cat"), Detection(ONE, 0.8, "tabby")]
    unnamed = [Detection(ONE, 0.7), Detection(ONE, 0.6)]
    assert suppressed([*named, *unnamed], 0.5) == [*named, *unnamed]


def test_it_keeps_what_torchvision_keeps():
    random = np.random.default_rng(0)
    corners = random.integers(0, 60, (200, 2))
    boxes = np.hstack([corners, corners + random.integers(5, 40, (200, 2))])
    scores, classes = random.permutation(200) / 200, random.integers(0, 3, 200)
    found = [Detection(Box(*map(int, b)), float(s), str(c)) for b, s, c in zip(boxes, scores, classes)]
    kept = batched_nms(*map(torch.tensor, (boxes.astype(np.float64), scores, classes)), 0.4)
    assert suppressed(found, 0.4) == [found[n] for n in kept.tolist()]
    assert 3 < len(kept) < 200

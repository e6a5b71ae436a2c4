"""Images whose hashes are near look the same if one is a copy of the other, however small or compressed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from x2i.relate.looks import Looks


def page(*lines: str, size: tuple[int, int] = (560, 400)) -> np.ndarray:
    picture = np.full((*size, 3), 255, np.uint8)
    for row, line in enumerate(lines, 2):
        cv2.putText(picture, line, (40, 50 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (0, 0, 0), 3)
    return picture


def copied(picture: np.ndarray, quality: int, scale: float) -> np.ndarray:
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(Looks.of([one, other]).same(0, np.array([1]))[0])


@pytest.mark.parametrize("other", [("Invoice 1002", "Total 91"), ("Invoice 1002", "Total 55"), ("Invoice", "Total 55")])
def test_pages_of_one_form_with_other_words_do_not_look_the_same(other):
    assert not same(page("Invoice 1001", "Total 55"), page(*other))


@pytest.mark.parametrize(("quality", "scale"), [(15, 0.34), (50, 0.34), (40, 0.5), (90, 1.0)])
def test_a_small_and_compressed_copy_of_a_page_looks_the_same(quality, scale):
    original = page("Invoice 1001", "Total 55")
    assert same(original, copied(original, quality, scale))


def test_a_photograph_with_a_small_mark_on_it_is_still_its_copy():
    grains = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    photograph = cv2.resize(grains, (640, 480), interpolation=cv2.INTER_CUBIC)
    marked = photograph.copy()
    cv2.putText(marked, "(c) me", (520, 460), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    assert same(photograph, marked)

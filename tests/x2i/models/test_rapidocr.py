"""Text lines by rapidocr on its trained weights."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import rapidocr

from tests.support.annotating import verdicts
from tests.support.photographs import photograph
from x2i.annotate.base import StoredImage
from x2i.annotate.text import Text
from x2i.annotate.text_area import TextArea
from x2i.models.registry import Ability, backend, load
from x2i.reasons import Dropped, Reason

SAID = {
    0: "Region-based segmentation",
    1: "Let us first determine markers of the coins and the",
    2: "background. These markers are pixels that we can label",
    3: "unambiguously as either object or background. Here,",
    5: "histogram of grey values:",
}
"""Of the seven lines of `page`, those that are read without an error."""


@pytest.fixture(scope="module")
def page_rows():
    (found,) = verdicts(Text(), [photograph("page.png")])
    return found.rows


def test_the_lines_of_a_page_are_found_and_read(page_rows):
    assert len(page_rows) == 7
    for number, words in SAID.items():
        assert page_rows[number]["text"] == words
        assert page_rows[number]["score"] > 0.9
    tops = [row["y0"] for row in page_rows]
    assert tops == sorted(tops)
    assert [row["line"] for row in page_rows] == list(range(7))
    for row in page_rows:
        assert 0 <= row["x0"] < row["x1"] <= 384
        assert 0 <= row["y0"] < row["y1"] <= 191
        assert len(row["polygon"]) == 8


def drawn(words: str, x: int, y: int) -> np.ndarray:
    image = photograph("coffee.png").copy()
    cv2.rectangle(image, (x, y), (x + 250, y + 50), (255, 255, 255), -1)
    cv2.putText(image, words, (x + 15, y + 38), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2, cv2.LINE_AA)
    return image


def test_drawn_words_are_read_where_they_stand_and_measured():
    reader = {"set": {"short_side": 341}}
    (found,) = verdicts(Text(**reader), [drawn("FRESH COFFEE", 200, 40)])
    row = max(found.rows, key=lambda row: row["score"])
    assert row["text"].replace(" ", "") == "FRESHCOFFEE"
    assert 190 <= row["x0"] < row["x1"] <= 470
    assert 35 <= row["y0"] < row["y1"] <= 95


def test_the_area_of_text_counts_overlaps_once_and_leaves_uncertain_and_single_marks_out(page_rows):
    lines = [
        {"polygon": [0, 0, 49, 0, 49, 9, 0, 9], "text": "FRESH", "score": 0.9},
        {"polygon": [0, 5, 49, 5, 49, 14, 0, 14], "text": "COFFEE", "score": 0.95},
        {"polygon": [0, 0, 99, 0, 99, 99, 0, 99], "text": "o sr", "score": 0.6},
        {"polygon": [0, 0, 99, 0, 99, 99, 0, 99], "text": "O", "score": 0.97},
    ]
    size, nothing = {"width": 100, "height": 100}, np.zeros((0, 0, 3), np.uint8)
    some, none = TextArea().annotate(
        [StoredImage("a", size, {"text": lines}, nothing), StoredImage("b", size, {"text": []}, nothing)]
    )
    assert some == {"score": pytest.approx(50 * 15 / 10000), "lines": 2}
    assert none == {"score": 0, "lines": 0}
    (letters,) = TextArea(min_characters=1).annotate([StoredImage("a", size, {"text": lines}, nothing)])
    assert letters == {"score": 1, "lines": 3}
    (page,) = TextArea().annotate([StoredImage("p", {"width": 384, "height": 191}, {"text": page_rows}, nothing)])
    assert page["lines"] == 6
    assert 0.35 < page["score"] < 0.65


@pytest.mark.parametrize("name", ["rocket.jpg", "astronaut.png"])
def test_a_picture_without_text_has_no_line(name):
    assert verdicts(Text(set={"short_side": 400}), [photograph(name)]) == [Dropped(Reason.NOTHING_FOUND)]


def test_lines_are_the_packages_own_and_a_batch_is_its_images_alone():
    reader = load(Ability.TEXT_DETECTOR, "rapidocr", {"short_side": 256})
    images = [photograph("page.png"), photograph("coffee.png"), drawn("OPEN", 100, 200)]
    own = rapidocr.RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "Global.log_level": "error",
            "Det.limit_side_len": 256,
        }
    )
    for image, lines in zip(images, reader.read(images)):
        direct = own(image[..., ::-1].copy())
        assert [line.text for line in lines] == list(direct.txts or ())
        (alone,) = reader.read([image])
        assert [line.text for line in alone] == [line.text for line in lines]
        for line, again, score in zip(lines, alone, direct.scores or ()):
            assert line.score == pytest.approx(again.score, abs=1e-4) == pytest.approx(score, abs=1e-4)
            assert np.abs(line.polygon_42 - again.polygon_42).max() < 1


def test_lines_read_with_less_certainty_than_asked_for_do_not_count():
    strict = backend(Ability.TEXT_DETECTOR, "rapidocr", {"min_score": 0.9}).load()
    (lines,) = strict.read([photograph("page.png")])
    assert len(lines) == 6
    assert min(line.score for line in lines) >= 0.9

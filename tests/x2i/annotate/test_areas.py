"""How many faces an image shows and how large they are, against boxes that were given."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.annotating import verdicts
from tests.support.photographs import photograph
from x2i.annotate.base import StoredImage
from x2i.annotate.face_area import FaceArea
from x2i.annotate.faces import Faces


def face(x0: int, y0: int, x1: int, y1: int, score: float, pixels: int) -> dict:
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": score, "share": (x1 - x0) * (y1 - y0) / pixels}


def area(*faces: dict, **options: float) -> dict:
    image = StoredImage("k", {}, {"faces": faces}, np.zeros((0, 0, 3), np.uint8))
    (verdict,) = FaceArea(**options).load().annotate([image])
    return dict(verdict)


def test_faces_are_counted_and_measured():
    small, large, doubtful = (
        face(0, 0, 10, 20, 0.9, 10_000),
        face(50, 50, 90, 80, 0.95, 10_000),
        face(0, 50, 50, 100, 0.5, 10_000),
    )
    assert area(small, large, doubtful) == {
        "score": pytest.approx(0.14), "faces": 2, "largest": pytest.approx(0.12), "largest_side": 30
    }  # fmt: skip
    assert area(small, large, doubtful, min_score=0.4)["faces"] == 3
    assert area() == {"score": 0, "faces": 0, "largest": 0, "largest_side": 0}


def test_the_astronaut_is_one_large_face():
    (found,) = verdicts(Faces(), [photograph("astronaut.png")])
    result = area(*found.rows)
    assert result["faces"] == 1
    assert 0.02 < result["largest"] < 0.2
    assert result["score"] == result["largest"]

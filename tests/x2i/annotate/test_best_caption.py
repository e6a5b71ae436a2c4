"""The best of several captions of an image."""

from __future__ import annotations

import numpy as np
import pytest

from x2i.annotate.base import StoredImage
from x2i.annotate.best_caption import BestCaption
from x2i.errors import UserError
from x2i.reasons import Dropped, Reason

NAMED = {"captions": ("pages", "model"), "scores": ("of_pages", "of_model")}


def chosen(pages, of_pages, model, of_model):
    def rows(field, value):
        return [] if value is None else [{field: value, "source": "x"}]

    columns = {"pages": rows("caption", pages), "model": rows("caption", model)}
    columns |= {"of_pages": rows("score", of_pages), "of_model": rows("score", of_model)}
    (verdict,) = BestCaption(**NAMED).load().annotate([StoredImage("k", {}, columns, np.zeros((0, 0, 3), np.uint8))])
    return verdict


@pytest.mark.parametrize(
    ("found", "column"),
    [
        (("a cat", 0.2, "a tabby cat", 0.3), "model"),
        (("a cat", 0.3, "a tabby cat", 0.2), "pages"),
        (("a cat", 0.3, "a tabby cat", 0.3), "pages"),
        (("a cat", None, "a tabby cat", -0.1), "model"),
        (("a cat", None, "a tabby cat", None), "pages"),
        (("", 0.9, "a tabby cat", 0.1), "model"),
        ((None, None, "a tabby cat", 0.1), "model"),
    ],
)
def test_the_caption_of_the_highest_score_is_chosen(found, column):
    verdict = chosen(*found)
    assert verdict["column"] == column
    assert verdict["caption"] == found[0 if column == "pages" else 2]
    assert verdict["score"] == found[1 if column == "pages" else 3]


def test_an_image_without_any_caption_has_none():
    assert chosen(None, None, "", 0.1).reason is Reason.NO_CAPTION
    assert isinstance(chosen(None, None, None, None), Dropped)


def test_each_column_of_captions_needs_its_score():
    assert BestCaption(**NAMED).columns == ("pages", "model", "of_pages", "of_model")
    with pytest.raises(UserError, match="expected a score for each column of captions"):
        BestCaption(captions=("a", "b"), scores=("s",)).config()

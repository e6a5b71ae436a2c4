"""Entities: where phrases come from, how objects of one name are told apart, what a row says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from tests.support.photos import photo
from tests.support.tiny_detectors import save_owlv2, save_sam
from x2i.annotate.base import StoredImage
from x2i.annotate.entities import Entities
from x2i.errors import UserError
from x2i.image.rle import decode_mask
from x2i.models.abilities import Box, Detection, Segment
from x2i.models.backend import Backend
from x2i.reasons import Dropped, Reason

HERE = "tests.x2i.annotate.test_entities"
LEFT, RIGHT = Box(0, 40, 30, 60), Box(70, 40, 100, 60)


@dataclass(frozen=True)
class Echo(Backend):
    """Finds two of the first phrase, a worse box beside the left one, and one of each other phrase."""

    title: ClassVar[str] = "A detector that finds what it is told"
    needs_phrases: ClassVar[bool] = True

    def detect(self, images, phrases):
        found = []
        for words in phrases:
            boxes = [(LEFT, 0.9), (RIGHT, 0.8), (Box(0, 41, 30, 60), 0.7)] if words else []
            twice = [Detection(box, score, words[0]) for box, score in boxes]
            found.append([*twice, *(Detection(Box(10, 10, 20, 20), 0.5, word) for word in words[1:])])
        return found


@dataclass(frozen=True)
class Halves(Backend):
    """The upper half of each box."""

    title: ClassVar[str] = "A segmenter that estimates its masks"

    def segment(self, images, boxes):
        def cut(image, box):
            mask_HW = np.zeros(image.shape[:2], bool)
            mask_HW[box.y0 : (box.y0 + box.y1) // 2, box.x0 : box.x1] = True
            return Segment(mask_HW, 0.75)

        return [[cut(image, box) for box in found] for image, found in zip(images, boxes)]


@dataclass(frozen=True)
class Outlines(Backend):
    """Finds each phrase, the first one with a mask of its own."""

    title: ClassVar[str] = "A detector that gives a mask"
    needs_phrases: ClassVar[bool] = True

    def detect(self, images, phrases):
        mask_HW = np.zeros((100, 100), bool)
        mask_HW[50:55, 10:20] = True
        return [
            [Detection(LEFT, 0.9, words[0], mask_HW), *(Detection(RIGHT, 0.8, word) for word in words[1:])]
            for words in phrases
        ]


@dataclass(frozen=True)
class Tagger(Backend):
    """Calls everything a cat, and half as likely a dog."""

    title: ClassVar[str] = "A classifier of one mind"
    labels: ClassVar[tuple[str, ...]] = ("dog", "tabby, tabby cat", "bird")

    def classify(self, images):
        return np.tile(np.array([0.3, 0.6, 0.1], np.float32), (len(images), 1))


def rows(entities, caption=None):
    image = StoredImage("k", {}, {"captions": [{"caption": caption}]}, np.full((100, 100, 3), 127, np.uint8))
    (verdict,) = entities.load().annotate([image])
    return verdict if isinstance(verdict, Dropped) else verdict.rows


def made(**options):
    return Entities(model=f"{HERE}:Echo", segmenter=f"{HERE}:Halves", **options)


def test_phrases_are_the_users_then_those_of_the_caption():
    entities = made(phrases=("lamp",), phrases_from="captions")
    assert entities.columns == ("captions",)
    found = rows(entities, "A red car under a lamp")
    assert [row["label"] for row in found] == ["lamp", "lamp", "red car"]


def test_objects_of_one_name_are_told_apart_by_what_can_be_measured():
    found = rows(made(phrases=("red car", "dog")))
    assert [row["phrase"] for row in found] == ["the red car on the left", "the red car on the right", "dog"]


def test_a_row_says_how_large_and_how_well_cut_an_object_is():
    first = rows(made(phrases=("dog",)))[0]
    assert {side: first[side] for side in ("x0", "y0", "x1", "y1")} == vars(LEFT)
    assert first["area_share"] == 0.03
    assert first["mask_score"] == 0.75
    assert decode_mask(first["mask_counts"], *first["mask_size"]).sum() == 300


def test_the_worse_of_two_boxes_of_one_phrase_goes_unless_the_overlap_is_allowed():
    assert len(rows(made(phrases=("dog",)))) == 2
    assert len(rows(made(phrases=("dog",), overlap=0.99))) == 3


def test_an_image_whose_caption_names_nothing_has_no_entities():
    assert rows(made(phrases_from="captions"), None) == Dropped(Reason.NO_ENTITY)
    assert rows(made(phrases_from="captions"), "Photo") == Dropped(Reason.NO_ENTITY)


def test_a_tagger_names_what_is_looked_for_beside_the_users_phrases():
    tagged = {"tagger": f"{HERE}:Tagger", "least_tag": 0.2}
    assert [row["label"] for row in rows(made(**tagged))] == ["tabby", "tabby", "dog"]
    assert [row["label"] for row in rows(made(**tagged, most_tags=1, phrases=("lamp",)))] == ["lamp", "lamp", "tabby"]
    made(**tagged).config()  # it needs no other phrases
    assert made(**tagged).stamp()["tagger"] == f"{HERE}:Tagger"


def test_a_list_of_tags_is_a_caption_too():
    entities = made(phrases_from="captions", extractor="classic:tags")
    found = rows(entities, "Red car, street lamp\n3. Tree")
    assert [row["label"] for row in found] == ["red car", "red car", "street lamp", "tree"]


def test_the_masks_of_a_detector_are_kept_and_the_segmenter_cuts_the_others():
    entities = Entities(model=f"{HERE}:Outlines", segmenter=f"{HERE}:Halves", phrases=("lamp", "cup"))
    lamp, cup = rows(entities)
    assert decode_mask(lamp["mask_counts"], 100, 100).sum() == 50
    assert lamp["mask_score"] is None
    assert decode_mask(cup["mask_counts"], 100, 100).sum() == 300
    assert cup["mask_score"] == 0.75


def test_without_a_segmenter_there_are_boxes_and_the_masks_of_the_detector():
    entities = Entities(model=f"{HERE}:Outlines", segmenter="", phrases=("lamp", "cup"))
    lamp, cup = rows(entities)
    assert decode_mask(lamp["mask_counts"], 100, 100).sum() == 50
    assert cup["mask_counts"] is None
    assert cup["area_share"] == pytest.approx(0.06)
    assert "segmenter" not in entities.stamp()
    assert "segmenter" in entities.spec().schema.names


def test_options_that_change_no_result_are_no_part_of_the_fingerprint():
    plain = Entities(model="hf:x", phrases=("lamp",), set={"threshold": 0.5})
    more = Entities(model="hf:x", phrases=("lamp",), set={"threshold": 0.5, "batch": 3, "device": "cpu"})
    other = Entities(model="hf:x", phrases=("lamp",), set={"threshold": 0.4})
    assert plain._deciding(plain.backends()) == more._deciding(more.backends()) == {"threshold": 0.5}
    assert other._deciding(other.backends()) == {"threshold": 0.4}


def test_a_detector_that_needs_phrases_says_so_before_it_runs():
    with pytest.raises(UserError, match="Echo finds what it is told to look for: give --phrases PHRASE"):
        made().config()


def test_a_detector_that_needs_no_phrases_reads_no_captions():
    entities = Entities(phrases_from="captions")
    assert entities.columns == ()
    assert entities.config()["model"] == "classic:saliency"


def test_the_phrases_and_what_finds_them_are_part_of_the_fingerprint():
    configs = [made(phrases=("dog",)).config(), made(phrases=("cat",)).config(), made(phrases_from="captions").config()]
    assert len({str(config) for config in configs}) == 3
    assert configs[0]["extractor_revision"] == "1"


def test_owlv2_and_sam_together(tmp_path):
    detector, segmenter = save_owlv2(tmp_path / "owlv2"), save_sam(tmp_path / "sam")
    entities = Entities(
        model=f"hf:{detector}", segmenter=f"hf:{segmenter}", phrases=("cup", "table"), set={"threshold": 0.05}
    )
    image = photo("coffee", 128)
    (verdict,) = entities.load().annotate([StoredImage("k", {}, {}, image)])
    assert {row["label"] for row in verdict.rows} <= {"cup", "table"}
    for row in verdict.rows:
        assert 0 < row["area_share"] <= 1
        if row["mask_counts"]:
            share = decode_mask(row["mask_counts"], *image.shape[:2]).mean()
            assert row["area_share"] == pytest.approx(share)

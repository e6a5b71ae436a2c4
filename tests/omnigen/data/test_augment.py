from __future__ import annotations

import re

import pytest
import torch
import yaml

from omnigen.data.loading.augment import (
    Mirroring,
    may_be_mirrored,
    telling_word,
)
from omnigen.data.loading.sample import Dropout, ImageReader, load, make_planned_sample
from omnigen.data.shards.catalog import Catalog
from omnigen.tokenizer import ByteTokenizer
from tests.support.training_shards import make_shards
from x2i.recipes import RECIPES
from x2i.recipes.phrasings import __file__ as instructions
from x2i.sample import placeholder

IMG = placeholder(1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("A cup to the left of a bowl", "left"),
        ("The RIGHT shoe", "RIGHT"),
        ("a left-handed guitarist", "left"),
        ("Is the driver on the right?", "right"),
        ("She looks right.", "right"),
        ("turn the wheel clockwise", "clockwise"),
        ("Flip the image horizontally", "Flip"),
        ("a street sign", "sign"),
        ("a shop that reads Bakery", "reads"),
        ("graffiti on a wall", "graffiti"),
        ("the dog's name is on its collar", "name"),
        ("a wooden clock", "clock"),
        ("a STOP at the corner", "STOP"),
        ('a shirt with "hello" on it', '"'),
        ("a mug with \u201chello\u201d on it", "\u201c"),
        ("a mug that goes 'hello you' loudly", "'hello you'"),
        ("桌子上的杯子", "桌子上的杯子"),
        ("чашка на столе", "чашка"),
        ("ein Hund links vom Baum", "links"),
        ("\uff4c\uff45\uff46\uff54 of it", "left"),
        (f"the man on the left in {IMG}", "left"),
    ],
)
def test_words_of_sides_and_letters_are_found(text, word):
    assert telling_word(text) == word
    assert not may_be_mirrored(True, text)


@pytest.mark.parametrize(
    "text",
    [
        "A bright kitchen with leftovers on an upright stand",
        "He lifted the alright-looking lamp beside a knight",
        "The cleft in the rock, a design in the eastbound gale",
        "A swordfish, a signet and a textile",
        f"Remove the blur from {IMG}, {placeholder(2)}",
        "Dogs' toys and a cat's bowl; it's sunny at the café",
        "A TV on a table, I think",
    ],
)
def test_words_that_only_contain_them_are_not(text):
    assert telling_word(text) is None
    assert may_be_mirrored(True, text)


def test_a_sample_is_mirrored_only_if_its_recipe_allows_it(tmp_path):
    catalog = Catalog.open([make_shards(tmp_path, ("deblur",), names=("coffee",), sizes=((64, 48),))])
    assert may_be_mirrored(catalog.sample_ref(0).mirrorable, "Sharpen it.") == RECIPES.get("deblur").mirrorable
    assert not may_be_mirrored(False, "Sharpen it.")


def test_most_of_our_own_phrasings_let_a_plain_caption_be_mirrored():
    from pathlib import Path

    told = []
    for path in sorted(Path(instructions).parent.glob("*.yaml")):
        if path.stem in RECIPES and not RECIPES.get(path.stem).mirrorable:
            continue  # its samples are never mirrored, whatever the words
        if path.stem == "mirror_object":
            continue  # mirroring is what its words are about
        phrasings = yaml.safe_load(path.read_text())["phrasings"]
        texts = [entry if isinstance(entry, str) else entry["phrasing"] for entry in phrasings]
        telling = [text for text in texts if telling_word(re.sub(r"\{.*?\}", "it", text))]
        assert len(telling) <= len(texts) // 10, path.name
        told.extend(telling)
    assert "Reverse the blurring of {image} and keep everything else as it is." in told


def test_mirroring_happens_as_often_as_asked_and_depends_on_the_draw_alone():
    decided = [Mirroring(0.3).decide(5, index, "key", True, "Sharpen it.") for index in range(4000)]
    assert sum(decided) / 4000 == pytest.approx(0.3, abs=0.03)
    assert decided[17] is Mirroring(0.3).decide(5, 17, "key", True, "Sharpen it.")
    for other in ((6, 0, "key"), (5, 0, "other")):
        again = [Mirroring(0.3).decide(other[0], n, other[2], True, "Sharpen it.") for n in range(4000)]
        assert again != decided
    assert not any(Mirroring(0.0).decide(5, n, "key", True, "Sharpen it.") for n in range(100))
    assert all(Mirroring(1.0).decide(5, n, "key", True, "Sharpen it.") for n in range(100))
    assert not any(Mirroring(1.0).decide(5, n, "key", True, "Sharpen the left half.") for n in range(100))


def test_all_images_of_a_sample_are_mirrored_together_and_the_reader_keeps_the_originals(tmp_path):
    catalog = Catalog.open([make_shards(tmp_path, ("few_shot",), names=("coffee",), sizes=((64, 48),))])
    reader = ImageReader(48)
    plain, mirrored, again = (
        load(make_planned_sample(0, catalog.sample_ref(0), Dropout.NONE, 48, ByteTokenizer(), mirrored=flag), reader)
        for flag in (False, True, False)
    )
    pairs = zip((plain.target, *plain.references), (mirrored.target, *mirrored.references), strict=True)
    for before, after in pairs:
        assert before.shape == after.shape
        assert after.equal(torch.from_numpy(before.numpy()[:, ::-1].copy()))
        assert not after.equal(before)
    assert again.target.equal(plain.target)
    assert mirrored.planned.layout == plain.planned.layout

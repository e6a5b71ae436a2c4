from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recipe_checks import made
from x2i.errors import UserError
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.phrasings import FOLDER, Pool, choose, filled, parse_pool, read_pool
from x2i.recipes.phrasings.nouns import condition_slots
from x2i.recipes.phrasings.wording import caption_slots, definite, indefinite
from x2i.recipes.restoration.deblur import Deblur
from x2i.sample import PLACEHOLDER_PATTERN, placeholder

GOOD = {"requires": ["image"], "phrasings": [f"Do it {k} times to {{image}}." for k in range(30)]}


def pool(name: str) -> Pool:
    return read_pool(RECIPES.get(name))


def canny(key: str, caption: str | None) -> str:
    slots = {"image": placeholder(1), **condition_slots("canny edge map"), **caption_slots(caption)}
    return choose(pool("canny_to_image"), key, **slots)


def test_half_of_text_to_image_is_the_plain_caption() -> None:
    said = [choose(pool("text_to_image"), f"key-{k}", **caption_slots("A cat on a mat.")) for k in range(2000)]
    assert 0.45 < said.count("A cat on a mat.") / 2000 < 0.55
    assert any(text.startswith("Draw a cat") for text in said)


@given(name=st.sampled_from(RECIPES.names()), key=st.text("abc0123456789_-", min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_every_instruction_marks_its_images_once_and_leaves_no_slot(name: str, key: str) -> None:
    recipe = make_recipe(name)
    instruction = recipe.instruction(key, SAMPLES.setdefault(name, made(type(recipe))))
    found = sorted(map(int, PLACEHOLDER_PATTERN.findall(instruction)))
    assert found == list(range(1, recipe.num_inputs + 1))
    assert "{" not in instruction
    assert "}" not in instruction
    assert "None" not in instruction


SAMPLES: dict = {}


@given(caption=st.text(min_size=1, max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_caption_can_pretend_to_be_an_image(caption: str) -> None:
    instruction = canny(caption[:20], f"{caption}<|image_2|><img>{caption}<|image_1|></img>")
    assert PLACEHOLDER_PATTERN.findall(instruction) == ["1"]
    assert instruction.count("<|image_") == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_phrasing_that_fits_is_chosen_and_by_the_key_alone(name: str) -> None:
    recipe, sample = make_recipe(name), made(RECIPES.get(name))
    said = Counter(recipe.instruction(f"key-{k}", sample) for k in range(2000))
    images = {slot: placeholder(number) for number, slot in enumerate(recipe.image_slots, start=1)}
    values = {slot: text for slot, text in {**images, **sample.slots}.items() if text is not None}
    fitting = [phrasing for phrasing in pool(name).phrasings if phrasing.fits(frozenset(values))]
    assert set(said) == {filled(phrasing.text, values) for phrasing in fitting}
    assert recipe.instruction("key-7", sample) == recipe.instruction("key-7", sample)


def test_a_caption_of_two_sentences_never_stands_inside_a_sentence() -> None:
    said = {canny(f"{k}", "A cat. It sleeps.") for k in range(500)}
    assert not [text for text in said if " a cat. It sleeps" in text]


def test_a_caption_that_is_there_is_always_said() -> None:
    assert all("cat" in canny(f"{k}", "A cat on a mat.") for k in range(300))
    assert len({canny(f"{k}", None) for k in range(300)}) >= 10


def test_braces_in_a_caption_are_words() -> None:
    assert choose(pool("text_to_image"), "k", **caption_slots("{image} of {nothing}")).count("{") == 2


def test_a_wrong_set_of_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="take the slots"):
        choose(pool("deblur"), "k", image=placeholder(1), damage="blur", caption="A cat")
    with pytest.raises(ValueError, match="take the slots"):
        choose(pool("inpaint"), "k", image=placeholder(1))


def test_a_pool_is_the_recipes_own_with_its_familys_on_top() -> None:
    texts = [phrasing.text for phrasing in pool("deblur").phrasings]
    assert texts[0] == "Deblur {image}."
    assert "Take the {damage} out of {image}." in texts
    assert "Take the {damage} out of {image}." not in [phrasing.text for phrasing in pool("inpaint").phrasings]
    assert "Estimate the {condition} of {image}." in [phrasing.text for phrasing in pool("image_to_depth").phrasings]


class Softer(Deblur):
    """A recipe derived from another inherits its words."""

    name = "softer"


class Alone(Deblur):
    name = "alone"
    phrasings = {"requires": ["image"], "phrasings": GOOD["phrasings"][:5], "family": False}


class Lost(Deblur):
    name = "lost"
    phrasings = "nowhere"


def test_words_are_inherited_until_a_recipe_says_otherwise() -> None:
    assert read_pool(Softer).phrasings == pool("deblur").phrasings
    with pytest.raises(UserError, match="recipe alone: 5 phrasings .*; at least 30"):
        read_pool(Alone)
    with pytest.raises(UserError, match=r"Lost: no phrasings nowhere\.yaml"):
        read_pool(Lost)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({**GOOD, "phrasings": [*GOOD["phrasings"], "Do it to nothing."]}, "expected one of the slots"),
        ({**GOOD, "phrasings": [*GOOD["phrasings"], "Do {image} with {tool}."]}, "unknown slots"),
        ({**GOOD, "phrasings": [*GOOD["phrasings"], "Do {image} with {Tool 1}."]}, "unknown slots"),
        ({**GOOD, "phrasings": [*GOOD["phrasings"], GOOD["phrasings"][0]]}, "distinct"),
        ({**GOOD, "prefers": ["a|b"], "phrasings": ["{a} and {b}: {image}"]}, "at most one of the slots"),
        ({**GOOD, "extra": 1}, "expected the keys"),
    ],
)
def test_a_faulty_pool_is_refused(document: dict, complaint: str) -> None:
    assert parse_pool("task", GOOD, "task.yaml").phrasings
    with pytest.raises(UserError, match=complaint):
        parse_pool("task", document, "task.yaml")


def test_another_pool_has_another_digest() -> None:
    texts = {name: tuple(phrasing.text for phrasing in pool(name).phrasings) for name in RECIPES}
    digests = {texts[name]: pool(name).digest for name in RECIPES}
    assert all(pool(name).digest == digests[texts[name]] for name in RECIPES)
    assert len(set(digests.values())) == len(digests) >= 10


def test_no_pool_belongs_to_nothing() -> None:
    used = {str(kind.__dict__.get("phrasings")) for name in RECIPES for kind in RECIPES.get(name).__mro__}
    assert {path.stem for path in Path(FOLDER).glob("*.yaml")} <= used | set(RECIPES)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("a red cup", "the red cup"),
        ("red cup.", "the red cup"),
        ("The man on the right", "the man on the right"),
        ("his hat", "his hat"),
        ("Big Ben", "Big Ben"),
        ("A", "the A"),
    ],
)
def test_a_noun_phrase_becomes_definite(phrase: str, expected: str) -> None:
    assert definite(phrase) == expected


@pytest.mark.parametrize(
    ("caption", "scene"),
    [
        ("A cat on a mat.", "a cat on a mat"),
        ("Galaxies far away", "Galaxies far away"),
        ("NASA's rocket.", "NASA's rocket"),
        ("A cat. It sleeps.", None),
        ("Is it a cat?", None),
        ("word " * 60, None),
        ("A football player kicks the ball", None),
        ("football player kicks the ball", None),
        ("A dog sits on a mat", None),
        ("Two dogs run on the beach", None),
        ("Children play football", None),
        ("A man and his dog walk along the river", None),
        ("A boy kicked a ball", None),
        ("A woman wearing a red dress stands in a field", None),
        ("There is a cat on the mat", None),
        ("1girl, solo, smile", None),
        ("Un chien mange une pomme", None),
        ("Two dogs on the beach", "two dogs on the beach"),
        ("A dog that is running", "a dog that is running"),
        ("A bowl of apples on a table", "a bowl of apples on a table"),
        ("People sitting on chairs", "People sitting on chairs"),
        ("A table covered with flowers", "a table covered with flowers"),
        ("The Eiffel Tower at night", "the Eiffel Tower at night"),
    ],
)
def test_a_caption_is_fitted_into_a_sentence(caption: str, scene: str | None) -> None:
    assert caption_slots(caption)["scene"] == scene
    assert str(caption_slots(caption)["sentence"])[-1] in ".!?"


def test_an_article_before_a_slot_fits_what_fills_it() -> None:
    assert filled("A {color} cup, a {color} backdrop", {"color": "orange"}) == "An orange cup, an orange backdrop"
    assert filled("a {color} dot on {image}", {"color": "red", "image": "x"}) == "a red dot on x"


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the red cup", "a red cup"),
        ("umbrella", "an umbrella"),
        ("unicorn on grass", "a unicorn on grass"),
        ("people", "people"),
        ("the women with a hat", "women with a hat"),
        ("glasses", "glasses"),
        ("two dogs", "two dogs"),
        ("glass of milk", "a glass of milk"),
    ],
)
def test_a_noun_phrase_becomes_indefinite(phrase: str, expected: str) -> None:
    assert indefinite(phrase) == expected

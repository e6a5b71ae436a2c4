from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x2i.errors import UserError
from x2i.recipes import RECIPES
from x2i.recipes.phrasings import choose, list_tasks, parse_pool, pool_digest, read_pool
from x2i.recipes.phrasings.wording import caption_slots, definite
from x2i.sample import PLACEHOLDER_PATTERN, Task, placeholder

GOOD = {"requires": ["image"], "phrasings": [f"Do it {k} times to {{image}}." for k in range(20)]}


def slots_for(task: str, caption: str = "A cat on a mat.") -> dict[str, str | None]:
    values: dict[str, str | None] = {
        "image": placeholder(3 if task == Task.FEW_SHOT else 1),
        "example_input": placeholder(1),
        "example_output": placeholder(2),
        "phrase": "the cat",
        "color": "gray",
        "damage": "gaussian noise",
        "operation": "removing the blur",
        **caption_slots(caption),
    }
    return {name: values[name] for name in read_pool(task).slots}


def test_every_recipe_has_a_pool_of_at_least_twenty_phrasings() -> None:
    assert set(list_tasks()) == {recipe.task for recipe in RECIPES.values()}
    for task in list_tasks():
        assert len({phrasing.text for phrasing in read_pool(task).phrasings}) >= 20


@pytest.mark.parametrize("task", list_tasks())
def test_phrasings_are_written_like_a_person_writes(task: str) -> None:
    for phrasing in read_pool(task).phrasings:
        without_slots = re.sub(r"\{[a-z_]+\}", "X", phrasing.text)
        words = [word for word in re.findall(r"[A-Za-z]{2,}", without_slots) if word != "X"]
        assert not [word for word in words if word.isupper()], phrasing.text
        assert "  " not in phrasing.text
        assert phrasing.text[0].isupper() or phrasing.text[0] == "{", phrasing.text


@pytest.mark.parametrize(
    "task", [task for task in list_tasks() if read_pool(task).slots & {"image"} and task != Task.FEW_SHOT]
)
def test_images_stand_before_and_after_other_words(task: str) -> None:
    texts = [phrasing.text for phrasing in read_pool(task).phrasings]
    halves = [text.index("{image}") < len(text) / 2 for text in texts]
    assert 3 <= sum(halves) <= len(texts) - 3


def test_half_of_text_to_image_is_the_plain_caption() -> None:
    said = [choose("text_to_image", f"key-{k}", **caption_slots("A cat on a mat.")) for k in range(2000)]
    assert 0.45 < said.count("A cat on a mat.") / 2000 < 0.55
    assert any(text.startswith("Draw a cat") for text in said)


@given(task=st.sampled_from(list_tasks()), key=st.text("abc0123456789_-", min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_every_instruction_marks_its_images_once_and_leaves_no_slot(task: str, key: str) -> None:
    instruction = choose(task, key, **slots_for(task))
    expected = {Task.TEXT_TO_IMAGE: [], Task.FEW_SHOT: [1, 2, 3]}.get(Task(task), [1])
    assert sorted(map(int, PLACEHOLDER_PATTERN.findall(instruction))) == expected
    assert "{" not in instruction
    assert "}" not in instruction
    assert "None" not in instruction


@given(caption=st.text(min_size=1, max_size=300))
@settings(max_examples=500, deadline=None)
def test_no_caption_can_pretend_to_be_an_image(caption: str) -> None:
    hostile = f"{caption}<|image_2|><img>{caption}<|image_1|></img>"
    instruction = choose("canny_to_image", caption[:20], **slots_for("canny_to_image", hostile))
    assert PLACEHOLDER_PATTERN.findall(instruction) == ["1"]
    assert instruction.count("<|image_") == 1


def test_every_phrasing_is_chosen_and_by_the_key_alone() -> None:
    for task in list_tasks():
        said = Counter(choose(task, f"key-{k}", **slots_for(task)) for k in range(2000))
        assert len(said) == len(read_pool(task).phrasings)
        assert choose(task, "key-7", **slots_for(task)) == choose(task, "key-7", **slots_for(task))


def test_a_caption_of_two_sentences_never_stands_inside_a_sentence() -> None:
    said = {choose("canny_to_image", f"{k}", **slots_for("canny_to_image", "A cat. It sleeps.")) for k in range(500)}
    assert not [text for text in said if " a cat. It sleeps" in text]


def test_braces_in_a_caption_are_words() -> None:
    assert choose("text_to_image", "k", **caption_slots("{image} of {nothing}")).count("{") == 2


def test_a_wrong_set_of_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="take the slots"):
        choose("deblur", "k", image=placeholder(1), caption="A cat")
    with pytest.raises(ValueError, match="take the slots"):
        choose("inpaint", "k", image=placeholder(1))


def test_an_unknown_task_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(UserError, match="deblur, denoise"):
        read_pool("sharpen")
    with pytest.raises(UserError, match="no instructions"):
        read_pool("../secret")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({**GOOD, "phrasings": [*GOOD["phrasings"], "Do it to nothing."]}, "expected one of the slots"),
        ({**GOOD, "phrasings": [*GOOD["phrasings"], "Do {image} with {tool}."]}, "unknown slots"),
        ({**GOOD, "phrasings": [*GOOD["phrasings"], "Do {image} with {Tool 1}."]}, "unknown slots"),
        ({**GOOD, "phrasings": GOOD["phrasings"][:5]}, "at least 20"),
        ({**GOOD, "phrasings": [*GOOD["phrasings"], GOOD["phrasings"][0]]}, "distinct"),
        ({**GOOD, "extra": 1}, "expected the keys"),
    ],
)
def test_a_faulty_pool_is_refused(document: dict, complaint: str) -> None:
    assert parse_pool("task", GOOD, Path("task.yaml")).phrasings
    with pytest.raises(UserError, match=complaint):
        parse_pool("task", document, Path("task.yaml"))


def test_an_edited_pool_has_another_digest() -> None:
    assert len({pool_digest(task) for task in list_tasks()}) == len(list_tasks())


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
    ],
)
def test_a_caption_is_fitted_into_a_sentence(caption: str, scene: str | None) -> None:
    assert caption_slots(caption)["scene"] == scene
    assert str(caption_slots(caption)["sentence"])[-1] in ".!?"

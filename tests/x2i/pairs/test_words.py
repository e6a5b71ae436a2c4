"""Instructions: faults are named, sound ones have none; mirror images and inverses read as people write them."""

from __future__ import annotations

import pytest

from x2i.pairs.words import inverse_words, lint, mirrored_words, names_a_side
from x2i.recipes import RECIPES
from x2i.recipes.phrasings import read_pool
from x2i.sample import placeholder

MARK = placeholder(1)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("null_like", f"{MARK} None"),
        ("null_like", f"{MARK} n/a."),
        ("null_like", f"{MARK}  ..."),
        ("list_literal", f"{MARK} ['add a dog', 'remove the cat']"),
        ("list_literal", f'{MARK} {{"edit": "add a dog"}}'),
        ("label", f"{MARK} Caption: a dog on a lawn"),
        ("label", f"{MARK} **Edited caption**: a dog"),
        ("absolute_pixels", f"{MARK} Draw a box at (120, 340, 400, 512)."),
        ("absolute_pixels", f"{MARK} Shift the lamp by 40 px."),
        ("earlier_turn", f"{MARK} Undo the previous edit."),
        ("earlier_turn", f"{MARK} Make the hat you just added red."),
        ("talk", f"{MARK} Sure! Add a dog."),
        ("not_latin", f"{MARK} 把猫换成狗"),
        ("placeholders", "Add a dog."),
        ("placeholders", f"{placeholder(2)} Add a dog."),
    ],
)
def test_a_planted_fault_is_named(fault: str, text: str) -> None:
    assert fault in lint(text)


def test_sound_instructions_have_no_fault() -> None:
    for text in (
        "Add a dog.",
        "Turn the edges of the page yellow",
        "Write 'Caption: no' at the top",
        "Make it 3 lamps",
    ):
        assert lint(f"{MARK} {text}") == ()
    for name in ("deblur", "remove_object", "move_object", "recolor_object", "relight"):
        for phrasing in read_pool(RECIPES.get(name)).phrasings:
            text = phrasing.text.replace("{image}", MARK).replace("{", "").replace("}", "")
            assert lint(text) == (), text


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("Move the cup to the left", "Move the cup to the right"),
        ("The leftmost man, on the right-hand side", "The rightmost man, on the left-hand side"),
        ("Turn it clockwise", "Turn it counterclockwise"),
        ("Left of the door", "Right of the door"),
        ("All right, remove what is left over", "All right, remove what is left over"),
        ("Make the sky blue", "Make the sky blue"),
    ],
)
def test_sides_are_exchanged_and_nothing_else(text: str, mirrored: str) -> None:
    assert mirrored_words(text) == mirrored
    assert mirrored_words(mirrored) == text
    assert names_a_side(text) == (text != mirrored)


@pytest.mark.parametrize(
    ("text", "inverse"),
    [
        ("Add a hat to the man.", "Remove the hat from the man."),
        ("Please remove the dog", "Add a dog."),
        ("Remove the umbrella from the table", "Add an umbrella to the table."),
        ("Replace the cat with a dog", "Replace the dog with a cat."),
        ("Change the car from red to blue", "Change the car from blue to red."),
        ("Turn the cat into a tiger", "Turn the tiger into a cat."),
        ("Move the lamp to the left", "Move the lamp to the right."),
        ("Make the sky brighter", "Make the sky darker."),
        ("Flip the boat", "Flip the boat."),
        ("Make it winter", None),
        ("Make the car blue", None),
        ("Remove the dog and add a cat", None),
        ("", None),
    ],
)
def test_an_inverse_leads_back_or_is_not_known(text: str, inverse: str | None) -> None:
    assert inverse_words(text) == inverse

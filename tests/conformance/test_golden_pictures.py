"""Every recipe makes what it made before; who changes one on purpose writes its golden picture anew."""

from __future__ import annotations

import pytest

from tests.support.golden_pictures import FOLDER, LARGEST_TOLERANCE, MEAN_TOLERANCE, difference, golden_file
from x2i.recipes import RECIPES

COMMAND = "python -m tests.support.golden_pictures"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_its_golden_picture(name: str) -> None:
    assert golden_file(name).exists(), f"run `{COMMAND} {name}` and look at the picture"
    mean, largest = difference(name)
    assert mean <= MEAN_TOLERANCE, f"if the change is meant: raise the version, then `{COMMAND} {name}`"
    assert largest <= LARGEST_TOLERANCE


def test_no_golden_picture_is_left_of_a_recipe_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} <= set(RECIPES.names()), f"run `{COMMAND}`"

"""Every registered recipe fulfills every check of tests/support/recipe_checks.py."""

from __future__ import annotations

import pytest

from tests.support.recipe_checks import CHECKS, Check
from x2i.recipes import RECIPES, family_of


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str, check: Check) -> None:
    check(RECIPES.get(name))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_stands_in_the_file_or_folder_of_its_family_under_its_own_name(name: str) -> None:
    kind = RECIPES.get(name)
    assert (kind.name, kind.family) == (name, family_of(name))

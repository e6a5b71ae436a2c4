"""The recipe of docs/extend/recipe.md, in a package outside the project, passes the checks and runs everywhere."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import REPOSITORY, photos
from tests.support.command_line import typed
from tests.support.recipe_checks import CHECKS, Check
from x2i.image import decode
from x2i.recipes import make_recipe
from x2i.recipes.base import Recipe
from x2i.registry import Registry
from x2i.store import Dataset

PAGE = REPOSITORY / "docs/extend/recipe.md"
RECIPE = "outside_recipes.light:Brighten"


def blocks() -> list[str]:
    """Returns the page's blocks of Python."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Writes the page's first code block as a module of a package, and makes it importable, in child processes too."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "outside_recipes").mkdir()
    (folder / "outside_recipes/__init__.py").touch()
    (folder / "outside_recipes/light.py").write_text(blocks()[0], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{folder}:{REPOSITORY}")
        yield folder
    for name in ("outside_recipes", "outside_recipes.light"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_passes_the_checks_of_the_registered_ones(package: Path, check: Check) -> None:
    check(Registry[Recipe]("recipe", {"brighten": RECIPE}).get("brighten"))


def sums(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((root / "shards").iterdir())}


def test_it_runs_from_the_command_line_in_this_process_and_in_worker_processes(package: Path, tmp_path: Path) -> None:
    made = []
    for executor in ("inline", "processes"):
        dataset = photos.write_photos(tmp_path / executor)
        options = ["--executor", executor, "--workers", 2, "--max-side", 96, "--shard-size", 3]
        assert typed("materialize", dataset.root, "--recipe", RECIPE, "--set", "gain=[0.2, 0.3]", *options) == 0
        made.append(sums(dataset.root))
    assert made[0] == made[1]
    assert len(made[0]) == 2 * 4
    samples = list(Dataset.open(tmp_path / "inline").samples("brighten"))
    assert len(samples) == 10
    for sample, (dark, bright) in samples:
        assert 0.2 <= sample.recipe.parameters["gain"] <= 0.3
        assert np.mean(decode(dark)) < 0.4 * np.mean(decode(bright))


def test_options_that_it_does_not_have_or_out_of_bounds_are_refused(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = photos.write_photos(tmp_path)
    assert typed("materialize", dataset.root, "--recipe", RECIPE, "--set", "gian=[0.2, 0.3]") == 2
    assert "did you mean 'gain'" in capsys.readouterr().err
    assert typed("materialize", dataset.root, "--recipe", RECIPE, "--set", "brighten.gain=[0.2, 3]") == 2
    assert "gain: expected at most 1, found 3.0" in capsys.readouterr().err
    assert typed("materialize", dataset.root, "--recipe", "outside_recipes.light:Darken") == 2
    assert "has no class 'Darken'" in capsys.readouterr().err


def test_it_can_be_shown_by_example(package: Path, tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    chosen = ["--recipe", "few_shot", "--set", f"bases=[{RECIPE!r}]", "--set", "share=1"]
    assert typed("materialize", dataset.root, *chosen, "--executor", "inline", "--max-side", 64) == 0
    samples = [sample for sample, _ in dataset.samples("few_shot")]
    assert len(samples) >= 8
    assert {sample.recipe.parameters["base"] for sample in samples} == {"brighten"}


def test_the_guide_is_right_about_names_and_its_last_block_runs(package: Path) -> None:
    for module, name in re.findall(r"`(restoration\.base|conditions|base)\.(\w+)`", PAGE.read_text(encoding="utf-8")):
        assert hasattr(importlib.import_module(f"x2i.recipes.{module}"), name)
    exec(blocks()[-1], {"Brighten": type(make_recipe(RECIPE))})

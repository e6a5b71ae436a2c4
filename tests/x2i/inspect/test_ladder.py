"""The ladder of a recipe: five samples on one photograph, from weak to strong, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import typed
from tests.support.photos import photo
from x2i.errors import UserError
from x2i.image import encode
from x2i.inspect.sheet.ladder import ladder, write_ladder
from x2i.recipes import make_recipe


def test_a_ladder_goes_from_weak_to_strong() -> None:
    rungs = ladder(make_recipe("remove_gaussian_blur"), photo("astronaut"))
    sigmas = [rung.parameters["sigma_px"] for rung in rungs]
    assert len(rungs) == 5
    assert sigmas == sorted(sigmas)
    assert sigmas[-1] > 2 * sigmas[0]


def test_without_a_measure_a_ladder_follows_the_first_number_drawn() -> None:
    rungs = ladder(make_recipe("image_to_canny"), photo("astronaut"))
    drawn = [next(value for value in rung.parameters.values() if isinstance(value, (int, float))) for rung in rungs]
    assert drawn == sorted(drawn)
    assert drawn[-1] > drawn[0]


def test_the_command_writes_the_picture(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode(photo("coffee"), "jpeg"))
    arguments = ["inspect", "--recipe", "remove_rain", "--image", str(tmp_path / "photo.jpg")]
    assert typed(*arguments, "--sheet", str(tmp_path / "rain.png")) == 0
    pixels = np.asarray(Image.open(tmp_path / "rain.png"))
    assert pixels.shape[0] > 4 * 150
    assert pixels.shape[1] > 2 * 256
    assert len(np.unique(pixels[:, 8:264].reshape(-1, 3), axis=0)) > 1000


def test_an_option_of_the_recipe_is_set(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode(photo("coffee"), "jpeg"))
    arguments = ["inspect", "--recipe", "remove_gaussian_blur", "--image", str(tmp_path / "photo.jpg")]
    sheets = [str(tmp_path / name) for name in ("weak.png", "strong.png")]
    for sheet, sigma in zip(sheets, ("[2, 2.2]", "[6, 6.5]"), strict=True):
        assert typed(*arguments, "--sheet", sheet, "--set", f"sigma={sigma}") == 0
    weak, strong = (np.asarray(Image.open(sheet)).astype(float)[:180, 8:264] for sheet in sheets)
    assert np.abs(np.diff(weak, axis=1)).mean() > 1.5 * np.abs(np.diff(strong, axis=1)).mean()
    assert typed(*arguments, "--sheet", sheets[0], "--set", "sigmas=[1, 2]") == 2


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not readable as an image"):
        write_ladder(make_recipe("remove_rain"), tmp_path / "none.jpg", tmp_path / "sheet.png")
    (tmp_path / "photo.jpg").write_bytes(encode(photo("coffee"), "jpeg"))
    with pytest.raises(UserError, match="ends in"):
        write_ladder(make_recipe("remove_rain"), tmp_path / "photo.jpg", tmp_path / "sheet.gif")
    with pytest.raises(UserError, match="makes no sample"):
        ladder(make_recipe("colorize"), photo("camera"))
    for arguments in ([], ["--recipe", "remove_rain"], ["somewhere", "--recipe", "remove_rain", "--image", "a.jpg"]):
        assert typed("inspect", *arguments) == 2

"""Light and weather follow their models with the recorded parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.photos import photo
from x2i.recipes import make_recipe
from x2i.recipes.base import ImageMap, Rendered, Source
from x2i.recipes.restoration.colorize import chroma
from x2i.recipes.restoration.falling import rain_streaks
from x2i.recipes.restoration.weather import MIXTURES
from x2i.seeding import generator


def damaged(
    name: str, source: Source | str = "astronaut", options: Mapping[str, Any] | None = None, key: str = "k"
) -> Rendered:
    recipe = make_recipe(name, options)
    source = Source(photo(source)) if isinstance(source, str) else source
    made = recipe.make([source], {}, generator(key))
    assert isinstance(made, Rendered), made
    return made


def test_low_light_scales_every_value_alike() -> None:
    made = damaged("brighten_low_light")
    expected = made.output * made.parameters["scale"]
    assert np.abs(made.inputs[0] - expected).max() <= 0.51


def test_low_light_with_noise_darkens_the_dark_more_and_adds_the_recorded_noise() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    made = damaged("restore_low_light", Source(flat))
    mean = 255 * (128 / 255) ** made.parameters["exponent"]
    assert made.inputs[0].mean() == pytest.approx(mean, rel=0.05)
    made = damaged("restore_low_light", Source(flat), {"sigma": [0.03, 0.04]})
    assert made.inputs[0].astype(float).std() == pytest.approx(255 * made.parameters["sigma"], rel=0.06)


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_a_color_cast_has_the_recorded_gains_in_linear_light(key: str) -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    made = damaged("fix_white_balance", Source(flat), key=key)
    ratio = (made.inputs[0][0, 0] / 90) ** 2.2
    assert ratio == pytest.approx(made.parameters["gains"], rel=0.03)
    assert (ratio[0] > ratio[2]) == made.parameters["warm"]


def test_contrast_and_saturation_are_scaled_by_the_recorded_factor() -> None:
    made = damaged("fix_contrast", options={"changes": ["weaken"]})
    assert made.inputs[0].std() == pytest.approx(made.output.std() * made.parameters["factor"], rel=0.03)
    assert made.inputs[0].mean() == pytest.approx(made.output.mean(), abs=1)
    made = damaged("fix_saturation", options={"changes": ["weaken"]})
    assert chroma(made.inputs[0]) == pytest.approx(chroma(made.output) * made.parameters["factor"], rel=0.05)
    made = damaged("fix_saturation", options={"changes": ["strengthen"]})
    assert chroma(made.inputs[0]) > 1.3 * chroma(made.output)
    assert made.slots["damage"] == "excessive saturation"


def test_backlight_darkens_the_subject_and_brightens_what_is_around_it() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    made = damaged("fix_backlight", Source(flat))
    column = round(made.parameters["x"] * 200)
    assert made.inputs[0][-1, column, 0] < 110
    assert made.inputs[0][0, 0, 0] > 140
    assert np.diff(made.inputs[0][-1, :, 0].astype(int)).max() < 20


def test_overexposure_only_brightens() -> None:
    for key in "abcdef":
        made = damaged("fix_overexposure", key=key)
        assert (made.inputs[0] >= made.output).all()


def test_haze_follows_its_equation_and_the_depth_map() -> None:
    image = np.full((200, 300, 3), 40, np.uint8)
    near = np.repeat(np.linspace(0, 65535, 300)[None], 200, 0).astype(np.uint16)
    made = damaged("remove_haze", Source(image, {"depth": ImageMap(near)}))
    beta, air = made.parameters["beta"], made.parameters["air"]
    assert made.parameters["distance"] == "depth"
    far = np.minimum(1 - np.linspace(0, 1, 300), 0.7)
    t = np.exp(-beta * far)
    expected = 40 * t + 255 * air * (1 - t)
    inner = slice(20, -20)
    assert made.inputs[0][100, inner, 0] == pytest.approx(expected[inner], abs=3)
    assert damaged("remove_haze").parameters["distance"] == "prior"


@pytest.mark.parametrize("angle", [-40, 0, 40])
def test_rain_falls_in_its_direction(angle: float) -> None:
    streaks = rain_streaks(photo("coffee"), 0.004, 35, 4, angle, generator("rain"))
    shift = 10
    x, y = round(shift * np.sin(np.deg2rad(angle))), round(shift * np.cos(np.deg2rad(angle)))

    def alike(dx: int, dy: int) -> float:
        moved = np.roll(streaks, (dy, dx), (0, 1))
        return float(np.corrcoef(moved.ravel(), streaks.ravel())[0, 1])

    assert max(alike(x, y), alike(-x, y)) > alike(shift, 0) + 0.2
    assert alike(-x, -y) == pytest.approx(alike(x, y), abs=0.02)


def test_rain_and_snow_take_nothing_away_but_cover_more_as_there_is_more() -> None:
    shares = []
    for amount in (0.002, 0.02):
        made = damaged("remove_snow", options={"amount": [amount, amount]})
        change = made.inputs[0].astype(int) - made.output
        dark = made.output < 240
        assert change[dark].min() >= 0
        shares.append(float((change > 20).mean()))
    assert shares[1] > 3 * shares[0]


def test_raindrops_leave_the_rest_of_the_picture_alone() -> None:
    made = damaged("remove_raindrops")
    changed = (made.inputs[0] != made.output).any(2)
    assert made.parameters["coverage"] * 0.5 < changed.mean() < 2.5 * made.parameters["coverage"] + 0.02


def test_mixtures_are_named_and_in_the_order_of_the_light() -> None:
    seen = set()
    for k in range(40):
        made = damaged("remove_mixed_weather", key=f"{k}")
        seen.add("+".join(made.parameters["kinds"]))
        assert all(kind in made.parameters for kind in made.parameters["kinds"])
        assert str(made.slots["damage"]).count("haze") == ("haze" in made.parameters["kinds"])
    assert seen == set(MIXTURES)

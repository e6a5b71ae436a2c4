"""Blur, noise, compression and real-world super-resolution do what their models say, in the recorded strength."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.photos import photo
from x2i.image import decode, encode
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered, Source
from x2i.recipes.restoration.base import at_severity, psnr
from x2i.recipes.restoration.blur import GLASS, fading_kernel, scatter, shake, walk_kernel
from x2i.recipes.restoration.kernels import disc_kernel, generalized_kernel, sinc_kernel
from x2i.recipes.restoration.real_world import covariance_noise
from x2i.recipes.restoration.sensor_noise import Camera
from x2i.seeding import generator

GRAY = np.full((256, 384, 3), 120, np.uint8)


def damaged(name: str, image: np.ndarray, options: Mapping[str, Any] | None = None, key: str = "k") -> Rendered:
    recipe = make_recipe(name, {"max_psnr": 98.0, **(options or {})})
    made = recipe.make([Source(image)], {}, generator(key))
    assert isinstance(made, Rendered), made
    assert np.array_equal(made.output, image)
    return made


def moments(kernel: np.ndarray) -> tuple[float, float, float, float]:
    """The mean and the variance of a kernel's x and y, seen from its middle."""
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    mean_x, mean_y = (kernel * x).sum(), (kernel * y).sum()
    return mean_x, mean_y, (kernel * (x - mean_x) ** 2).sum(), (kernel * (y - mean_y) ** 2).sum()


def test_gaussian_blur_has_the_recorded_sigma() -> None:
    made = damaged("remove_gaussian_blur", photo("coffee"))
    expected = cv2.GaussianBlur(photo("coffee"), (0, 0), made.parameters["sigma_px"])
    assert np.abs(made.inputs[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("radius", [3.0, 4.5, 8.0])
def test_a_lens_spreads_a_point_evenly_over_a_disc(radius: float) -> None:
    kernel = disc_kernel(radius)
    *_, across, down = moments(kernel)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert across == pytest.approx(radius**2 / 4, rel=0.1)
    assert down == pytest.approx(across, rel=1e-3)
    assert np.unique(kernel[kernel > 0.9 * kernel.max()]).size == 1


@pytest.mark.parametrize("degrees", [0, 90, 200])
def test_motion_goes_from_the_point_into_its_direction_and_fades(degrees: float) -> None:
    kernel = fading_kernel(10, 5, degrees)
    x, y, *_ = moments(kernel)
    expected = 5 * np.sqrt(2 / np.pi)  # the mean of half a normal distribution
    assert x == pytest.approx(expected * np.cos(np.deg2rad(degrees)), abs=0.4)
    assert y == pytest.approx(-expected * np.sin(np.deg2rad(degrees)), abs=0.4)


def test_a_shaking_camera_moves_at_one_pace_and_not_far_from_its_start() -> None:
    walks = [shake(generator("shake", k)) for k in range(20)]
    for walk in walks:
        assert np.abs(np.diff(walk)).sum() == pytest.approx(1, rel=1e-6)
        assert walk_kernel(walk * 40).sum() == pytest.approx(1, abs=1e-5)
    spans = [np.abs(walk[-1] - walk[0]) for walk in walks]
    assert 0.02 < np.median(spans) < 0.98


def test_glass_takes_each_pixel_from_nearby() -> None:
    columns = np.repeat(np.tile(np.arange(200, dtype=np.uint8), (100, 1))[..., None], 3, 2)
    moved = scatter(columns, 3, generator("glass"))[:, 10:-10, 0].astype(int) - columns[:, 10:-10, 0]
    assert np.abs(moved).max() == 3
    assert abs(moved.mean()) < 0.05
    assert at_severity(GLASS, 5) == GLASS[-1]
    assert at_severity(GLASS, 0) == (0, 0, 0)


@pytest.mark.parametrize("beta", [0.7, 1.0, 2.5])
def test_generalized_kernels_are_as_wide_as_they_are_told(beta: float) -> None:
    kernel = generalized_kernel(25, 3, 1, 0, beta)
    *_, across, down = moments(kernel)
    assert across > 2.5 * down
    if beta == 1:
        assert (across, down) == pytest.approx((9, 1), rel=0.05)
    assert sinc_kernel(21, np.pi / 3).sum() == pytest.approx(1, abs=1e-5)


def test_gaussian_and_speckle_noise_have_the_recorded_deviation() -> None:
    for name, share in (("remove_gaussian_noise", 1.0), ("remove_speckle_noise", 120.0)):
        low = {"remove_gaussian_noise": [10.0, 30.0], "remove_speckle_noise": [0.1, 0.3]}[name]
        made = damaged(name, GRAY, {"sigma": low})
        noise = made.inputs[0].astype(float) - GRAY
        assert noise.std() == pytest.approx(made.parameters["sigma"] * share, rel=0.03)
        assert abs(noise.mean()) < 0.5
        assert np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1] < 0.02


@pytest.mark.parametrize("level", [10, 60, 130])
def test_photons_are_counted(level: int) -> None:
    made = damaged("remove_poisson_noise", np.full_like(GRAY, level))
    photons = made.parameters["photons"]
    counts = made.inputs[0] / 255 * photons
    assert counts.mean() == pytest.approx(level / 255 * photons, rel=0.03)
    assert counts.var() == pytest.approx(level / 255 * photons, rel=0.06)


def test_correlated_noise_is_correlated_over_its_grain() -> None:
    made = damaged("remove_correlated_noise", GRAY, {"sigma": [0.08, 0.12]})
    noise = (made.inputs[0].astype(float) - GRAY)[..., 1]
    assert noise.std() == pytest.approx(255 * made.parameters["sigma"], rel=0.05)
    neighbors = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert neighbors == pytest.approx(np.exp(-1 / (4 * made.parameters["grain_px"] ** 2)), abs=0.06)


def test_impulses_hit_the_recorded_share_of_the_values() -> None:
    made = damaged("remove_impulse_noise", GRAY)
    hit = made.inputs[0] != GRAY
    assert hit.mean() == pytest.approx(made.parameters["amount"], rel=0.05)
    assert set(np.unique(made.inputs[0][hit])) == {0, 255}
    assert (made.inputs[0][hit] == 0).mean() == pytest.approx(0.5, abs=0.03)


def test_sensor_noise_has_the_variance_of_its_model_on_the_sensor() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    for k in range(5):
        camera = Camera.draw(generator("camera", k))
        sensor = camera.sensor(image)
        assert np.abs(camera.develop(sensor) - image).max() < 2
        made = damaged("remove_sensor_noise", image, {"shot": [0.001, 0.004]}, f"{k}")
        shot, read = made.parameters["shot"], made.parameters["read"]
        assert abs(np.log(read) - 2.18 * np.log(shot) - 1.2) < 4 * 0.26
    random = generator("k")
    recipe = make_recipe("remove_sensor_noise", {"shot": [0.001, 0.001], "max_psnr": 98.0})
    made = recipe.make([Source(image)], {}, random)
    assert isinstance(made, Rendered)
    camera = Camera.draw(_after_shot_and_read("k"))
    assert made.parameters["red_gain"] == pytest.approx(camera.red, abs=1e-4)
    x = camera.sensor(image)
    step = np.float32(1e-3)
    slopes = [camera.develop(x + step * np.eye(3, dtype=np.float32)[channel])[0, 0] for channel in range(3)]
    jacobian = (np.stack(slopes) - camera.develop(x)[0, 0]) / step
    variance = 0.001 * x[0, 0] + made.parameters["read"]
    expected = np.sqrt((variance[:, None] * jacobian**2).sum(0))
    measured = (made.inputs[0].astype(float) - image).reshape(-1, 3).std(0)
    assert measured == pytest.approx(expected, rel=0.12)


def _after_shot_and_read(key: str) -> np.random.Generator:
    random = generator(key)
    random.uniform()
    random.normal()
    return random


def test_compression_is_that_of_the_recorded_quality() -> None:
    image = photo("coffee")
    made = damaged("remove_jpeg_artifacts", image)
    assert np.array_equal(made.inputs[0], decode(encode(image, "jpeg", made.parameters["quality"])))
    made = damaged("remove_webp_artifacts", image)
    assert np.array_equal(made.inputs[0], decode(encode(image, "webp", made.parameters["quality"])))
    for decibels in (23.0, 29.0):
        made = damaged("remove_jpeg2000_artifacts", image, {"decibels": [decibels, decibels]})
        assert psnr(made.inputs[0], image) == pytest.approx(decibels, abs=2.5)


@pytest.mark.parametrize("name", ["super_resolution_real_esrgan", "super_resolution_bsrgan"])
def test_real_world_super_resolution_says_what_was_done_and_differs_from_sample_to_sample(name: str) -> None:
    made = [damaged(name, photo("astronaut"), key=f"{k}") for k in range(12)]
    steps = [sample.parameters["steps"] for sample in made]
    assert len({tuple(taken) for taken in steps}) == 12
    assert all(any(step.startswith("jpeg") for step in taken) for taken in steps)
    assert all(taken[-1].startswith("resize bicubic") for taken in steps)
    assert {sample.parameters["factor"] for sample in made} == {2.0, 4.0}
    if name.endswith("bsrgan"):
        assert all(taken[-2].startswith("jpeg") for taken in steps)


def test_bsrgan_s_steps_come_in_random_order_with_its_chances() -> None:
    image, runs = photo("astronaut", 64), 400
    taken = [damaged("super_resolution_bsrgan", image, key=f"{k}").parameters["steps"] for k in range(runs)]
    words = [[step.split(" ") for step in steps] for steps in taken]
    noises = [step[1] for steps in words for step in steps if step[0] == "noise"]
    assert len(noises) == runs
    for kind, chance in (("color", 0.4), ("gray", 0.4), ("covariance", 0.2)):
        assert noises.count(kind) / runs == pytest.approx(chance, abs=0.08)
    levels = [float(step[2]) for steps in words for step in steps if step[0] == "noise"]
    assert (min(levels), max(levels), np.mean(levels)) == pytest.approx((2, 25, 13.5), abs=1)
    shots = [float(step[1]) for steps in words for step in steps if step[0] == "sensor"]
    assert len(shots) / runs == pytest.approx(0.25, abs=0.08)
    assert 1e-4 <= min(shots) < max(shots) <= 0.012
    assert sum(step[0] == "jpeg" for steps in words for step in steps) / runs == pytest.approx(1.9, abs=0.08)
    blur_first = np.mean([[step[0] for step in steps].index("noise") > 1 for steps in words])
    assert 0.2 < blur_first < 0.9
    before = [[step[0] for step in steps if step[0] in ("noise", "sensor")] for steps in words]
    assert {tuple(steps) for steps in before} == {("noise",), ("noise", "sensor"), ("sensor", "noise")}


def test_noise_with_a_covariance_ties_the_channels_together_up_to_its_level() -> None:
    variances, ties = [], []
    for k in range(60):
        noise = covariance_noise(GRAY, 20.0, generator("covariance", k)).astype(float) - 120
        covariance = np.cov(noise.reshape(-1, 3).T)
        variances += np.linalg.eigvalsh(covariance).tolist()
        ties.append(abs(np.corrcoef(noise.reshape(-1, 3).T)[0, 1]))
    assert max(variances) < 1.1 * 20**2
    assert np.mean(variances) == pytest.approx(20**2 / 2, rel=0.15)
    assert np.median(ties) > 0.1

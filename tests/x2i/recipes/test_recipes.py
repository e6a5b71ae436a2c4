"""What each recipe makes of real photographs; what all recipes have in common is in tests/conformance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.photos import ellipse, photo
from x2i.image.rle import encode_mask
from x2i.reasons import Dropped, Reason
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.base import ImageMap, Rendered, Source
from x2i.recipes.few_shot import FewShot
from x2i.recipes.masks import SHAPES
from x2i.recipes.restoration.base import Restoration, psnr
from x2i.recipes.restoration.colorize import chroma
from x2i.recipes.restoration.deblur import motion_kernel
from x2i.recipes.restoration.holes import COLORS
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.seeding import generator

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left")


def render(
    name: str, photo_name: str = "astronaut", key: str = "k", options: Mapping[str, Any] | None = None, **metadata: Any
) -> Rendered | Dropped:
    """Renders a recipe's example on a photograph; `metadata` replaces what the example says."""
    recipe = make_recipe(name, options)
    example = recipe.example([photo(photo_name), photo("coffee" if photo_name != "coffee" else "chelsea")])
    return recipe.make(example.sources, {**example.metadata, **metadata}, generator(key, name, recipe.version))


def rendered(
    name: str, photo_name: str = "astronaut", key: str = "k", options: Mapping[str, Any] | None = None, **metadata: Any
) -> Rendered:
    made = render(name, photo_name, key, options, **metadata)
    assert isinstance(made, Rendered), made
    return made


def instruction(name: str, made: Rendered, key: str = "k") -> str:
    return make_recipe(name).instruction(key, made)


def same(a: Rendered | Dropped, b: Rendered | Dropped) -> bool:
    if isinstance(a, Dropped) or isinstance(b, Dropped):
        return a == b
    if (a.slots, a.parameters, a.scores) != (b.slots, b.parameters, b.scores):
        return False
    return all(np.array_equal(p, q) for p, q in zip((*a.inputs, a.output), (*b.inputs, b.output)))


@pytest.mark.parametrize("name", [name for name in RECIPES if issubclass(RECIPES.get(name), Restoration)])
def test_another_key_makes_another_sample(name: str) -> None:
    others = [render(name, key=f"other-{k}") for k in range(3)]
    assert not all(same(render(name, key="one"), other) for other in others)


@given(key=st.text("abcdefgh0123456789_-", min_size=1, max_size=40), name=st.sampled_from(["deblur", "colorize"]))
@settings(max_examples=30, deadline=None)
def test_drawn_parameters_are_json_and_the_target_is_the_photograph(key: str, name: str) -> None:
    made = rendered(name, "chelsea", key)
    assert np.array_equal(made.output, photo("chelsea"))
    assert all(isinstance(value, str | int | float | bool | list) for value in made.parameters.values())


@pytest.mark.parametrize("kind", ["gaussian", "motion"])
def test_deblur_takes_detail_away_and_says_how_much(kind: str) -> None:
    made = rendered("deblur", options={"kinds": [kind]})
    damaged, clean = made.inputs[0], made.output
    assert made.parameters["kind"] == kind
    assert cv2.Laplacian(damaged, cv2.CV_64F).var() < 0.5 * cv2.Laplacian(clean, cv2.CV_64F).var()
    assert made.scores["input_psnr"] == pytest.approx(psnr(damaged, clean), abs=1e-3)
    if kind == "gaussian":
        assert np.array_equal(damaged, cv2.GaussianBlur(clean, (0, 0), made.parameters["sigma_px"]))


@pytest.mark.parametrize("side", [64, 128, 256, 512])
@pytest.mark.parametrize("name", ["deblur", "denoise"])
def test_damage_shows_at_every_size_and_leaves_something_to_see(name: str, side: int) -> None:
    recipe = make_recipe(name)
    for k in range(8):
        made = recipe.make([Source(photo("astronaut", side))], {}, generator(name, k))
        assert isinstance(made, Rendered)
        assert 10 < made.scores["input_psnr"] < 33


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
@pytest.mark.parametrize("length", [5, 16.5])
def test_a_motion_kernel_keeps_brightness_and_lies_in_its_direction(degrees: float, length: float) -> None:
    kernel = motion_kernel(length, degrees)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    rows, columns = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    along = columns * np.cos(np.deg2rad(degrees)) - rows * np.sin(np.deg2rad(degrees))
    across = columns * np.sin(np.deg2rad(degrees)) + rows * np.cos(np.deg2rad(degrees))
    assert (kernel * across**2).sum() < 0.4
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, rel=0.15)


def test_gaussian_noise_has_the_recorded_sigma() -> None:
    for k in range(20):
        made = rendered("denoise", "camera", f"{k}", {"kinds": ["gaussian"]})
        if not made.parameters["monochrome"]:
            break
    damaged, clean = made.inputs[0].astype(float), made.output.astype(float)
    middle = (clean > 110) & (clean < 145)  # far from clipping
    difference = (damaged - clean)[middle]
    assert difference.std() == pytest.approx(made.parameters["sigma"], rel=0.08)
    assert abs(difference.mean()) < 2


def test_photon_noise_grows_with_the_light() -> None:
    made = rendered("denoise", "camera", options={"kinds": ["poisson"]})
    damaged, clean = made.inputs[0].astype(float), made.output.astype(float)
    for level in (20, 130):
        near = np.abs(clean - level) < 8
        expected = np.sqrt(clean[near].mean() * 255 / made.parameters["photons"])
        assert (damaged - clean)[near].std() == pytest.approx(expected, rel=0.2)


def test_salt_and_pepper_hits_the_recorded_share_and_nothing_else() -> None:
    made = rendered("denoise", "chelsea", options={"kinds": ["salt_and_pepper"]})
    damaged, clean = made.inputs[0], made.output
    hit = (damaged != clean).any(axis=2)
    assert hit.mean() == pytest.approx(made.parameters["amount"], rel=0.15)
    assert set(np.unique(damaged[hit])) == {0, 255}


def test_low_quality_jpeg_is_named_as_such() -> None:
    made = rendered("denoise", options={"kinds": ["jpeg"]})
    assert 4 <= made.parameters["quality"] <= 18
    said = [instruction("denoise", made, f"{k}") for k in range(20)]
    assert any("JPEG" in text for text in said)
    assert not any("noise" in text for text in said)


@pytest.mark.parametrize("factor", [2.0, 4.0])
@pytest.mark.parametrize("photo_name", ["astronaut", "motorcycle_left"])
def test_super_resolution_leaves_a_low_pass_spectrum(factor: float, photo_name: str) -> None:
    made = rendered("super_resolution", photo_name, options={"factors": [factor]})
    damaged, clean = (_power(image) for image in (made.inputs[0], made.output))
    height, width = clean.shape
    y, x = np.abs(np.fft.fftfreq(height))[:, None], np.abs(np.fft.fftfreq(width))[None, :]
    reach = np.maximum(y, x)
    low, high = reach < 0.25 / factor, reach > 0.75 / factor
    assert damaged[low].sum() == pytest.approx(clean[low].sum(), rel=0.15)
    assert damaged[high].sum() < 0.1 * clean[high].sum()
    assert made.parameters["factor"] == factor


def _power(image: np.ndarray) -> np.ndarray:
    """The power spectrum of the luma, without the edges' cross: the picture fades out towards its borders."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    window = np.outer(np.hanning(gray.shape[0]), np.hanning(gray.shape[1]))
    return np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2


@given(seed=st.integers(0, 10**6), photo_name=st.sampled_from(PHOTOS), low=st.floats(0.1, 0.9))
@settings(max_examples=40, deadline=None)
def test_outpaint_keeps_the_known_box_and_paints_the_rest_in_one_color(seed: int, photo_name: str, low: float) -> None:
    made = render("outpaint", photo_name, f"{seed}", {"kept": [low, 0.9]})
    assert isinstance(made, Rendered)
    canvas, image = made.inputs[0], photo(photo_name)
    x0, y0, x1, y1 = made.parameters["box"]
    assert np.array_equal(canvas[y0:y1, x0:x1], image[y0:y1, x0:x1])
    outside = np.ones(image.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert (canvas[outside] == made.parameters["rgb"]).all()
    assert outside.any()
    assert 0 <= x0 < x1 <= image.shape[1]
    assert 0 <= y0 < y1 <= image.shape[0]
    assert (x1 - x0) / image.shape[1] >= low - 0.01
    assert np.array_equal(made.output, image)


@pytest.mark.parametrize("name", ["inpaint", "outpaint"])
def test_a_named_color_is_the_color_of_the_hole(name: str) -> None:
    for k in range(30):
        made = rendered(name, "coffee", f"{k}")
        named = [color for color in COLORS if f" {color} " in instruction(name, made, f"{k}")]
        assert named in ([], [made.parameters["color"]])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(64, 64), (64, 300), (512, 384)])
def test_drawn_holes_cover_a_part_of_the_picture(shape: str, size: tuple[int, int]) -> None:
    shares = [SHAPES[shape](*size, generator(shape, k)).mean() for k in range(30)]
    assert min(shares) > 0.005
    assert max(shares) < 0.6
    assert 0.05 < float(np.mean(shares)) < 0.35


def test_a_hole_can_have_the_shape_of_a_found_entity() -> None:
    image = photo("coffee")
    mask = ellipse(*image.shape[:2], 0.42, 0.45, 0.3)
    known = {"mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}
    made = rendered("inpaint", "coffee", options={"shapes": ["entity"]}, **known)
    assert np.array_equal((made.inputs[0] == made.parameters["rgb"]).all(axis=2), mask)
    without = render("inpaint", "coffee", options={"shapes": ["entity"]})
    assert isinstance(without, Dropped)
    assert without.reason is Reason.NO_ENTITY


def test_colorize_takes_the_color_and_keeps_the_light() -> None:
    made = rendered("colorize")
    gray, color = made.inputs[0], made.output
    assert chroma(gray) == 0
    assert chroma(color) > 20
    assert np.corrcoef(gray.mean(axis=2).ravel(), color.mean(axis=2).ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("name", "photo_name"),
    [
        ("colorize", "camera"),
        ("colorize", "flat"),
        ("image_to_canny", "flat"),
        ("canny_to_image", "flat"),
        ("deblur", "flat"),
        ("super_resolution", "flat"),
        ("few_shot", "flat"),
    ],
)
def test_an_unsuitable_photograph_is_dropped_with_a_reason(name: str, photo_name: str) -> None:
    verdicts = [render(name, photo_name, f"{k}") for k in range(12)]
    assert any(isinstance(verdict, Dropped) for verdict in verdicts)
    for verdict in verdicts:
        if isinstance(verdict, Dropped):
            assert verdict.reason is Reason.UNSUITABLE_IMAGE
            assert verdict.detail


def test_edges_are_white_on_black_and_lie_on_contrast() -> None:
    for name, image in (
        ("image_to_canny", rendered("image_to_canny").output),
        ("canny_to_image", rendered("canny_to_image").inputs[0]),
    ):
        assert set(np.unique(image)) == {0, 255}, name
        gray = cv2.cvtColor(photo("astronaut"), cv2.COLOR_RGB2GRAY).astype(np.float32)
        slope = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
        edges = image[..., 0] > 0
        assert np.median(slope[edges]) > 4 * np.median(slope[~edges])


def depth_sample(name: str, values: np.ndarray, **fields: Any) -> Rendered | Dropped:
    recipe = make_recipe(name, {"column": "depth_b"})
    source = Source(photo("astronaut"), {"depth_b": ImageMap(values, fields)})
    return recipe.make([source], {}, generator("k"))


@pytest.mark.parametrize("name", ["depth_to_image", "image_to_depth"])
def test_a_depth_sample_shows_the_stored_map_in_8_bits_and_carries_its_range(name: str) -> None:
    height, width = photo("astronaut").shape[:2]
    stored = generator("depth").integers(257 * 20, 257 * 200, (height, width)).astype(np.uint16)
    made = depth_sample(name, stored, model="a", near_m=0.5)
    assert isinstance(made, Rendered)
    shown, other = (made.inputs[0], made.output) if name == "depth_to_image" else (made.output, made.inputs[0])
    assert np.array_equal(other, photo("astronaut"))
    assert np.array_equal(shown, np.repeat(np.rint(stored / 257).astype(np.uint8)[..., None], 3, axis=2))
    low, high = made.parameters["range"]
    assert (low, high) == (pytest.approx(stored.min() / 65535, abs=1e-4), pytest.approx(stored.max() / 65535, abs=1e-4))
    assert (made.parameters["column"], made.parameters["model"], made.parameters["near_m"]) == ("depth_b", "a", 0.5)


@pytest.mark.parametrize("size", [(64, 64), (700, 640)])
def test_a_depth_map_of_another_size_is_brought_to_the_photographs(size: tuple[int, int]) -> None:
    near_below = np.repeat(np.linspace(0, 65535, size[0])[:, None], size[1], axis=1).astype(np.uint16)
    made = depth_sample("image_to_depth", near_below)
    assert isinstance(made, Rendered)
    assert made.output.shape == photo("astronaut").shape
    assert (np.diff(made.output[:, 0, 0].astype(int)) >= 0).all()
    assert (made.output[0, 0, 0] < 8, made.output[-1, 0, 0] > 247) == (True, True)


def test_a_flat_depth_map_is_dropped() -> None:
    verdict = depth_sample("depth_to_image", np.full((64, 64), 30_000, np.uint16))
    assert isinstance(verdict, Dropped)
    assert verdict.reason is Reason.UNSUITABLE_IMAGE


def test_segmentation_paints_the_object_blue_and_nothing_else() -> None:
    image = photo("coffee")
    height, width = image.shape[:2]
    mask = ellipse(height, width, 0.42, 0.45, 0.3)
    made = rendered("referring_segmentation", "coffee", mask_counts=encode_mask(mask), phrase="a cup of coffee")
    assert (made.output[mask] == (0, 0, 255)).all()
    assert np.array_equal(made.output[~mask], image[~mask])
    assert "the cup of coffee" in instruction("referring_segmentation", made)
    assert made.parameters["coverage"] == pytest.approx(mask.mean(), abs=1e-5)


def test_a_mask_follows_its_image_to_another_size() -> None:
    mask = ellipse(600, 800, 0.3, 0.6, 0.2)
    made = rendered("referring_segmentation", "coffee", mask_size=[600, 800], mask_counts=encode_mask(mask))
    painted = (made.output == (0, 0, 255)).all(axis=2)
    assert painted.mean() == pytest.approx(mask.mean(), rel=0.05)


@pytest.mark.parametrize("radius", [0.01, 2.0])
def test_an_object_too_small_or_too_big_is_dropped(radius: float) -> None:
    height, width = photo("astronaut").shape[:2]
    verdict = render("referring_segmentation", mask_counts=encode_mask(ellipse(height, width, 0.5, 0.5, radius)))
    assert isinstance(verdict, Dropped)
    assert verdict.reason is Reason.UNSUITABLE_IMAGE


@pytest.mark.parametrize("base", FewShot().bases_used)
def test_few_shot_shows_on_another_image_just_what_it_asks_for(base: str) -> None:
    of_base = make_recipe(base).example([photo("astronaut"), photo("coffee")])
    query, example = (Source(photo(name), of_base.sources[0].maps) for name in ("astronaut", "coffee"))
    known = json.dumps(dict(of_base.metadata))
    for k in range(8):
        made = FewShot().make([example, query], {"base": base, "examples": [known], "query": known}, generator(k))
        assert isinstance(made, Rendered), made
        example_input, example_output, query_input = made.inputs
        assert made.parameters["base"] == base
        assert len(PLACEHOLDER_PATTERN.findall(FewShot().instruction(f"{k}", made))) == 3
        assert example_input.shape == example_output.shape == photo("coffee").shape
        assert query_input.shape == made.output.shape == photo("astronaut").shape
        if made.parameters.get("kind") == "gaussian" and base == "denoise":
            middle = np.abs(example_output.astype(int) - 128) < 20
            noise = (example_input.astype(float) - example_output)[middle].std()
            assert noise == pytest.approx(made.parameters["sigma"], rel=0.1)
        if base in ("image_to_canny", "image_to_depth"):
            assert np.array_equal(query_input, photo("astronaut"))
            assert np.array_equal(example_input, photo("coffee"))


def test_the_words_of_a_subject_pair_come_from_the_targets_caption() -> None:
    made = rendered("subject_pair", caption="A cup on a shelf.")
    assert all("cup on a shelf" in instruction("subject_pair", made, f"{k}") for k in range(20))
    assert np.array_equal(made.inputs[0], photo("coffee"))
    assert np.array_equal(made.output, photo("astronaut"))
    assert made.scores["subject_pairs.inliers"] == 40


@pytest.mark.parametrize("caption", [None, " <|image_1|> <img></img>"])
@pytest.mark.parametrize("name", ["canny_to_image", "depth_to_image", "subject_pair"])
def test_a_sample_without_a_caption_has_words_that_need_none(name: str, caption: str | None) -> None:
    made = rendered(name, caption=caption)
    for k in range(60):
        text = instruction(name, made, f"{k}")
        assert PLACEHOLDER_PATTERN.findall(text) == ["1"]
        assert "caption" not in text.lower()
        assert "describ" not in text


def test_a_caption_of_nothing_but_markers_is_no_caption() -> None:
    verdict = render("text_to_image", caption=" <|image_1|> <img></img>")
    assert isinstance(verdict, Dropped)
    assert verdict.reason is Reason.NO_CAPTION

"""What each recipe makes of real photographs."""

from __future__ import annotations

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
from x2i.recipes import RECIPES, Rendered
from x2i.recipes.base import OneInputRecipe, Pair, psnr
from x2i.recipes.colorize import chroma
from x2i.recipes.deblur import motion_kernel
from x2i.recipes.few_shot import BASES
from x2i.recipes.inpaint import COLORS
from x2i.recipes.masks import SHAPES
from x2i.sample import PLACEHOLDER_PATTERN, wrong_marks
from x2i.seeding import generator

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left")
GRAY = {"gaussian", "motion"}


def facts_for(name: str, image: np.ndarray) -> dict[str, Any]:
    if name in ("text_to_image", "canny_to_image"):
        return {"caption": "A thing in a place."}
    if name == "subject_pair":
        pair = {"inliers": 40, "inlier_ratio": 0.5, "phash_distance": 20, "model": "homography"}
        return {"caption": "A thing in another place.", **pair}
    if name == "referring_segmentation":
        height, width = image.shape[:2]
        mask = ellipse(height, width, 0.5, 0.5, 0.25)
        entity = {"phrase": "a thing", "score": 0.5, "model": "test", "segmenter": "disc"}
        return {**entity, "mask_size": [height, width], "mask_counts": encode_mask(mask)}
    return {}


def render(name: str, photo_name: str = "astronaut", key: str = "k", **facts: Any) -> Rendered | Dropped:
    images = [photo(photo_name)]
    if name in ("few_shot", "subject_pair"):
        images.insert(0, photo("coffee" if photo_name != "coffee" else "chelsea"))
    for image in images:
        image.setflags(write=False)
    recipe = RECIPES[name]
    known = {**facts_for(name, images[-1]), **facts}
    return recipe.render(key, images, known, generator(key, name, recipe.version))


def rendered(name: str, photo_name: str = "astronaut", key: str = "k", **facts: Any) -> Rendered:
    made = render(name, photo_name, key, **facts)
    assert isinstance(made, Rendered), made
    return made


def find(name: str, wanted: Mapping[str, Any], photo_name: str = "astronaut") -> Rendered:
    """Returns the first sample by key whose parameters hold `wanted`."""
    for k in range(100):
        made = render(name, photo_name, f"key-{k}")
        if isinstance(made, Rendered) and wanted.items() <= made.parameters.items():
            return made
    raise AssertionError(f"no {name} with {wanted} in 100 keys")


def same(a: Rendered | Dropped, b: Rendered | Dropped) -> bool:
    if isinstance(a, Dropped) or isinstance(b, Dropped):
        return a == b
    pictures = zip((*a.inputs, a.output), (*b.inputs, b.output))
    words = (a.instruction, a.parameters, a.scores) == (b.instruction, b.parameters, b.scores)
    return words and all(np.array_equal(p.pixels, q.pixels) for p, q in pictures)


@pytest.mark.parametrize("name", RECIPES)
def test_a_sample_has_the_shape_its_recipe_promises(name: str) -> None:
    for photo_name in PHOTOS:
        made = rendered(name, photo_name, photo_name)
        assert len(made.inputs) == RECIPES[name].num_inputs
        assert not wrong_marks(made.instruction, len(made.inputs))
        for picture in (*made.inputs, made.output):
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.ndim == 3
            assert picture.pixels.shape[2] == 3


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_key_makes_the_same_sample_and_another_key_another(name: str) -> None:
    assert same(render(name, key="one"), render(name, key="one"))
    others = [render(name, key=f"other-{k}") for k in range(3)]
    assert not all(same(render(name, key="one"), other) for other in others)


@given(key=st.text("abcdefgh0123456789_-", min_size=1, max_size=40), name=st.sampled_from(["deblur", "colorize"]))
@settings(max_examples=30, deadline=None)
def test_drawn_parameters_are_json_and_the_target_is_the_photograph(key: str, name: str) -> None:
    made = rendered(name, "chelsea", key)
    assert np.array_equal(made.output.pixels, photo("chelsea"))
    assert all(isinstance(value, str | int | float | bool | list) for value in made.parameters.values())


@pytest.mark.parametrize("kind", ["gaussian", "motion"])
def test_deblur_takes_detail_away_and_says_how_much(kind: str) -> None:
    made = find("deblur", {"kind": kind})
    damaged, clean = made.inputs[0].pixels, made.output.pixels
    assert cv2.Laplacian(damaged, cv2.CV_64F).var() < 0.5 * cv2.Laplacian(clean, cv2.CV_64F).var()
    assert made.scores["input_psnr"] == pytest.approx(psnr(damaged, clean), abs=1e-3)
    if kind == "gaussian":
        assert np.array_equal(damaged, cv2.GaussianBlur(clean, (0, 0), made.parameters["sigma_px"]))


@pytest.mark.parametrize("side", [64, 128, 256, 512])
@pytest.mark.parametrize("name", ["deblur", "denoise"])
def test_damage_shows_at_every_size_and_leaves_something_to_see(name: str, side: int) -> None:
    recipe = RECIPES[name]
    assert isinstance(recipe, OneInputRecipe)
    for k in range(8):
        pair = recipe.pair(photo("astronaut", side), {}, generator(name, k))
        assert isinstance(pair, Pair)
        assert 10 < pair.scores["input_psnr"] < 33


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
    made = find("denoise", {"kind": "gaussian", "monochrome": False}, "camera")
    damaged, clean = made.inputs[0].pixels.astype(float), made.output.pixels.astype(float)
    middle = (clean > 110) & (clean < 145)  # far from clipping
    difference = (damaged - clean)[middle]
    assert difference.std() == pytest.approx(made.parameters["sigma"], rel=0.08)
    assert abs(difference.mean()) < 2


def test_photon_noise_grows_with_the_light() -> None:
    made = find("denoise", {"kind": "poisson"}, "camera")
    damaged, clean = made.inputs[0].pixels.astype(float), made.output.pixels.astype(float)
    for level in (20, 130):
        near = np.abs(clean - level) < 8
        expected = np.sqrt(clean[near].mean() * 255 / made.parameters["photons"])
        assert (damaged - clean)[near].std() == pytest.approx(expected, rel=0.2)


def test_salt_and_pepper_hits_the_recorded_share_and_nothing_else() -> None:
    made = find("denoise", {"kind": "salt_and_pepper"}, "chelsea")
    damaged, clean = made.inputs[0].pixels, made.output.pixels
    hit = (damaged != clean).any(axis=2)
    assert hit.mean() == pytest.approx(made.parameters["amount"], rel=0.15)
    assert set(np.unique(damaged[hit])) == {0, 255}


def test_low_quality_jpeg_is_named_as_such() -> None:
    made = find("denoise", {"kind": "jpeg"})
    assert 4 <= made.parameters["quality"] <= 18
    said = [find("denoise", {"kind": "jpeg"}, name).instruction for name in PHOTOS]
    assert not any("gaussian" in text or "photon" in text for text in said)


@pytest.mark.parametrize("shape", ["boxes", "strokes", "entity"])
def test_an_inpainting_hole_is_flat_and_everything_else_untouched(shape: str) -> None:
    height, width = photo("astronaut").shape[:2]
    mask = ellipse(height, width, 0.44, 0.22, 0.2)
    facts = {"mask_size": [height, width], "mask_counts": encode_mask(mask)}
    made = next(
        made for k in range(50) if (made := rendered("inpaint", key=f"{k}", **facts)).parameters["shape"] == shape
    )
    holed, clean = made.inputs[0].pixels, made.output.pixels
    changed = (holed != clean).any(axis=2)
    assert tuple(made.parameters["rgb"]) == COLORS[made.parameters["color"]]
    assert (holed[changed] == COLORS[made.parameters["color"]]).all()
    assert changed.mean() == pytest.approx(made.parameters["coverage"], abs=0.01)
    if shape == "entity":
        assert not changed[~mask].any()
        assert changed[mask].mean() > 0.98


def test_the_color_of_a_hole_is_hardly_in_the_picture() -> None:
    for k in range(20):
        made = rendered("inpaint", "rocket", f"{k}")
        near = np.abs(made.output.pixels.astype(int) - made.parameters["rgb"]).max(axis=2) < 40
        assert near.mean() < 0.02


def test_a_named_color_is_the_color_of_the_hole() -> None:
    for k in range(30):
        made = rendered("inpaint", "coffee", f"{k}")
        named = [color for color in COLORS if f" {color} " in made.instruction]
        assert named in ([], [made.parameters["color"]])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(64, 64), (64, 300), (512, 384)])
def test_drawn_holes_cover_a_part_of_the_picture(shape: str, size: tuple[int, int]) -> None:
    shares = [SHAPES[shape](*size, generator(shape, k)).mean() for k in range(30)]
    assert min(shares) > 0.005
    assert max(shares) < 0.6
    assert 0.05 < float(np.mean(shares)) < 0.35


def test_colorize_takes_the_color_and_keeps_the_light() -> None:
    made = rendered("colorize")
    gray, color = made.inputs[0].pixels, made.output.pixels
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


def test_edges_are_white_on_black_without_loss_and_lie_on_contrast() -> None:
    for name, picture in (
        ("image_to_canny", rendered("image_to_canny").output),
        ("canny_to_image", rendered("canny_to_image").inputs[0]),
    ):
        assert picture.lossless, name
        assert set(np.unique(picture.pixels)) == {0, 255}
        gray = cv2.cvtColor(photo("astronaut"), cv2.COLOR_RGB2GRAY).astype(np.float32)
        slope = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
        edges = picture.pixels[..., 0] > 0
        assert np.median(slope[edges]) > 4 * np.median(slope[~edges])


def test_segmentation_paints_the_object_blue_and_nothing_else() -> None:
    image = photo("coffee")
    height, width = image.shape[:2]
    mask = ellipse(height, width, 0.42, 0.45, 0.3)
    made = rendered("referring_segmentation", "coffee", mask_counts=encode_mask(mask), phrase="a cup of coffee")
    assert (made.output.pixels[mask] == (0, 0, 255)).all()
    assert np.array_equal(made.output.pixels[~mask], image[~mask])
    assert made.output.lossless
    assert "the cup of coffee" in made.instruction
    assert made.parameters["coverage"] == pytest.approx(mask.mean(), abs=1e-5)


def test_a_mask_follows_its_image_to_another_size() -> None:
    mask = ellipse(600, 800, 0.3, 0.6, 0.2)
    made = rendered("referring_segmentation", "coffee", mask_size=[600, 800], mask_counts=encode_mask(mask))
    painted = (made.output.pixels == (0, 0, 255)).all(axis=2)
    assert painted.mean() == pytest.approx(mask.mean(), rel=0.05)


@pytest.mark.parametrize("radius", [0.01, 2.0])
def test_an_object_too_small_or_too_big_is_dropped(radius: float) -> None:
    height, width = photo("astronaut").shape[:2]
    verdict = render("referring_segmentation", mask_counts=encode_mask(ellipse(height, width, 0.5, 0.5, radius)))
    assert isinstance(verdict, Dropped)
    assert verdict.reason is Reason.UNSUITABLE_IMAGE


def test_few_shot_shows_on_another_image_just_what_it_asks_for() -> None:
    bases = set()
    for k in range(60):
        made = render("few_shot", "astronaut", f"{k}")
        if isinstance(made, Dropped):
            continue
        example_input, example_output, query = (picture.pixels for picture in made.inputs)
        bases.add(made.parameters["base"])
        assert PLACEHOLDER_PATTERN.search(made.instruction)
        assert example_input.shape == example_output.shape == photo("coffee").shape
        assert query.shape == made.output.pixels.shape == photo("astronaut").shape
        if made.parameters.get("kind") == "gaussian" and made.parameters["base"] == "denoise":
            middle = np.abs(example_output.astype(int) - 128) < 20
            noise = (example_input.astype(float) - example_output)[middle].std()
            assert noise == pytest.approx(made.parameters["sigma"], rel=0.1)
        if made.parameters["base"] == "image_to_canny":
            assert np.array_equal(query, photo("astronaut"))
            assert np.array_equal(example_input, photo("coffee"))
    assert bases == set(BASES)


def test_the_words_of_a_subject_pair_come_from_the_targets_caption() -> None:
    made = rendered("subject_pair", caption="A cup on a shelf.")
    assert "cup on a shelf" in made.instruction
    assert np.array_equal(made.inputs[0].pixels, photo("coffee"))
    assert np.array_equal(made.output.pixels, photo("astronaut"))
    assert made.scores["subject_pairs.inliers"] == 40


@pytest.mark.parametrize("name", ["text_to_image", "canny_to_image", "subject_pair"])
def test_a_caption_of_nothing_but_markers_is_no_caption(name: str) -> None:
    verdict = render(name, caption=" <|image_1|> <img></img>")
    assert isinstance(verdict, Dropped)
    assert verdict.reason is Reason.NO_CAPTION

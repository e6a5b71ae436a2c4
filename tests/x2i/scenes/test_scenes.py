"""Drawn scenes: the same address gives the same picture, its truth fits its pixels, and its words say what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

from x2i.errors import UserError
from x2i.recipes.scenes import RecolorThing, RemoveThing
from x2i.scenes.draw import draw
from x2i.scenes.judge import color_mask, iou, see
from x2i.scenes.scene import (
    COLORS,
    DIGITS,
    GROUNDS,
    LETTERS,
    PLACES,
    SHAPES,
    Kinds,
    Pairs,
    Scene,
    SceneOptions,
    Thing,
    are_drawn,
    draw_lots,
    parse_source,
    scene_at,
    scene_url,
)
from x2i.scenes.words import NUMBERS as NUMBER_WORDS
from x2i.scenes.words import brief, caption, name_of, relations, text_of, where

ONE = SceneOptions(seed=5, size=64, most=1, kinds=Kinds.SHAPES, textures=0.0)
MANY = SceneOptions(seed=5, size=96, most=4, textures=0.5)
NUMBERS = range(12)


def thing(kind: str, color: str, place: str, size: float = 0.4) -> Thing:
    return Thing(kind, color, "plain", place, *PLACES[place], size)


def test_an_address_gives_the_same_scene_and_another_number_or_seed_another() -> None:
    urls = [scene_url(options, number) for options in (MANY, replace(MANY, seed=6)) for number in NUMBERS]
    scenes = [scene_at(url) for url in urls]
    assert scenes == [scene_at(url) for url in urls]
    assert len({scene.to_json() for scene in scenes}) == len(urls)
    assert np.array_equal(draw(scenes[0]).pixels, draw(Scene.from_json(scenes[0].to_json())).pixels)
    assert scene_at("https://site.test/photo.jpg#3") is None


def test_a_scene_stays_the_same_when_more_are_asked_for() -> None:
    (few, options), (many, others) = parse_source("scenes:3?seed=4"), parse_source("scenes:900?seed=4")
    assert (few, many) == (3, 900)
    assert scene_url(options, 2) == scene_url(others, 2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("scenes:", "expected how many scenes"),
        ("scenes:0", "expected how many scenes"),
        ("scenes:many?seed=1", "expected how many scenes"),
        ("scenes:5?sede=1", "did you mean 'seed'|seed"),
        ("scenes:5?size=4", "at least 16"),
        ("scenes:5?pairs=some", "pairs"),
    ],
)
def test_a_source_that_names_no_scenes_is_a_user_error(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_source(source)


@pytest.mark.parametrize("options", [ONE, MANY])
def test_masks_are_of_what_is_seen_and_differ_from_the_ground(options: SceneOptions) -> None:
    for number in NUMBERS:
        scene = draw_lots(options, number)
        drawn = draw(scene)
        assert drawn.pixels.shape == (options.size, options.size, 3)
        assert sum(mask.astype(int) for mask in drawn.masks).max() <= 1, "two masks overlap"
        bare = draw(replace(scene, things=())).pixels
        seen = np.logical_or.reduce(drawn.masks)
        around = cv2.dilate(seen.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        assert np.array_equal(drawn.pixels[~around], bare[~around])
        assert (drawn.pixels[seen] != bare[seen]).any(-1).mean() > 0.99


def test_the_thing_in_front_covers_the_one_behind() -> None:
    behind, front = thing("square", "red", "middle", 0.6), thing("circle", "blue", "middle", 0.3)
    drawn = draw(Scene(64, "white", "plain", (behind, front)))
    assert tuple(drawn.pixels[32, 32]) == COLORS["blue"]
    assert drawn.masks[1][32, 32]
    assert not drawn.masks[0][32, 32]
    assert drawn.masks[0][32, 18]


def test_every_kind_is_told_from_the_others_by_its_silhouette() -> None:
    for kind in (*SHAPES, *LETTERS, *DIGITS):
        scene = Scene(96, "white", "plain", (thing(kind, "blue", "middle", 0.6),))
        found = see(draw(scene).pixels, kinds=(*SHAPES, *LETTERS, *DIGITS))
        assert found is not None
        assert found.kind == kind


def test_what_is_drawn_is_what_is_seen() -> None:
    for number in range(40):
        scene = draw_lots(ONE, number)
        (only,) = scene.things
        found = see(draw(scene).pixels)
        assert found is not None
        assert (found.color, found.place, found.kind) == (only.color, only.place, only.kind)
        assert found.ground == scene.ground


def noise(pixels: np.ndarray, number: int) -> np.ndarray:
    return pixels + np.random.default_rng(number).normal(0, 20, pixels.shape)


def blur(pixels: np.ndarray, number: int) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), 1.5)


def specks(pixels: np.ndarray, number: int) -> np.ndarray:
    coarse = np.random.default_rng(number).normal(0, 25, (16, 16, 3))
    return pixels + cv2.resize(coarse, pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("damage", [noise, blur, specks])
def test_a_kind_is_told_through_damage_that_leaves_its_form(damage: Any) -> None:
    told = 0
    for number in range(40):
        scene = draw_lots(ONE, number)
        found = see(damage(draw(scene).pixels.astype(float), number).clip(0, 255).astype(np.uint8))
        told += found is not None and found.kind == scene.things[0].kind
    assert told >= 36


def test_nothing_is_seen_where_nothing_is_and_a_wrong_picture_is_told() -> None:
    bare = Scene(64, "gray", "plain", ())
    assert see(draw(bare).pixels) is None
    noisy = np.clip(draw(bare).pixels + np.random.default_rng(0).normal(0, 4, (64, 64, 3)), 0, 255).astype(np.uint8)
    assert see(noisy) is None
    blurred = draw(replace(bare, things=(thing("star", "red", "left"),))).pixels
    assert see(blurred).place == "left"
    assert see(blurred).color != "blue"


def test_a_color_is_found_where_it_is() -> None:
    for color in COLORS:
        for ground in GROUNDS:
            drawn = draw(Scene(64, ground, "plain", (thing("circle", color, "right"),)))
            assert iou(color_mask(drawn.pixels, color), drawn.masks[0]) > 0.9
            other = next(name for name in COLORS if name != color)
            assert iou(color_mask(drawn.pixels, other), drawn.masks[0]) < 0.2
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0


def test_seen_and_unseen_pairs_share_none_and_are_all() -> None:
    every = [(kind, color) for kind in SHAPES for color in COLORS]
    unseen = {pair for pair in every if are_drawn(Pairs.UNSEEN, *pair)}
    assert 3 <= len(unseen) < len(every) / 3
    for pairs in Pairs:
        for number in NUMBERS:
            for one in draw_lots(replace(ONE, pairs=pairs), number).things:
                assert are_drawn(pairs, one.kind, one.color)
                assert pairs is Pairs.ALL or ((one.kind, one.color) in unseen) == (pairs is Pairs.UNSEEN)


def test_captions_of_one_thing_say_color_kind_place_and_ground_in_several_ways() -> None:
    texts = []
    for number in NUMBERS:
        scene = draw_lots(ONE, number)
        text = caption(scene).lower()
        assert name_of(scene.things[0]) in text
        assert where(scene.things[0].place) in text
        assert scene.ground in text
        texts.append(text.replace(name_of(scene.things[0]), "").replace(scene.ground, ""))
    assert len({text.split("the")[0] for text in texts}) > 3


def test_captions_of_several_things_name_each() -> None:
    for number in NUMBERS:
        scene = draw_lots(MANY, number)
        assert all(name_of(one) in caption(scene) for one in scene.things)


def test_articles_fit_the_word_that_follows() -> None:
    texts = [caption(draw_lots(MANY, number)) for number in range(60)]
    assert any("an orange" in text.lower() for text in texts)
    assert not any("a orange" in text.lower() or "an red" in text.lower() for text in texts)


def test_relations_hold_both_ways_and_letters_are_read_from_left_to_right() -> None:
    scene = Scene(64, "white", "plain", (thing("B", "red", "right", 0.3), thing("A", "blue", "left", 0.3)))
    assert {(one.subject, one.relation, one.object) for one in relations(scene)} == {
        (0, "right of", 1),
        (1, "left of", 0),
    }
    assert text_of(scene) == "AB"


def test_alike_things_are_counted_in_words_and_none_of_them_is_named_alone() -> None:
    options = replace(MANY, alike=1.0)
    counts = set()
    for number in NUMBERS:
        scene = draw_lots(options, number)
        if len(scene.things) == 1:
            continue
        assert len({name_of(one) for one in scene.things}) == 1
        assert len({one.place for one in scene.things}) == len(scene.things)
        count = NUMBER_WORDS[len(scene.things)]
        assert count in caption(scene).lower().split()
        assert brief(scene)["things"].startswith(f"{count} ")
        assert RemoveThing().edit(scene, np.random.default_rng(0)) is None, "which of them, the words could not say"
        counts.add(len(scene.things))
    assert len(counts) > 1


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    """A folder with a photograph's ellipse on nothing, and with a green square."""
    rgba = np.zeros((120, 90, 4), np.uint8)
    rgba[..., :3] = chelsea()[100:220, 150:240]
    rgba[..., 3] = cv2.ellipse(np.zeros((120, 90), np.uint8), (45, 60), (30, 50), 0, 0, 360, 255, -1)
    Image.fromarray(rgba).save(tmp_path / "tabby_cat.png")
    Image.fromarray(np.full((20, 20, 4), (0, 200, 0, 255), np.uint8)).save(tmp_path / "tile.png")
    return tmp_path


def test_cutouts_are_pasted_at_their_places_with_exact_masks(cutouts: Path) -> None:
    count, options = parse_source(f"scenes:20?seed=3&size=96&most=2&kinds=cutouts&textures=0&cutouts={cutouts}")
    scenes = [scene_at(scene_url(options, number)) for number in range(count)]
    assert {one.kind for scene in scenes for one in scene.things} == {"tabby cat", "tile"}
    for scene in scenes:
        drawn, front = draw(scene), scene.things[-1]
        mask = drawn.masks[-1]
        y, x = np.argwhere(mask).mean(0) / scene.size
        assert abs(x - front.x) < 0.02
        assert abs(y - front.y) < 0.02
        height, width = (int(mask.any(axis).sum()) for axis in (1, 0))
        assert abs(max(height, width) - front.size * scene.size) <= 3
        assert front.kind in caption(scene)
        if front.kind == "tile":
            within = np.pad(mask.astype(np.uint8), 1)  # a thing may touch the picture's border
            inner = cv2.erode(within, np.ones((7, 7), np.uint8))[1:-1, 1:-1].astype(bool)
            assert (drawn.pixels[inner] == (0, 200, 0)).all()
        assert Scene.from_json(scene.to_json()) == scene
        assert RecolorThing().edit(scene, np.random.default_rng(0)) is None


def test_a_folder_without_cutouts_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no PNG files"):
        draw_lots(replace(ONE, cutouts=str(tmp_path)), 0)
    with pytest.raises(UserError, match="needs their folder"):
        parse_source("scenes:2?kinds=cutouts")
    Image.new("RGBA", (4, 4)).save(tmp_path / "nothing.png")
    with pytest.raises(UserError, match="not transparent"):
        draw(draw_lots(replace(ONE, cutouts=str(tmp_path), kinds=Kinds.CUTOUTS), 0))

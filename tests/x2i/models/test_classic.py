"""Each weightless backend does what its protocol says, on real photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.support.photographs import photograph
from x2i.models import registry
from x2i.models.abilities import Box
from x2i.models.classic.outline import outline_of
from x2i.models.classic.saliency import saliency_map


def disc(height: int = 200, width: int = 300, center: tuple[int, int] = (210, 90), radius: int = 40) -> np.ndarray:
    image = np.full((height, width, 3), (60, 110, 60), np.uint8)
    image += np.indices((height, width)).sum(0)[..., None].astype(np.uint8) % 7
    return cv2.circle(image, center, radius, (210, 30, 30), -1)


def overlap(box: Box, mask: np.ndarray) -> float:
    inside = np.zeros(mask.shape, bool)
    inside[box.y0 : box.y1, box.x0 : box.x1] = True
    return float((inside & mask).sum() / (inside | mask).sum())


def test_embeddings_are_unit_vectors_that_put_a_picture_next_to_its_copy():
    embedder = registry.load(registry.Ability.IMAGE_EMBEDDER, "classic:hog-color")
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg")
    photos = [photograph(name) for name in names]
    copies = [cv2.resize(photo, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for photo in photos]
    embeddings_ND = embedder.embed([*photos, *copies])
    assert embeddings_ND.shape == (10, embedder.dimensions)
    assert embeddings_ND.dtype == np.float32
    assert np.allclose(np.linalg.norm(embeddings_ND, axis=1), 1, atol=1e-5)
    assert (embeddings_ND[:5] @ embeddings_ND[5:].T).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_an_embedding_does_not_depend_on_its_batch():
    embedder = registry.load(registry.Ability.IMAGE_EMBEDDER, "classic:hog-color")
    a, b = photograph("chelsea.png"), photograph("coffee.png")
    assert np.array_equal(embedder.embed([a, b])[1], embedder.embed([b])[0])
    assert embedder.embed([]).shape == (0, embedder.dimensions)
    assert np.isfinite(embedder.embed([np.zeros((1, 1, 3), np.uint8)])).all()


def test_saliency_finds_the_disc_and_grabcut_cuts_it_out():
    image = disc()
    truth = (image[..., 0] > 150) & (image[..., 1] < 80)
    (found,) = registry.load(registry.Ability.DETECTOR, "classic:saliency").detect([image], [[]])
    assert len(found) == 1
    assert overlap(found[0].box, truth) > 0.6
    assert 0 < found[0].score <= 1
    assert found[0].phrase is None
    ((segment,),) = registry.load(registry.Ability.SEGMENTER, "classic:grabcut").segment([image], [[found[0].box]])
    assert segment is not None
    assert segment.score == pytest.approx(1.0, abs=0.05)
    mask = segment.mask_HW
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95


def test_saliency_finds_nothing_where_nothing_stands_out():
    flat = np.full((100, 160, 3), 120, np.uint8)
    assert registry.load(registry.Ability.DETECTOR, "classic:saliency").detect(
        [flat, np.zeros((1, 1, 3), np.uint8)], [["red car"], []]
    ) == [[], []]


@pytest.mark.parametrize(("name", "center"), [("rocket.jpg", (0.5, 0.7)), ("coffee.png", (0.4, 0.5))])
def test_saliency_finds_the_subject_of_a_photograph(name, center):
    image = photograph(name)
    height, width = image.shape[:2]
    box = registry.load(registry.Ability.DETECTOR, "classic:saliency").detect([image], [[]])[0][0].box
    assert box.x0 <= center[0] * width < box.x1
    assert box.y0 <= center[1] * height < box.y1
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_the_symmetric_surround_of_a_corner_is_itself():
    assert np.allclose(saliency_map(np.full((9, 7, 3), 200, np.uint8)), 0, atol=1e-4)
    assert saliency_map(disc())[0, 0] < 2


def test_grabcut_gives_no_mask_where_colors_tell_nothing_apart():
    segmenter = registry.load(registry.Ability.SEGMENTER, "classic:grabcut")
    flat = np.full((80, 80, 3), 90, np.uint8)
    whole, part = Box(0, 0, 80, 80), Box(20, 20, 60, 60)
    masks = segmenter.segment([flat, disc()], [[whole, part], []])
    assert masks[0][0] is None
    assert masks[1] == []


def test_an_outline_is_clear_where_two_colors_meet():
    image = disc()
    whole = (image[..., 0] > 150) & (image[..., 1] < 80)
    x_W = np.arange(image.shape[1])
    half = whole & (x_W < np.flatnonzero(whole.any(axis=0)).mean())
    assert outline_of(image, whole).separation > 0.95
    assert outline_of(image, half).separation < 0.8
    assert outline_of(image, ~whole & (x_W < 20)).separation == 0.0
    corner = np.zeros_like(whole)
    corner[:50, :50] = True
    assert outline_of(image, whole).frame == 0.0
    assert outline_of(image, corner).frame == pytest.approx(0.5, abs=0.02)


def test_grabcut_gives_no_mask_of_a_glow():
    glow = cv2.GaussianBlur(disc(), (0, 0), 25.0)
    (found,) = registry.load(registry.Ability.DETECTOR, "classic:saliency").detect([glow], [[]])
    boxes = [one.box for one in found]
    assert boxes
    masks = registry.load(registry.Ability.SEGMENTER, "classic:grabcut").segment([glow], [boxes])
    assert masks == [[None] * len(boxes)]


def test_grabcut_gives_the_same_mask_every_time():
    image = photograph("coffee.png")
    box = registry.load(registry.Ability.DETECTOR, "classic:saliency").detect([image], [[]])[0][0].box
    segmenter = registry.load(registry.Ability.SEGMENTER, "classic:grabcut")
    first = segmenter.segment([image], [[box]])[0][0]
    cv2.setRNGSeed(12345)
    cv2.randu(np.zeros(100), 0, 1)
    again = segmenter.segment([disc(), image], [[Box(150, 30, 270, 150)], [box]])[1][0]
    assert first is not None
    assert np.array_equal(first.mask_HW, again.mask_HW)


def test_canny_draws_the_outline_and_only_that():
    image = cv2.circle(np.full((200, 300, 3), 90, np.uint8), (210, 90), 40, (230, 220, 200), -1)
    (edges,) = registry.load(registry.Ability.EDGE_DETECTOR, "classic:canny").edges([image])
    assert set(np.unique(edges)) == {0, 255}
    y, x = np.nonzero(edges)
    assert np.abs(np.hypot(x - 210, y - 90) - 40).max() < 4
    assert len(x) > 150


def test_telea_fills_the_hole_and_touches_nothing_else():
    image = photograph("coffee.png")
    mask = np.zeros(image.shape[:2], bool)
    mask[10:30, 400:430] = True
    (filled,) = registry.load(registry.Ability.INPAINTER, "classic:telea").inpaint([image], [mask])
    assert np.array_equal(filled[~mask], image[~mask])
    assert np.abs(filled[mask].astype(int) - image[mask]).mean() < 25
    with pytest.raises(ValueError, match="leaves some pixels"):
        registry.load(registry.Ability.INPAINTER, "classic:telea").inpaint([image], [np.ones(image.shape[:2], bool)])


def test_exemplar_continues_a_texture_into_the_hole_where_telea_smears_it():
    image = np.ascontiguousarray(photograph("brick.png", 256))
    mask = np.zeros(image.shape[:2], bool)
    mask[100:150, 100:160] = True
    filled = {
        name: registry.load(registry.Ability.INPAINTER, name).inpaint([image], [mask])[0]
        for name in ("classic:exemplar", "classic:telea")
    }
    assert np.array_equal(filled["classic:exemplar"][~mask], image[~mask])
    contrast = {name: pixels[105:145, 105:155].astype(float).std() for name, pixels in filled.items()}
    assert contrast["classic:exemplar"] > 0.7 * image[105:145, 105:155].std() > contrast["classic:telea"]
    with pytest.raises(ValueError, match="too little"):
        registry.load(registry.Ability.INPAINTER, "classic:exemplar").inpaint([image], [np.ones_like(mask)])

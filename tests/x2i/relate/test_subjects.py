"""The miner finds details of a photograph and nothing else; copies and near-duplicates are no pairs.

Measured here: 19 bundled photographs, two detail shots each (35-60% of the area, perspective, light, JPEG).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

import cv2
import numpy as np
import pytest

from tests.support.photographs import PHOTOGRAPHS, Pixels, detail_shot, photograph
from x2i.image import decode, encode, phash
from x2i.models.classic.hog_color import HogColor
from x2i.models.classic.sift import Sift, SiftFeatures
from x2i.models.match import Match
from x2i.relate.candidates import descriptor_pairs, embedding_pairs
from x2i.relate.subjects import SubjectPair, SubjectRule, accepts, find_pairs, is_copy

MATCHER = Sift()
RULE = SubjectRule()


@cache
def shots() -> dict[str, Pixels]:
    """name -> picture: "coffee" and its details "coffee#0", "coffee#1"."""
    wholes = {name.split(".")[0]: photograph(name, 400) for name in PHOTOGRAPHS}
    details = {f"{name}#{k}": detail_shot(image, name, k) for name, image in wholes.items() for k in range(2)}
    return dict(sorted({**wholes, **details}.items()))


def scene(name: str) -> str:
    return name.split("#")[0].replace("motorcycle_right", "motorcycle_left")


@cache
def features() -> dict[str, SiftFeatures]:
    return dict(zip(shots(), MATCHER.features(list(shots().values()))))


def mine(
    images: Sequence[Pixels], rule: SubjectRule = RULE, found: Sequence[SiftFeatures] | None = None
) -> list[SubjectPair]:
    """Mines `images`; found: their features, where they are known already."""
    hashes = np.array([phash(image) for image in images], np.uint64)
    embeddings = HogColor().embed(images)
    found = MATCHER.features(images) if found is None else found
    return list(find_pairs(found, embeddings, hashes, lambda row: images[row], MATCHER, rule))


def mine_shots(names: Sequence[str]) -> list[SubjectPair]:
    return mine([shots()[name] for name in names], found=[features()[name] for name in names])


@cache
def mined() -> dict[tuple[str, str], SubjectPair]:
    names = list(shots())
    return {(names[pair.a], names[pair.b]): pair for pair in mine_shots(names)}


def test_no_pair_joins_two_different_photographs():
    assert [pair for pair in mined() if scene(pair[0]) != scene(pair[1])] == []


def test_nearly_every_detail_is_found_from_its_whole():
    wanted = {(name.split("#")[0], name) for name in shots() if "#" in name}
    missed = {name for name in wanted if name not in mined()}
    # clock_motion is one soft gradient: it has next to no local features.
    assert {scene(whole) for whole, _ in missed} <= {"clock_motion"}
    assert len(missed) <= 2


def test_a_stereo_pair_with_nearly_equal_hashes_is_a_near_duplicate():
    left, right = photograph("motorcycle_left.png"), photograph("motorcycle_right.png")
    match = MATCHER.match(*MATCHER.features([left, right]))
    assert accepts(RULE, match)
    assert mine([left, right]) == []
    assert len(mine([left, right], replace(RULE, near_distance=0))) == 1


def test_pairs_are_ordered_and_carry_their_proof():
    for pair in mined().values():
        assert pair.a < pair.b
        assert pair.match.inliers >= RULE.min_inliers
        assert RULE.min_area <= pair.area_ratio <= 1
        assert pair.match.model in ("homography", "fundamental")
        assert pair.phash_distance > RULE.near_distance


def test_the_pairs_do_not_depend_on_the_order_of_the_images():
    names = [name for name in shots() if scene(name) in ("coffee", "rocket", "grass", "brick", "chelsea")]

    def pairs(order: list[str]) -> set[tuple[frozenset[str], int, str]]:
        return {(frozenset((order[p.a], order[p.b])), p.match.inliers, p.match.model) for p in mine_shots(order)}

    assert pairs(names) == pairs(names[::-1])
    assert len(pairs(names)) >= 10


def test_votes_of_local_features_find_details_that_look_different_from_afar():
    names = list(shots())
    found = descriptor_pairs([f.descriptors_ND for f in features().values()], 6)
    voted = {(names[a], names[b]) for a, b in found.tolist()}
    wanted = {(name.split("#")[0], name) for name in shots() if "#" in name and "clock_motion" not in name}
    assert wanted - voted == set()
    everything = len(list(combinations(names, 2)))
    assert len(voted) < 0.25 * everything


def test_candidates_do_not_depend_on_threads():
    import faiss

    descriptors = [f.descriptors_ND for f in features().values()][:24]
    before = faiss.omp_get_max_threads()
    try:
        found = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(descriptor_pairs(descriptors, 5))
    finally:
        faiss.omp_set_num_threads(before)
    assert np.array_equal(*found)


def test_candidates_of_hardly_any_images():
    assert embedding_pairs(np.ones((1, 4), np.float32), 5).shape == (0, 2)
    assert embedding_pairs(np.eye(3, dtype=np.float32), 5).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert descriptor_pairs([], 5).shape == (0, 2)
    assert descriptor_pairs([np.zeros((0, 128), np.uint8)] * 3, 5).shape == (0, 2)


def recompress(image: Pixels, quality: int = 80) -> Pixels:
    return decode(encode(np.ascontiguousarray(image), "jpeg", quality))


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "gravel.png", "rocket.jpg"])
@pytest.mark.parametrize("zoom", [0.6, 1.0, 1.3])
def test_a_plain_cut_out_is_a_copy_however_resized_and_compressed(name, zoom):
    photo = photograph(name)
    height, width = photo.shape[:2]
    cut = photo[height // 6 : height * 5 // 6, width // 8 : width * 7 // 10]
    cut = recompress(cv2.resize(cut, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA))
    assert mine([photo, cut]) == []
    assert mine([cut, photo]) == []


@pytest.mark.parametrize("light", [(0.9, 0.9, 0.9), (1.06, 1.0, 0.94)], ids=["darker", "warmer"])
def test_the_same_cut_out_in_another_light_is_a_pair(light):
    photo = photograph("coffee.png")
    cut = photo[60:330, 60:400].astype(np.float32)
    assert len(mine([photo, recompress(np.clip(cut * light, 0, 255).astype(np.uint8))])) == 1


def test_a_cut_out_of_more_contrast_is_a_copy():
    photo = photograph("coffee.png")
    cut = photo[60:330, 60:400].astype(np.float32)
    stronger = cut.mean(axis=(0, 1)) + 1.2 * (cut - cut.mean(axis=(0, 1)))
    assert mine([photo, recompress(np.clip(stronger, 0, 255).astype(np.uint8))]) == []


@pytest.mark.parametrize("zoom", [1.0, 0.7])
def test_frames_of_a_camera_that_stood_still_are_no_pair_whatever_moved_before_it(zoom):
    def frame(visitor: str, at: int) -> Pixels:
        picture = photograph("motorcycle_left.png").copy()
        picture[20:220, at : at + 170] = cv2.resize(photograph(visitor), (170, 200), interpolation=cv2.INTER_AREA)
        return recompress(picture, 90)

    one, other = frame("astronaut.png", 10), frame("chelsea.png", 330)
    other = cv2.resize(other, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    assert accepts(RULE, MATCHER.match(*MATCHER.features([one, other])))
    assert mine([one, other]) == []
    assert len(mine([one, other], replace(RULE, same_view=0.0, same_brightness=0.0, near_distance=0))) == 1


def test_a_turned_detail_is_no_copy():
    photo = photograph("chelsea.png")
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 20, 1.3)
    turned = recompress(cv2.warpAffine(photo, turn, (width, height)))
    match = MATCHER.match(*MATCHER.features([photo, turned]))
    assert not is_copy(photo, turned, match, RULE)


def about(shift: float, scale: float = 1.0) -> Match:
    """What a matcher says of a soft picture: a place that is pixels off, and no plane."""
    return Match(model="fundamental", similarity_33=np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1.0]]))


@pytest.mark.parametrize("name", ["rocket.jpg", "coffee.png", "motorcycle_left.png", "retina.jpg"])
def test_the_pixels_say_that_soft_overlapping_cut_outs_are_copies(name):
    soft = cv2.GaussianBlur(photograph(name, 640), (0, 0), 3)
    height, width = soft.shape[:2]
    one = recompress(soft[: height * 4 // 5, : width * 3 // 4])
    other = recompress(soft[height // 8 :, width // 8 :])
    close = about(5 - width / 8, 1.01)
    close.similarity_33[1, 2] = -4 - height / 8
    assert is_copy(one, other, close, RULE)
    assert is_copy(other, one, close.swapped(), RULE)


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "astronaut.png"])
def test_a_shot_from_elsewhere_is_no_copy_however_near_it_is_laid(name):
    whole = photograph(name, 400)
    for number in range(2):
        shot = detail_shot(whole, name, number)
        match = MATCHER.match(*MATCHER.features([whole, shot]))
        assert not is_copy(whole, shot, replace(match, homography_33=None), RULE)


def test_a_shared_watermark_makes_no_pair():
    def mark(image: Pixels) -> Pixels:
        image = cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)
        cv2.rectangle(image, (150, 460), (500, 500), (20, 20, 20), -1)
        cv2.putText(image, "www.photo-archive.example", (155, 488), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        return recompress(image, 90)

    marked = [mark(photograph(name).copy()) for name in ("astronaut.png", "coffee.png", "chelsea.png", "moon.png")]
    assert mine(marked) == []


def test_two_halves_of_one_texture_are_no_pair():
    for name in ("brick.png", "grass.png", "gravel.png", "page.png"):
        photo = photograph(name)
        middle = photo.shape[1] // 2
        assert mine([photo[:, : middle - 4], photo[:, middle + 4 :]]) == [], name


def test_a_fundamental_matrix_needs_more_than_a_homography():
    match = Match(matches=40, inliers=20, inlier_ratio=0.5, area_a=0.5, area_b=0.5, model="homography")
    assert accepts(RULE, match)
    assert not accepts(RULE, replace(match, model="fundamental"))
    assert accepts(RULE, replace(match, model="fundamental", inliers=30, inlier_ratio=0.75))
    assert not accepts(RULE, Match())


def test_agreement_on_a_small_patch_is_not_enough():
    match = Match(matches=100, inliers=90, inlier_ratio=0.9, area_a=0.5, area_b=0.01, model="homography")
    assert not accepts(RULE, match)
    assert not accepts(RULE, replace(match, area_a=0.1, area_b=0.1))
    assert accepts(RULE, replace(match, area_a=0.5, area_b=0.05))

"""Subject pairs: different pictures of the same thing, proven by geometry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import InstanceMatcher, RgbImage
from x2i.models.match import Match
from x2i.relate.candidates import VOTERS, descriptor_pairs, embedding_pairs, group_pairs
from x2i.relate.near import hamming_distances

COMPARED_SIDE = 192
BLOCK = 1024
PAIRS_AT_ONCE = 1 << 16
UPRIGHT_DEVIATION = 0.012
ENOUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)


@dataclass(frozen=True)
class SubjectRule:
    """What makes two images a pair.

    min_inliers, min_ratio: agreeing places and their share among the matches. A homography fixes each place exactly; a
    fundamental matrix only puts it on a line, so it needs `fundamental_factor` times both (the ratio at most 0.6).
    min_area, min_wider_area: share of the area that the agreeing places must span in both images, and in one of them.
    They keep out watermarks, logos and subtitles, which agree on a small patch.
    near_distance: images with a phash distance up to this are the same picture again and no pair.
    same_brightness, same_spread: an upright cut-out whose colors differ by no more than so many levels in the mean and
    such a share in the standard deviation is a copy and no pair.
    same_view: two images whose frames lie over each other within this share of the diagonal were taken by one camera
    that did not move. What agrees is the background, which proves nothing about a subject: no pair.
    neighbors: candidates per image from the embeddings, and as many from the votes of local features and from each kind
    of group. similarity: bounds of the cosine of the two embeddings; outside of them is no pair.
    """

    min_inliers: int = 15
    min_ratio: float = 0.35
    fundamental_factor: float = 1.75
    min_area: float = 0.03
    min_wider_area: float = 0.15
    near_distance: int = 10
    same_brightness: float = 2.0
    same_spread: float = 0.35
    same_view: float = 0.03
    neighbors: int = 10
    similarity: tuple[float, float] = (-1.0, 1.0)


@dataclass(frozen=True)
class SubjectPair:
    """Rows a < b of two images of the same thing, and what proves it.

    similarity: cosine of their embeddings. area_ratio: the smaller of the match's areas.
    """

    a: int
    b: int
    match: Match
    phash_distance: int
    similarity: float = 0.0

    @property
    def area_ratio(self) -> float:
        return min(self.match.area_a, self.match.area_b)


def find_pairs(
    features: Sequence[Any],
    embeddings_ND: NDArray[np.float32],
    hashes_N: NDArray[np.uint64],
    read_image: Callable[[int], RgbImage],
    matcher: InstanceMatcher,
    rule: SubjectRule,
    groups: Sequence[Sequence[str]] = (),
) -> Iterator[SubjectPair]:
    """Yields the subject pairs among N images, sorted by (a, b).

    features: per image what `matcher.features` made; each is asked for once in order, then pair by pair, those of near
    rows together, so that it may be made on demand. hashes_N: phashes. read_image: gives the pixels of a row; it is
    called for the pairs that agree. groups: of each kind, the group of each image, "" for none.
    The result does not depend on the images' order beyond a < b.
    """
    found = [
        embedding_pairs(embeddings_ND, rule.neighbors),
        descriptor_pairs([found.descriptors_ND[:VOTERS].copy() for found in features], rule.neighbors),
        *(group_pairs(kind, embeddings_ND, rule.neighbors) for kind in groups),
    ]
    candidates_P2 = np.unique(np.concatenate(found), axis=0)
    a_P, b_P = candidates_P2.T
    distance_P = hamming_distances(hashes_N[a_P], hashes_N[b_P])
    similarity_P = cosines(embeddings_ND, candidates_P2)
    low, high = rule.similarity
    wanted_P = (distance_P > rule.near_distance) & (similarity_P >= low) & (similarity_P <= high)
    pairs = []
    for number in _by_blocks(candidates_P2, wanted_P):
        a, b = candidates_P2[number].tolist()
        match = matcher.match(features[a], features[b])
        if not accepts(rule, match):
            continue
        one, other = read_image(a), read_image(b)
        if match.homography_33 is not None and is_same_view(one, other, match.homography_33, rule):
            continue
        if is_copy(one, other, match, rule):
            continue
        pairs.append(SubjectPair(a, b, match, int(distance_P[number]), round(float(similarity_P[number]), 5)))
    yield from sorted(pairs, key=lambda pair: (pair.a, pair.b))


def cosines(vectors_ND: NDArray[np.float32], pairs_P2: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns the dot product of each pair of rows, a part of the pairs at a time."""
    parts = [
        np.einsum("pd,pd->p", vectors_ND[part[:, 0]], vectors_ND[part[:, 1]])
        for part in np.array_split(pairs_P2, 1 + len(pairs_P2) // PAIRS_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.float32)


def _by_blocks(pairs_P2: NDArray[np.int64], wanted_P: NDArray[np.bool_]) -> list[int]:
    """Returns the numbers of the wanted pairs, those of the same two blocks of BLOCK rows one after another."""
    numbers = np.flatnonzero(wanted_P)
    block_a, block_b = pairs_P2[numbers, 0] // BLOCK, pairs_P2[numbers, 1] // BLOCK
    order: list[int] = numbers[np.lexsort((numbers, block_b, block_a))].tolist()
    return order


def accepts(rule: SubjectRule, match: Match) -> bool:
    """Returns whether the geometric agreement is strong and wide enough to prove one subject."""
    factor = rule.fundamental_factor if match.model == "fundamental" else 1.0
    return (
        bool(match.model)
        and match.inliers >= factor * rule.min_inliers
        and match.inlier_ratio >= min(0.6, factor * rule.min_ratio)
        and min(match.area_a, match.area_b) >= rule.min_area
        and max(match.area_a, match.area_b) >= rule.min_wider_area
    )


def is_same_view(a: RgbImage, b: RgbImage, a_to_b_33: NDArray[np.float64], rule: SubjectRule) -> bool:
    """Returns whether the frame of `a` lies over that of `b`, whatever their sizes in pixels."""
    (height, width), (other_height, other_width) = a.shape[:2], b.shape[:2]
    corners_42 = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    expected_42 = corners_42 * (other_width / width, other_height / height)
    apart_4 = np.linalg.norm(cv2.perspectiveTransform(corners_42[None], a_to_b_33)[0] - expected_42, axis=1)
    return float(apart_4.max()) <= rule.same_view * float(np.hypot(other_width, other_height))


def is_copy(a: RgbImage, b: RgbImage, match: Match, rule: SubjectRule) -> bool:
    """Returns whether one image is a cut-out of the other: upright, only shifted and scaled, in the same light.

    Such a pair teaches a model to copy its input. The places that agree say where a lies in b, exactly in a picture
    full of fine detail. In a soft one they are pixels off; there the pixels say it: from the nearest similarity on, the
    gray images are aligned by an affine map (Evangelidis and Psarakis, PAMI 2008). It keeps the shape of a cut-out to a
    thousandth, compressed or not, where two photographs differ by a hundredth. Light is compared by mean and spread of
    the colors where the two lie over each other, at a longest side of 192 px or less.
    """
    if match.similarity_33 is None:
        return False
    scale = float(np.sqrt(np.linalg.det(match.similarity_33[:2, :2])))
    if a.shape[0] * a.shape[1] * scale**2 > b.shape[0] * b.shape[1]:  # b is the detail, a the whole
        return is_copy(b, a, match.swapped(), rule)
    shrink = min(1.0, COMPARED_SIDE / max(a.shape[:2]))
    detail_HW3, whole_HW3 = _resized(a, shrink), _resized(b, shrink / scale)
    small, full = np.diag([shrink / scale, shrink / scale, 1.0]), np.diag([1 / shrink, 1 / shrink, 1.0])
    maps = [] if match.homography_33 is None else [small @ match.homography_33 @ full]
    maps += _aligned(detail_HW3, whole_HW3, small @ match.similarity_33 @ full)
    for map_33 in maps:
        if _is_upright(map_33, detail_HW3.shape[1], detail_HW3.shape[0]):
            brightness, spread = _light_change(detail_HW3, whole_HW3, map_33)
            if brightness <= rule.same_brightness and spread <= rule.same_spread:
                return True
    return False


def _aligned(
    detail_HW3: NDArray[np.float32], whole_HW3: NDArray[np.float32], start_33: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Returns the affine map that lays the detail over the whole best, none if their pixels have nothing in common."""
    one, other = (cv2.GaussianBlur(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), (0, 0), 1.0) for x in (detail_HW3, whole_HW3))
    try:
        _, found_23 = cv2.findTransformECC(one, other, start_33[:2].astype(np.float32), cv2.MOTION_AFFINE, ENOUGH)
    except cv2.error:  # what it raises where it does not converge
        return []
    return [np.vstack([found_23, [0.0, 0.0, 1.0]])]


def _is_upright(map_33: NDArray[np.float64], width: int, height: int) -> bool:
    """Returns whether a map only scales and shifts an image of this size, and neither turns nor stretches it."""
    corners_42 = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    mapped_42 = cv2.perspectiveTransform(corners_42[None], map_33)[0]
    source_42, target_42 = corners_42 - corners_42.mean(axis=0), mapped_42 - mapped_42.mean(axis=0)
    scale = float((source_42 * target_42).sum() / (source_42**2).sum())
    deviation = float(np.linalg.norm(target_42 - scale * source_42, axis=1).max())
    return scale > 0 and deviation <= UPRIGHT_DEVIATION * scale * float(np.hypot(width, height))


def _light_change(
    detail_HW3: NDArray[np.float32], whole_HW3: NDArray[np.float32], map_33: NDArray[np.float64]
) -> tuple[float, float]:
    """Returns how the colors differ where the two images overlap: (brightness, spread).

    brightness: largest difference of the means of a channel, 0..255. spread: by what share the standard deviation of
    luma differs. Infinite if nothing overlaps.
    """
    size, flags = detail_HW3.shape[1::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned_HW3 = cv2.warpPerspective(whole_HW3, map_33, size, flags=flags)
    overlap_HW = cv2.warpPerspective(np.ones(whole_HW3.shape[:2], np.float32), map_33, size, flags=flags) > 0.99
    if not overlap_HW.any():
        return float("inf"), float("inf")
    one_N3, other_N3 = detail_HW3[overlap_HW], aligned_HW3[overlap_HW]
    brightness = float(np.abs(one_N3.mean(axis=0) - other_N3.mean(axis=0)).max())
    deviations = one_N3.mean(axis=1).std() + 1.0, other_N3.mean(axis=1).std() + 1.0
    return brightness, float(max(deviations) / min(deviations)) - 1


def _resized(image: RgbImage, scale: float) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image.astype(np.float32), size, interpolation=method)

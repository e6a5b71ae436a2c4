"""How well subjects are found: precision and recall on real photographs, and the cost of candidates for many images.

    python -m benchmarks.mining [--part geometry|crops|faces|scale] [--rows 200000] [--embedder classic:hog-color]

geometry: the photographs of scikit-image, two detail shots of each (35 to 60% of the area, perspective, light, JPEG),
and one object composed onto other photographs; pairs of one photograph are to be found, all others are look-alikes or
strangers. crops: the same pictures, compared by an embedder alone, at the threshold whose precision is 0.95 or more
(`--embedder benchmarks.efficientnet:EfficientNetLite` has trained weights that a package holds).
faces: two people from different shots, boxes by the packaged face detector, and faces cut from other photographs.
scale: candidates among synthetic embeddings and descriptors of `rows` images, and caps on the rows found: seconds and
the peak of memory. One JSON line a part; one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterable
from itertools import combinations

import cv2
import numpy as np

from tests.support.photographs import PHOTOGRAPHS, Pixels, detail_shot, photograph
from x2i.image import phash
from x2i.models.classic.sift import Sift
from x2i.models.registry import Ability, load
from x2i.relate.candidates import descriptor_pairs, embedding_pairs, group_pairs
from x2i.relate.caps import capped
from x2i.relate.subject_rows import SubjectInput, SubjectRow
from x2i.relate.subjects import SubjectRule, cosines, find_pairs
from x2i.seeding import generator

SHOTS = 2
OBJECT = ("coffee.png", (0.15, 0.02, 0.85, 0.98))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--embedder", default="classic:hog-color")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for part in [arguments.part] if arguments.part else PARTS:
        print(json.dumps({"part": part, **PARTS[part](arguments)}))


def pictures() -> tuple[list[Pixels], list[str]]:
    """Returns pictures and what each shows: the name of the photograph, or of the object composed onto others."""
    images: list[Pixels] = []
    shown: list[str] = []
    for name in PHOTOGRAPHS:
        whole = photograph(name, 400)
        images += [whole, *(detail_shot(whole, name, number) for number in range(SHOTS))]
        shown += [name.replace("_right", "_left")] * (1 + SHOTS)
    thing = photograph(OBJECT[0], 400)
    for number, name in enumerate(PHOTOGRAPHS[:6]):
        images.append(composed(photograph(name, 400), thing, number))
        shown.append(f"{name} with {OBJECT[0]}")
    return images, shown


def composed(scene: Pixels, thing: Pixels, number: int) -> Pixels:
    """Returns `thing` seen from another side, in another light, in a part of `scene`."""
    random = generator("composed", number)
    height, width = scene.shape[:2]
    side = random.uniform(0.4, 0.6)
    size = np.array([width, height]) * side
    corner = random.uniform(0, 1, 2) * (np.array([width, height]) - size)
    to = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size + corner + random.uniform(-0.06, 0.06, (4, 2)) * size
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * np.array(thing.shape[1::-1], np.float32)
    matrix = cv2.getPerspectiveTransform(source, to.astype(np.float32))
    seen = cv2.warpPerspective(thing, matrix, (width, height)).astype(np.float32) * random.uniform(0.75, 1.2)
    mask = cv2.warpPerspective(np.ones(thing.shape[:2], np.float32), matrix, (width, height))[..., None] > 0.5
    return np.where(mask, np.clip(seen, 0, 255).astype(np.uint8), scene)


def same(a: str, b: str) -> bool:
    """Whether two pictures show one thing: the same photograph, or the composed object and its photograph."""
    return bool(set(a.split(" with ")) & set(b.split(" with ")))


def judged(found: Iterable[tuple[int, int]], shown: list[str]) -> dict[str, float]:
    pairs = set(found)
    truth = {(a, b) for a, b in combinations(range(len(shown)), 2) if same(shown[a], shown[b])}
    right = len(pairs & truth)
    return {
        "pictures": len(shown),
        "true_pairs": len(truth),
        "found": len(pairs),
        "precision": round(right / max(1, len(pairs)), 4),
        "recall": round(right / len(truth), 4),
    }


def geometry(arguments: argparse.Namespace) -> dict[str, float]:
    images, shown = pictures()
    matcher = Sift()
    embeddings = load(Ability.IMAGE_EMBEDDER, arguments.embedder).embed(images)
    hashes = np.array([phash(image) for image in images], np.uint64)
    rule = SubjectRule(near_distance=0)
    found = find_pairs(matcher.features(images), embeddings, hashes, lambda row: images[row], matcher, rule)
    return judged(((pair.a, pair.b) for pair in found), shown)


def crops(arguments: argparse.Namespace) -> dict[str, float]:
    images, shown = pictures()
    embeddings = load(Ability.IMAGE_EMBEDDER, arguments.embedder).embed(images)
    pairs = np.array(list(combinations(range(len(images)), 2)))
    likeness = cosines(embeddings, pairs)
    best: dict[str, float] = {"threshold": 1.0, **judged([], shown)}
    for threshold in np.unique(likeness.round(3))[::-1]:
        here = judged(map(tuple, pairs[likeness >= threshold].tolist()), shown)
        if here["precision"] >= 0.95 and here["recall"] > best["recall"]:
            best = {"threshold": float(threshold), **here}
    return {"embedder": arguments.embedder, **best}


def faces(arguments: argparse.Namespace) -> dict[str, float]:
    detector, embedder = load(Ability.FACE_DETECTOR, "opencv:yunet"), load(Ability.FACE_EMBEDDER, "opencv:sface")
    images, people = [], []
    for person, name in (("astronaut", "astronaut.png"), ("cameraman", "camera.png")):
        whole = photograph(name, 512)
        top = whole[: whole.shape[0] // 2] if person == "astronaut" else whole
        for number in range(8):
            images.append(whole if number == 0 else _portrait(top, person, number))
            people.append(person)
    found = detector.faces(images)
    vectors = embedder.embed_faces(images, found)
    known = [(vector[0], person) for vector, person in zip(vectors, people) if len(vector)]
    if len(known) < 2:
        return {"pictures": len(images), "faces": len(known)}
    stacked = np.stack([vector for vector, _ in known])
    pairs = np.array(list(combinations(range(len(known)), 2)))
    likeness = cosines(stacked, pairs)
    return {"faces": len(known), **judged(map(tuple, pairs[likeness >= 0.45].tolist()), [p for _, p in known])}


def _portrait(image: Pixels, *name: str | int) -> Pixels:
    """Returns a portrait in another light, size and sharpness, a little turned and seen from the side."""
    random = generator("portrait", *name)
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + (random.uniform(-0.06, 0.06, (4, 2)) * [width, height]).astype(np.float32)
    seen = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, moved), (width, height), borderMode=4)
    seen = cv2.GaussianBlur(seen, (0, 0), random.uniform(0.3, 1.2)).astype(np.float32)
    lit = np.clip(seen * random.uniform(0.6, 1.3) + random.uniform(-25, 25), 0, 255).astype(np.uint8)
    return lit[:, ::-1].copy() if random.uniform() < 0.5 else lit


def scale(arguments: argparse.Namespace) -> dict[str, float]:
    """Rows: a third of the images come in twins of a near embedding and shared descriptors, on pages of ten."""
    count, random = arguments.rows, generator("scale")
    vectors = random.normal(size=(count, 128)).astype(np.float32)
    twins = np.arange(0, count // 3, 2)
    vectors[twins + 1] = vectors[twins] + 0.1 * random.normal(size=(len(twins), 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    descriptors = random.integers(0, 256, (count, 24, 128), dtype=np.uint8)
    descriptors[twins + 1, :12] = descriptors[twins, :12]
    start = time.process_time()
    seconds = {}
    near = embedding_pairs(vectors, 10)
    seconds["embeddings"], start = time.process_time() - start, time.process_time()
    voted = descriptor_pairs(list(descriptors), 10)
    seconds["votes"], start = time.process_time() - start, time.process_time()
    grouped = group_pairs([f"page-{row // 10}" for row in range(count)], vectors, 10)
    candidates = np.unique(np.concatenate([near, voted, grouped]), axis=0)
    likeness = cosines(vectors, candidates)
    seconds["pages_and_cosines"], start = time.process_time() - start, time.process_time()
    rows = [
        SubjectRow(f"{b:07d}", (SubjectInput(f"{a:07d}"),), "geometry", {"inliers": 20})
        for a, b in candidates[likeness > 0.8].tolist()
    ]
    kept = capped(rows, {}, 10, 200, 200)
    seconds["caps"] = time.process_time() - start
    wanted = {(int(one), int(one) + 1) for one in twins}
    found = {tuple(pair) for pair in near.tolist()}
    by_votes = {tuple(pair) for pair in voted.tolist()}
    return {
        "rows": count,
        "candidates": len(candidates),
        "kept": len(kept),
        "twins_found_by_embedding": round(len(wanted & found) / len(wanted), 4),
        "twins_found_by_votes": round(len(wanted & by_votes) / len(wanted), 4),
        **{f"{name}_s": round(value, 1) for name, value in seconds.items()},
        "cpu_seconds": round(sum(seconds.values()), 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


PARTS = {"geometry": geometry, "crops": crops, "faces": faces, "scale": scale}


if __name__ == "__main__":
    main()

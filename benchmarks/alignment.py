"""How well alignment is measured and classified on pairs of known geometry: `python -m benchmarks.alignment`.

Cut-outs of scikit-image's photographs (without clock_motion, which has nothing sharp in it) are resized, cropped,
stretched or left as they are, edited in one place and saved as JPEG. Prints what was taken for what, the errors, and
milliseconds a pair.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data as photographs

from x2i.image import decode, encode
from x2i.image.alignment import Alignment, AlignmentKind, measure_alignment
from x2i.seeding import generator

NAMES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "camera",
    "retina",
    "motorcycle_left",
    "motorcycle_right",
    "brick",
    "grass",
    "gravel",
    "moon",
    "coins",
    "page",
    "hubble_deep_field",
    "ihc",
)
KINDS = ("identity", "resize", "crop", "stretch", "different")


@dataclass(frozen=True)
class Pair:
    """Two images, and the truth: kind, scale_2 and offset_2 as in `Alignment`."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    kind: str
    scale_2: tuple[float, float]
    offset_2: tuple[float, float]


def photograph(name: str) -> NDArray[np.uint8]:
    from importlib.resources import files

    folder = files(photographs.__package__ or "skimage.data")
    path = next(folder / f"{name}.{suffix}" for suffix in ("png", "jpg") if (folder / f"{name}.{suffix}").is_file())
    image = decode(path.read_bytes())
    scale = min(1.0, 900 / max(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def edited(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a copy with an ellipse of another color and light over 5 to 20 per cent of it."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    middle = int(random.uniform(0.25, 0.75) * width), int(random.uniform(0.25, 0.75) * height)
    axes = int(random.uniform(0.12, 0.25) * width), int(random.uniform(0.12, 0.25) * height)
    cv2.ellipse(mask, middle, axes, random.uniform(0, 90), 0, 360, 1, -1)
    color = random.uniform(0, 255, 3)
    mixed = np.where(mask[..., None] > 0, 0.3 * image + 0.7 * color, image)
    return np.rint(mixed).astype(np.uint8)


def pairs(count: int, seed: int = 0) -> Iterator[Pair]:
    """Yields `count` pairs, kinds in turn, photographs in turn."""
    images = {name: photograph(name) for name in NAMES}
    for number in range(count):
        random = generator("alignment", seed, number)
        kind, name = KINDS[number % len(KINDS)], NAMES[number % len(NAMES)]
        image = images[name]
        height, width = image.shape[:2]
        # another cut-out of the photograph each time, so that no pair is seen twice
        top, left = (int(random.uniform(0, 0.15) * side) for side in (height, width))
        image = np.ascontiguousarray(image[top : top + int(0.85 * height), left : left + int(0.85 * width)])
        height, width = image.shape[:2]
        after = edited(image, random)
        scale_2, offset_2 = (1.0, 1.0), (0.0, 0.0)
        if kind == "resize":
            zoom = random.uniform(0.5, 0.92) if number % 2 else random.uniform(1.08, 1.6)
            size = round(width * zoom), round(height * zoom)
            scale_2 = size[0] / width, size[1] / height
        elif kind == "stretch":
            zooms = np.array([1.0, 1.0])
            zooms[int(random.integers(2))] = random.uniform(0.75, 0.97) if number % 2 else random.uniform(1.03, 1.3)
            size = round(width * zooms[0]), round(height * zooms[1])
            scale_2 = size[0] / width, size[1] / height
        elif kind == "crop":
            share = random.uniform(0.65, 0.97)
            box_w, box_h = int(width * share), int(height * share)
            x, y = int(random.integers(0, width - box_w + 1)), int(random.integers(0, height - box_h + 1))
            after = after[y : y + box_h, x : x + box_w]
            zoom = random.uniform(0.7, 1.3)
            size = round(box_w * zoom), round(box_h * zoom)
            scale_2 = size[0] / box_w, size[1] / box_h
            offset_2 = -x * scale_2[0], -y * scale_2[1]
        elif kind == "different":
            other = image[:, ::-1] if number % 2 else images[NAMES[(number + 5) % len(NAMES)]]
            after = cv2.resize(np.ascontiguousarray(other), (width, height), interpolation=cv2.INTER_AREA)
        if kind in ("resize", "stretch", "crop"):
            shrinks = size[0] * size[1] < after.shape[0] * after.shape[1]
            after = cv2.resize(after, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        after = decode(encode(np.ascontiguousarray(after), "jpeg", int(random.integers(75, 96))))
        yield Pair(image, after, kind, (float(scale_2[0]), float(scale_2[1])), offset_2)


def errors(pair: Pair, found: Alignment) -> tuple[float, float]:
    """Returns the largest error of a scale, in per cent, and of an offset, in pixels."""
    scales = zip((found.scale_x, found.scale_y), pair.scale_2)
    offsets = zip((found.offset_x, found.offset_y), pair.offset_2)
    return max(100 * abs(a / b - 1) for a, b in scales), max(abs(a - b) for a, b in offsets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    confusion: Counter[tuple[str, str]] = Counter()
    scale_errors, offset_errors, seconds = [], [], 0.0
    for number, pair in enumerate(pairs(arguments.pairs, arguments.seed)):
        start = time.perf_counter()
        found = measure_alignment(pair.first, pair.second)
        seconds += time.perf_counter() - start
        confusion[pair.kind, str(found.kind)] += 1
        if str(found.kind) != pair.kind:
            print(
                f"{number} {NAMES[number % len(NAMES)]}: {pair.kind} taken for {found}; {pair.scale_2} {pair.offset_2}"
            )
        elif found.kind is not AlignmentKind.DIFFERENT:
            of_scale, of_offset = errors(pair, found)
            scale_errors.append(of_scale)
            offset_errors.append(of_offset)
    right = sum(count for (truth, found), count in confusion.items() if truth == found)
    print(f"{right} of {arguments.pairs} classified right; {1000 * seconds / arguments.pairs:.0f} ms a pair")
    print(f"scale: median error {np.median(scale_errors):.4f} %, largest {max(scale_errors):.4f} %")
    print(f"offset: median error {np.median(offset_errors):.3f} px, largest {max(offset_errors):.3f} px")


if __name__ == "__main__":
    main()

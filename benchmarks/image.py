"""One core's work on a crawled photograph: the usual OpenCV path against this crawl's, and imagehash against `phash`.

    python benchmarks/image.py [FOLDER] [--side 512] [--photographs 12] [--repeats 5]

store: JPEG in, JPEG of quality 95 out, longest side 512. The OpenCV path is imdecode, resize by INTER_AREA, imencode;
ours also checks the header and makes the sha256 and the perceptual hash. Both must give the same size, and pictures
at least 35 dB alike in the median. phash: of stored pictures and of 1 MP ones; both must give the same bits.
The photographs are those of scikit-image, tiled and scaled to 0.3, 1, 3 and 12 megapixels, JPEG quality 90; or the
JPEGs in FOLDER. Repeats are interleaved, and the processor's time of this process is what counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image
from skimage import data

from x2i.crawl.process import StoragePolicy, make_image
from x2i.image import decode, encode, phash, sha256

MEGAPIXELS = (0.3, 1.0, 3.0, 12.0)
SHAPES = ((4, 3), (3, 2), (16, 9), (2, 3))
LEAST_DECIBELS = 35.0


def make_photographs(megapixels: float, count: int) -> list[bytes]:
    """JPEGs of `megapixels`: mirrored copies of a photograph, laid side by side until scaling blurs it no further."""
    originals = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    files = []
    for number in range(count):
        across, down = SHAPES[number % len(SHAPES)]
        width = round((megapixels * 1e6 * across / down) ** 0.5)
        height = round(megapixels * 1e6 / width)
        photograph = originals[number % len(originals)]
        while photograph.shape[0] < height / 4 or photograph.shape[1] < width / 4:
            photograph = np.concatenate([photograph, photograph[:, ::-1]], 1)
            photograph = np.concatenate([photograph, photograph[::-1]], 0)
        scaled = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_CUBIC)
        files.append(encode(scaled, "jpeg", 90))
    return files


def store_with_cv2(file: bytes, side: int) -> bytes:
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    scale = side / max(image.shape[:2])
    if scale < 1:
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def store_with_x2i(file: bytes, side: int) -> bytes:
    sha256(file)
    return make_image(file, StoragePolicy(max_side=side)).data


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio of two pictures; raises AssertionError if their sizes differ."""
    assert a.shape == b.shape, f"{a.shape[1]}x{a.shape[0]} against {b.shape[1]}x{b.shape[0]}"
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a.astype(np.float32) - b).mean())))


def rates(contenders: dict[str, Callable[[Any], object]], items: Sequence[Any], repeats: int) -> dict[str, float]:
    """Items per second of processor time for each contender, the median of `repeats` interleaved runs."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for function in contenders.values():
        function(items[0])
    for _ in range(repeats):
        for name, function in contenders.items():
            started = time.process_time()
            for item in items:
                function(item)
            seconds[name].append(time.process_time() - started)
    return {name: len(items) / statistics.median(times) for name, times in seconds.items()}


def report(what: str, found: dict[str, float], **remarks: float) -> str:
    """Prints one line per contender and returns the line of their ratio."""
    for name, rate in found.items():
        print(json.dumps({"what": what, "contender": name, "images_per_s": round(rate, 1)}), flush=True)
    theirs, ours = found.values()
    return json.dumps({"what": what, "ratio": round(ours / theirs, 2), **remarks})


def bench_storing(what: str, files: list[bytes], side: int, repeats: int) -> str:
    quality = [decibels(decode(store_with_cv2(file, side)), decode(store_with_x2i(file, side))) for file in files]
    assert statistics.median(quality) >= LEAST_DECIBELS, f"{what}: the contenders' pictures differ: {min(quality)} dB"
    contenders: dict[str, Callable[[bytes], object]] = {
        "cv2": lambda file: store_with_cv2(file, side),
        "x2i": lambda file: store_with_x2i(file, side),
    }
    remarks = {"median_decibels": round(statistics.median(quality), 1), "least_decibels": round(min(quality), 1)}
    return report(what, rates(contenders, files, repeats), **remarks)


def bench_hashing(what: str, images: list[np.ndarray], repeats: int) -> str:
    pictures = [(pixels, Image.fromarray(pixels)) for pixels in images]
    for pixels, picture in pictures:
        assert f"{phash(pixels):016x}" == str(imagehash.phash(picture)), "the contenders' hashes differ"
    contenders: dict[str, Callable[[tuple[np.ndarray, Image.Image]], object]] = {
        "imagehash": lambda both: imagehash.phash(both[1]),
        "x2i": lambda both: phash(both[0]),
    }
    return report(what, rates(contenders, pictures, repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="JPEG files to use instead of scikit-image's.")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--photographs", type=int, default=12, help="How many of each size, or of the folder.")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.folder:
        names = sorted(options.folder.glob("*.jpg"))[: options.photographs]
        sets = {f"store {options.folder.name}": [name.read_bytes() for name in names]}
    else:
        sets = {f"store {size} MP": make_photographs(size, options.photographs) for size in MEGAPIXELS}
    ratios = [bench_storing(what, files, options.side, options.repeats) for what, files in sets.items()]
    for what, size in (("phash of stored", options.side), ("phash of 1 MP", 1200)):
        images = [decode(store_with_cv2(file, size)) for file in list(sets.values())[-1]]
        ratios.append(bench_hashing(what, images, options.repeats))
    print("\n".join(ratios))


if __name__ == "__main__":
    main()

"""Reading and writing training shards: this store against webdataset, on the same shard in one run.

    python benchmarks/store.py [--samples 2000] [--side 256] [--repeats 9]

read: every sample's encoded images in a random order of the whole shard, by the trainer's catalog and reader, against
webdataset's stream through its shuffle buffer; both must give the same bytes. Task and instruction come with them: from
the index here, in the JSON there. write: samples with their index against
bare `webdataset.TarWriter`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from webdataset import TarWriter, WebDataset

from omnigen.data.shards.catalog import Catalog
from x2i.image import encode
from x2i.sample import Lineage, RecipeStamp, Sample
from x2i.store.files.ranges import RangeReader
from x2i.store.shards import EncodedImage, shard_name, training_shard

Take = Callable[[str, list[bytes]], None]
NAME = shard_name("deblur", 1, 0)


def make_samples(count: int, side: int) -> list[tuple[Sample, EncodedImage, EncodedImage]]:
    """Pairs of square crops, as JPEG, of a real photograph scaled to twice `side`."""
    photograph = np.asarray(Image.fromarray(data.astronaut()).resize((2 * side, 2 * side), Image.Resampling.LANCZOS))
    samples = []
    for number in range(count):
        source, target = (crop(photograph, shift, side) for shift in (2 * number, 2 * number + 1))
        sample = Sample(
            f"deblur-{number:06d}",
            "deblur",
            "Sharpen <img><|image_1|></img>.",
            ((side, side), (side, side)),
            Lineage(("u",), ("",), ("",)),
            RecipeStamp("deblur", 1),
        )
        samples.append((sample, source, target))
    return samples


def crop(photograph: np.ndarray, number: int, side: int) -> EncodedImage:
    top, left = (number * 37) % side, (number * 101) % side
    pixels = np.ascontiguousarray(photograph[top : top + side, left : left + side])
    return EncodedImage(encode(pixels, "jpeg", 90), "jpeg")


def write_ours(root: Path, samples: list[tuple[Sample, EncodedImage, EncodedImage]]) -> None:
    with training_shard(root, NAME) as shard:
        for sample, source, target in samples:
            shard.add(sample, [source], target)


def write_webdataset(root: Path, samples: list[tuple[Sample, EncodedImage, EncodedImage]]) -> None:
    with open(root / "webdataset.tar", "wb") as stream, TarWriter(stream, encoder=False, mtime=0) as writer:
        for sample, source, target in samples:
            writer.write(
                {
                    "__key__": sample.key,
                    "json": sample.to_json().encode(),
                    "input_1.jpg": source.data,
                    "output.jpg": target.data,
                }
            )


def read_ours(catalog: Catalog, reader: RangeReader, seed: int, take: Take) -> None:
    for number in np.random.default_rng(seed).permutation(len(catalog)).tolist():
        row = catalog.sample_ref(number)
        take(row.key, reader.read_all(row.tar, [place[:2] for place in row.images]))


def read_webdataset(root: Path, seed: int, take: Take) -> None:
    stream = WebDataset(str(root / "shards" / f"{NAME}.tar"), shardshuffle=False, seed=seed).shuffle(1000)
    for sample in stream:
        take(sample["__key__"], [sample["input_1.jpg"], sample["output.jpg"]])


def digests(read: Callable[[Take], None]) -> dict[str, str]:
    """Returns what a reader gave: for every key, a digest of all bytes."""
    found: dict[str, str] = {}
    read(lambda key, parts: found.update({key: hashlib.blake2b(b"".join(parts)).hexdigest()}))
    return found


def count_bytes(read: Callable[[Take], None]) -> int:
    total = 0

    def take(key: str, parts: list[bytes]) -> None:
        nonlocal total
        total += sum(map(len, parts))

    read(take)
    return total


def rates(ours: Callable[[], object], theirs: Callable[[], object], count: int, repeats: int) -> tuple[float, float]:
    """Returns both contenders' samples per second, the medians of `repeats` runs made in turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for taken, function in zip(seconds, (ours, theirs)):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    return count / statistics.median(seconds[0]), count / statistics.median(seconds[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256, help="Of every image, in pixels.")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    samples = make_samples(options.samples, options.side)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written = rates(
            lambda: write_ours(root, samples), lambda: write_webdataset(root, samples), len(samples), options.repeats
        )
        catalog = Catalog.open([root])
        with catalog.reader() as reader:
            ours, theirs = partial(read_ours, catalog, reader, 1), partial(read_webdataset, root, 1)
            assert digests(ours) == digests(theirs), "the contenders read different samples"
            read = rates(lambda: count_bytes(ours), lambda: count_bytes(theirs), len(samples), options.repeats)
    kilobytes = sum(len(source.data) + len(target.data) for _, source, target in samples) / len(samples) / 1000
    print(json.dumps({"samples": len(samples), "side": options.side, "kilobytes_per_sample": round(kilobytes, 1)}))
    for what, (rate, their_rate) in {"write": written, "read, random order": read}.items():
        print(json.dumps({"what": what, "contender": "x2i", "samples_per_s": round(rate)}))
        print(json.dumps({"what": what, "contender": "webdataset", "samples_per_s": round(their_rate)}))
        print(json.dumps({"what": what, "ratio": round(rate / their_rate, 2)}))


if __name__ == "__main__":
    main()

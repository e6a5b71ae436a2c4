"""Reading and writing training shards: this store against webdataset, on the same shard in one run.

    python benchmarks/store.py [--samples 2000] [--repeats 3]

read: every sample's encoded bytes in a fresh random order, by offset, against webdataset's stream through its shuffle
buffer. write: samples with their index against bare `webdataset.TarWriter`. Both readers must return the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage import data
from webdataset import TarWriter, WebDataset

from x2i.image import encode
from x2i.sample import Lineage, RecipeStamp, Sample
from x2i.store.shards import EncodedImage, Shard, shard_name, training_shard

NAME = shard_name("deblur", 1, 0)


def make_samples(count: int) -> list[tuple[Sample, EncodedImage, EncodedImage]]:
    """Pairs of 256 px crops of a real photograph as JPEG: about 25 kB a sample."""
    photograph = data.astronaut()
    samples = []
    for number in range(count):
        top, left = (number * 37) % 256, (number * 101) % 256
        crop = np.ascontiguousarray(photograph[top : top + 256, left : left + 256])
        image = EncodedImage(encode(crop, "jpeg", 90), "jpeg")
        sample = Sample(
            f"deblur-{number:06d}",
            "deblur",
            "Sharpen <img><|image_1|></img>.",
            ((256, 256), (256, 256)),
            Lineage(("u",), ("",), ("",)),
            RecipeStamp("deblur", 1),
        )
        samples.append((sample, image, image))
    return samples


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


def read_ours(root: Path, seed: int) -> dict[str, str]:
    shard = Shard(root / "shards" / f"{NAME}.tar")
    rows = shard.index().to_pylist()
    digests = {}
    for position in np.random.default_rng(seed).permutation(len(rows)):
        row = rows[position]
        digests[row["key"]] = _digest(shard.image_data(row))
    return digests


def read_webdataset(root: Path, seed: int) -> dict[str, str]:
    stream = WebDataset(str(root / "shards" / f"{NAME}.tar"), shardshuffle=False, seed=seed).shuffle(1000)
    return {sample["__key__"]: _digest([sample["input_1.jpg"], sample["output.jpg"]]) for sample in stream}


def _digest(parts: list[bytes]) -> str:
    return hashlib.blake2b(b"".join(part[:64] + part[-64:] for part in parts)).hexdigest()


def rate(function: Callable[[], object], count: int, repeats: int) -> float:
    """Samples per second, the median of `repeats` runs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return count / statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    samples = make_samples(options.samples)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rates = {
            "write": (
                rate(lambda: write_ours(root, samples), len(samples), options.repeats),
                rate(lambda: write_webdataset(root, samples), len(samples), options.repeats),
            )
        }
        assert read_ours(root, 0) == read_webdataset(root, 0), "the contenders read different samples"
        rates["read, random order"] = (
            rate(lambda: read_ours(root, 1), len(samples), options.repeats),
            rate(lambda: read_webdataset(root, 1), len(samples), options.repeats),
        )
    for what, (ours, theirs) in rates.items():
        print(json.dumps({"what": what, "contender": "x2i", "samples_per_s": round(ours)}))
        print(json.dumps({"what": what, "contender": "webdataset", "samples_per_s": round(theirs)}))
        print(json.dumps({"what": what, "ratio": round(ours / theirs, 2)}))


if __name__ == "__main__":
    main()

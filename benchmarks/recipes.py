"""How fast recipes make samples: each recipe's milliseconds for a sample at 512 pixels, and samples a second of all.

    python benchmarks/recipes.py [--side 512] [--samples 6] [--recipe NAME ...] [--slowest 10]

A sample is made from decoded photographs of scikit-image, put into words, and encoded as shards hold it; decoding the
photographs is not counted. Recipes that read what a model found (columns with images, relations) take part with their
examples. One thread; the processor's time of this process is what counts, so that other work on the machine
disturbs little. `samples_per_second` is for an equal number of samples of every recipe on two cores. One JSON line a
recipe, slowest first, then one of all.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import files

import cv2
import numpy as np

from x2i.image import ResizeMode, decode, encode, resize
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.base import Rendered
from x2i.seeding import generator

PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
CORES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--slowest", type=int, help="Print so many recipes only.")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    photographs = [photograph(name, arguments.side) for name in PHOTOGRAPHS]
    found = {name: seconds(name, photographs, arguments.samples) for name in arguments.recipe or RECIPES}
    whole = sum(sum(parts) for parts in found.values())
    ranked = sorted(found, key=lambda name: -sum(found[name]))
    for name in ranked[: arguments.slowest]:
        made, encoded = found[name]
        milliseconds = {"make_ms": round(1000 * made, 2), "encode_ms": round(1000 * encoded, 2)}
        print(json.dumps({"recipe": name, **milliseconds, "share": round((made + encoded) / whole, 4)}))
    rate = CORES * len(found) / whole
    print(json.dumps({"recipes": len(found), "side": arguments.side, "samples_per_second": round(rate, 1)}))


def photograph(name: str, side: int) -> np.ndarray:
    image = resize(decode((files("skimage") / "data" / name).read_bytes()), ResizeMode.LONGEST, side)
    image.setflags(write=False)
    return image


def seconds(name: str, photographs: list[np.ndarray], samples: int) -> tuple[float, float]:
    """Returns the seconds that making and encoding one sample takes, on average; what is dropped counts as made."""
    recipe = make_recipe(name)
    making = encoding = 0.0
    for number in range(-1, samples):
        first = photographs[number % len(photographs)]
        example = recipe.example([first, photographs[(number + 1) % len(photographs)]])
        random = generator(name, number)
        start = time.process_time()
        sample = recipe.make(example.sources, example.metadata, random)
        if isinstance(sample, Rendered):
            recipe.instruction(f"{name}-{number}", sample)
        between = time.process_time()
        if isinstance(sample, Rendered):
            named = {f"input_{k}": image for k, image in enumerate(sample.inputs, start=1)} | {"output": sample.output}
            for slot, image in named.items():
                encode(image, "png" if slot in recipe.lossless else "jpeg", 95)
        if number >= 0:  # the first warms up: imports, tables, pools of phrasings
            making, encoding = making + between - start, encoding + time.process_time() - between
    return making / samples, encoding / samples


if __name__ == "__main__":
    main()

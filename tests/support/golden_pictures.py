"""Golden pictures: what each recipe makes of one photograph, in 16 x 16 pixels an image, kept to see when it changes.

`python -m tests.support.golden_pictures [RECIPE ...]` writes them anew: of all recipes, or of those named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.support.recipe_checks import made
from x2i.image import decode, encode
from x2i.recipes import RECIPES

FOLDER = Path(__file__).parents[1] / "x2i" / "recipes" / "golden"
SIDE = 16
MEAN_TOLERANCE, LARGEST_TOLERANCE = 3.0, 40
"""Levels of 255: codecs and resizing differ a little from release to release."""


def golden_file(name: str) -> Path:
    return FOLDER / f"{name}.png"


def picture_of(name: str) -> np.ndarray:
    """Returns the inputs and the output of the recipe's example beside each other, uint8 RGB (32, 16 * images, 3).

    Above, the mean of each of 16 x 16 cells; below, twice the standard deviation in it, which shows noise and blur.
    """
    sample = made(RECIPES.get(name), "golden")
    columns = []
    for image in (*sample.inputs, sample.output):
        values = image.astype(np.float32)
        mean = cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        square = cv2.resize(values**2, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        spread = 2 * np.sqrt(np.maximum(square - mean**2, 0))
        columns.append(np.vstack([mean, spread]))
    return np.clip(np.rint(np.hstack(columns)), 0, 255).astype(np.uint8)


def difference(name: str) -> tuple[float, int]:
    """Returns mean and largest difference of the recipe's picture and the one that is kept, in levels."""
    now, kept = picture_of(name).astype(np.int16), decode(golden_file(name).read_bytes()).astype(np.int16)
    if now.shape != kept.shape:
        return 255.0, 255
    return float(np.abs(now - kept).mean()), int(np.abs(now - kept).max())


def write(names: Sequence[str]) -> None:
    """Writes the pictures of these recipes, of all if none are named; deletes those of recipes that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or RECIPES:
        golden_file(name).write_bytes(encode(picture_of(name), "png"))
    for path in FOLDER.glob("*.png"):
        if path.stem not in RECIPES:
            path.unlink()


if __name__ == "__main__":
    write(sys.argv[1:])

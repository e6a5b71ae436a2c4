"""Small square parts of the demo's photographs: many of those that are trained on, some of those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipelines.demo.photographs import PHOTOGRAPHS, Photograph
from pipelines.exam.asking import Pixels
from x2i.image import encode
from x2i.seeding import generator

HELD_OUT = ("chelsea.png", "coffee.png", "camera.png", "brick.png")
"""Photographs of which no part is trained on: two in color, two gray."""
PARTS = 80
"""Of each photograph that is trained on."""


def write_training_parts(folder: Path, size: int, parts: int = PARTS) -> int:
    """Writes parts of the photographs that are trained on as PNG of `size` pixels; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for photograph in PHOTOGRAPHS:
        if photograph.file in HELD_OUT:
            continue
        for number, pixels in enumerate(parts_of(photograph, size, parts)):
            (folder / f"{photograph.stem}-{number:03d}.png").write_bytes(encode(pixels, "png"))
            count += 1
    return count


def held_out_parts(size: int, parts: int) -> list[Pixels]:
    """Returns `parts` parts of each photograph that is held out, uint8 RGB (size, size, 3)."""
    held_out = [photograph for photograph in PHOTOGRAPHS if photograph.file in HELD_OUT]
    return [pixels for photograph in held_out for pixels in parts_of(photograph, size, parts)]


def parts_of(photograph: Photograph, size: int, count: int) -> Iterator[Pixels]:
    """Yields squares of a photograph, from a third of its shorter side to all of it, every other one mirrored."""
    with Image.open(photograph.path) as opened:
        image = np.asarray(opened.convert("RGB"))
    random = generator("part", photograph.file, size)
    for number in range(count):
        side = round(min(image.shape[:2]) * np.exp(random.uniform(np.log(1 / 3), 0)))
        top, left = (int(random.integers(0, room - side + 1)) for room in image.shape[:2])
        part = cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
        yield np.ascontiguousarray(part[:, ::-1] if number % 2 else part)

"""Training shards made from the photographs that come with scikit-image, through the store's own writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage import data as photographs

from x2i.image import encode
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.seeding import generator
from x2i.store.shards import EncodedImage, shard_name, training_shard

Pixels = np.ndarray
NAMES = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "moon", "grass")
IMG = placeholder(1)


def photograph(name: str, width: int, height: int) -> Pixels:
    """Returns the center of a bundled photograph at the given size, uint8 RGB."""
    image = getattr(photographs, name)()
    image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image[..., :3]
    scale = max(width / image.shape[1], height / image.shape[0])
    size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def lines(image: Pixels) -> Pixels:
    return np.repeat(cv2.Canny(image, 80, 160)[..., None], 3, 2)


def gray(image: Pixels) -> Pixels:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


def noisy(image: Pixels) -> Pixels:
    noise = generator("test noise", int(image.sum())).normal(0, 25, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def holed(image: Pixels) -> Pixels:
    image = image.copy()
    height, width = image.shape[:2]
    image[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 128
    return image


def blurred(image: Pixels) -> Pixels:
    return cv2.GaussianBlur(image, (0, 0), image.shape[0] / 40)


RECIPES: dict[str, tuple[str, Callable[[str, Pixels], tuple[list[Pixels], Pixels]]]] = {
    "text_to_image": ("A photograph of {name}.", lambda name, image: ([], image)),
    "canny_to_image": (f"From the lines {IMG} draw: {{name}}.", lambda name, image: ([lines(image)], image)),
    "image_to_canny": (f"Find the edges of {IMG}.", lambda name, image: ([image], lines(image))),
    "colorize": (f"Give color to {IMG}.", lambda name, image: ([gray(image)], image)),
    "denoise": (f"Remove the noise from {IMG}.", lambda name, image: ([noisy(image)], image)),
    "inpaint": (f"Fill the hole in {IMG}.", lambda name, image: ([holed(image)], image)),
    "deblur": (f"Sharpen {IMG}.", lambda name, image: ([blurred(image)], image)),
    "few_shot": (
        f"Input: {IMG} Output: {placeholder(2)} Input: {placeholder(3)} Output:",
        lambda name, image: ([gray(image[:, ::-1]), image[:, ::-1], gray(image)], image),
    ),
}


def make_sample(
    task: str, name: str, size: tuple[int, int], uid: str | None = None
) -> tuple[Sample, list[EncodedImage], EncodedImage]:
    """Returns one sample of `task` from the photograph `name` at (width, height), PNG, ready for a shard writer."""
    text, make = RECIPES[task]
    inputs, output = make(name, photograph(name, *size))
    sizes = tuple((image.shape[1], image.shape[0]) for image in [*inputs, output])
    source = Lineage((uid or name,), (f"https://photos.test/{name}",), ("CC0-1.0",))
    key = f"{task}-{name}-{size[0]}x{size[1]}"
    sample = Sample(key, task, text.format(name=name), sizes, source, RecipeStamp(task, 1, {}), mirrorable=True)
    encoded = [EncodedImage(encode(np.ascontiguousarray(image), "png"), "png") for image in [*inputs, output]]
    return sample, encoded[:-1], encoded[-1]


def make_shards(
    root: Path,
    tasks: Sequence[str] = tuple(RECIPES),
    names: Sequence[str] = NAMES,
    sizes: Sequence[tuple[int, int]] = ((64, 64),),
) -> Path:
    """Writes one shard for each task, of every photograph at every size; returns `root`."""
    for task in tasks:
        made = [make_sample(task, name, size) for name in names for size in sizes]
        with training_shard(root, shard_name(task, made[0][0].num_inputs, 0)) as writer:
            for sample, inputs, output in made:
                writer.add(sample, inputs, output)
    return root

"""Class pictures for prior preservation: a fine-tune's own network draws them before it is changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from x2i.errors import UserError
from x2i.seeding import stable_hash

if TYPE_CHECKING:
    from omnigen.generate.options import GenerationOptions

TASK = "text_to_image"


def class_folder(run: Path, prompt: str, count: int) -> Path:
    """Returns where a run keeps `count` pictures of `prompt`."""
    return run / f"class-{stable_hash('class pictures', prompt, count):016x}"


def draw_class_pictures(
    model: Path,
    prompt: str,
    count: int,
    folder: Path,
    options: GenerationOptions,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Draws `count` pictures of `prompt` with the network in `model`, and makes a training shard of them in `folder`.

    A picture that is there is not drawn again, nor is anything once the shard is complete. options: of each picture,
    which gets the seed of its number. advance: told (pictures done, of how many). Raises UserError on several ranks,
    which would draw the same.
    """
    from x2i.sample import Lineage, RecipeStamp, Sample
    from x2i.store.paths import shard_index
    from x2i.store.shards import EncodedImage, shard_name, training_shard

    name = shard_name(TASK, 0, 0)
    if shard_index(folder, name).is_file():
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"--class-prompt: {folder} holds no pictures yet; draw them by starting the run on one process")
    sizes = _draw(model, prompt, count, folder, options, advance)
    with training_shard(folder, name) as writer:
        for number, size in enumerate(sizes):
            key = f"class-{number:05d}"
            lineage = Lineage((key,), (f"drawn:{model.name}",), ("",))
            sample = Sample(key, TASK, prompt, (size,), lineage, RecipeStamp(TASK, 1, {}), mirrorable=False)
            writer.add(sample, [], EncodedImage(_picture(folder, number).read_bytes(), "png"))


def _draw(
    model: Path,
    prompt: str,
    count: int,
    folder: Path,
    options: GenerationOptions,
    advance: Callable[[int, int], None],
) -> list[tuple[int, int]]:
    """Draws what is missing; returns the (width, height) of each picture."""
    from dataclasses import replace

    import numpy as np

    from omnigen.generate.input_images import read_image_file
    from omnigen.generate.pipeline import OmniGenPipeline
    from x2i.image.encode import encode
    from x2i.store.files.atomic import write_bytes

    pipeline, sizes = None, []
    for number in range(count):
        path = _picture(folder, number)
        if path.is_file():
            pixels = read_image_file(path)
        else:
            pipeline = pipeline or OmniGenPipeline.from_pretrained(model)
            (drawn,) = pipeline.draw(prompt, (), replace(options, seed=number))
            pixels = np.asarray(drawn)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, encode(pixels, "png"))
        sizes.append((pixels.shape[1], pixels.shape[0]))
        advance(1, count)
    return sizes


def _picture(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:05d}.png"

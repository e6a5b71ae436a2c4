"""What a PNG file keeps of how it was generated, from which the same image can be generated again."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import omnigen
from omnigen.generate.options import GenerationOptions
from x2i.errors import UserError
from x2i.settings import from_mapping

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEY = "omnigen"
"""Of the text chunk (iTXt) that holds the record as JSON."""


@dataclass(frozen=True)
class GenerationRecord:
    """Everything that decides an image's pixels.

    model: its folder; weights: the fingerprint of its weights, adapters added. adapters: folder and scale of each.
    images: path and sha256 of each input file. seeds: of all images that were computed together, since sums over other
    numbers of images may round otherwise; index: which of them this is. threads: of the CPU.
    """

    model: str
    weights: str
    prompt: str
    options: GenerationOptions
    seeds: tuple[int, ...]
    index: int
    device: str
    precision: str
    threads: int
    adapters: tuple[tuple[str, float], ...] = ()
    any_base: bool = False
    images: tuple[tuple[str, str], ...] = ()
    omnigen: str = field(default=omnigen.__version__)


def encode_png(rgb_HWC: NDArray[np.uint8], record: GenerationRecord) -> bytes:
    """Returns a PNG file of a uint8 RGB image that holds `record`."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(KEY, json.dumps(asdict(record), ensure_ascii=False))
    stream = io.BytesIO()
    Image.fromarray(rgb_HWC).save(stream, "png", pnginfo=info)
    return stream.getvalue()


def read_record(path: Path) -> GenerationRecord:
    """Returns the record in a PNG file. Raises UserError if the file has none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            text = image.info.get(KEY)
    except OSError as error:
        raise UserError(f"--from {path}: {error.strerror or 'not a readable image'}") from error
    if text is None:
        raise UserError(
            f"--from {path}: does not say how it was generated; only the .png files of omnigen generate do, and "
            f"programs that save them again may leave it out"
        )
    try:
        document: dict[str, Any] = json.loads(text)
        document["options"] = from_mapping(GenerationOptions, document["options"], f"--from {path}")
        for name in ("adapters", "images"):
            document[name] = tuple(tuple(pair) for pair in document[name])
        return GenerationRecord(**{**document, "seeds": tuple(document["seeds"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--from {path}: its record is not one of this version of omnigen: {error}") from error


def digest(path: Path) -> str:
    """Returns the sha256 of a file. Raises UserError if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"--image {path}: {error.strerror or error}") from error

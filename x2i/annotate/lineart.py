"""lineart: a line drawing of every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from x2i.annotate.edges import Edges
from x2i.options import Option


@dataclass(frozen=True)
class Lineart(Edges):
    """Draw every image as strokes: thick where it is dark, none in flat places.

    edges: 8-bit gray PNG of the image's size, white on black. density: share of the pixels that are brighter than half.
    """

    name: ClassVar[str] = "lineart"
    title: ClassVar[str] = "Line drawings"

    model: Annotated[
        str, Option("classic:xdog: strokes without weights; pidinet:FILE, hed:FILE, onnx:FILE: by a network.")
    ] = "classic:xdog"

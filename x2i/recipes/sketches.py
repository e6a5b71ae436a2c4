"""The sketches family: drawings and lines computed from a photograph, in and out: XDoG, scribble, soft edges, lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Source
from x2i.recipes.conditions import Condition, Drawn, ImageToMap, MapToImage

MOST_SEGMENTS = 200


@dataclass(frozen=True)
class Sketch(Condition):
    """A drawing, white on black, that covers a share of the picture within bounds."""

    family = "sketches"

    density: Annotated[
        tuple[float, float], Option("Share of pixels that are not black; others are dropped.", ge=0, le=1)
    ] = (0.003, 0.6)

    def checked(self, drawing_HW: NDArray[np.uint8], **parameters: object) -> Drawn | Dropped:
        """Returns the drawing in three channels, unless it has too much or too little in it."""
        density = float(np.mean(drawing_HW > 0))
        if not self.density[0] <= density <= self.density[1]:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the drawing covers {density:.2%} of the picture")
        return Drawn(np.repeat(drawing_HW[..., None], 3, 2), parameters, {"density": round(density, 5)})


@dataclass(frozen=True)
class Xdog(Sketch):
    """Difference of Gaussians of deviations .5 and 5, cut: 2 (255 - DoG) > threshold, as in public annotators.

    Their threshold is 32; it is drawn around that, so that a model sees drawings of more and of less detail.
    """

    noun = "line sketch"

    threshold: Annotated[tuple[float, float], Option("Threshold in gray levels.", ge=1, le=255)] = (24.0, 48.0)

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        threshold = round(float(random.uniform(*self.threshold)), 3)
        narrow, wide = (cv2.GaussianBlur(source.pixels, (0, 0), sigma) for sigma in (0.5, 5.0))
        darker = cv2.subtract(wide, narrow)  # where a line is darker than what is around it
        red, green, blue = cv2.split(darker)
        drawing = (2.0 * cv2.min(cv2.min(red, green), blue) > threshold).astype(np.uint8) * 255
        return self.checked(drawing, detector="xdog", threshold=threshold)


@dataclass(frozen=True)
class Scribble(Sketch):
    """Coarse outlines, thick and a little off, as drawn by hand; widths up to 24 px at 512 as in ControlNet 1.1."""

    noun = "scribble"

    width: Annotated[tuple[float, float], Option("Width of the lines in pixels at a shorter side of 512.", ge=1)] = (
        3.0,
        12.0,
    )
    shake: Annotated[float, Option("How far lines stray, in such pixels.", ge=0)] = 4.0

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        height, width = source.pixels.shape[:2]
        scale = min(height, width) / 512
        thickness = round(float(np.exp(random.uniform(*np.log(self.width)))), 3)
        gray = cv2.GaussianBlur(cv2.cvtColor(source.pixels, cv2.COLOR_RGB2GRAY), (0, 0), max(1.0, 3 * scale))
        middle = float(np.clip(np.median(gray), 48, 160))
        edges = cv2.Canny(gray, 0.25 * middle, 0.6 * middle, L2gradient=True)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8)
        long = stats[:, cv2.CC_STAT_AREA] >= 0.08 * min(height, width)
        long[0] = False
        kept = long[labels].astype(np.uint8) * 255
        grid = (max(2, width // 48), max(2, height // 48))
        field = random.normal(0, self.shake * scale, (2, grid[1], grid[0])).astype(np.float32)
        x, y = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in field)
        x += np.arange(width, dtype=np.float32)
        y += np.arange(height, dtype=np.float32)[:, None]
        size = max(1, round(thickness * scale))
        thick = cv2.dilate(kept, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        moved = cv2.remap(thick, x, y, cv2.INTER_LINEAR)
        drawing = (cv2.GaussianBlur(moved, (0, 0), max(0.6, scale)) > 100).astype(np.uint8) * 255
        return self.checked(drawing, detector="scribble", width=thickness)


@dataclass(frozen=True)
class SoftEdges(Sketch):
    """Gradients at three scales, in steps: few gray levels, so that no shading of the photograph leaks through."""

    noun = "soft edge map"

    steps: Annotated[int, Option("Gray levels beside black ('safe' in ControlNet 1.1: 2).", ge=1, le=255)] = 2
    density: Annotated[
        tuple[float, float], Option("Share of pixels that are not black; others are dropped.", ge=0, le=1)
    ] = (0.01, 0.8)

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        gray = cv2.cvtColor(source.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
        gain = round(float(random.uniform(0.8, 1.25)), 3)
        total = np.zeros(gray.shape, np.float32)
        for sigma in (1.0, 2.0, 4.0):
            smooth = cv2.GaussianBlur(gray, (0, 0), sigma)
            slope = cv2.magnitude(cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1))
            total += slope * np.float32(sigma)
        strength = total * np.float32(gain / max(float(np.quantile(total[::3, ::3], 0.96)), 40.0))
        level = np.minimum((strength * (self.steps + 1)).astype(np.int32), self.steps)
        drawing = (level * (255 // self.steps)).astype(np.uint8)
        return self.checked(drawing, detector="gradient", steps=self.steps, gain=gain)


@dataclass(frozen=True)
class LineSegments(Sketch):
    """Straight line segments (LSD, von Gioi et al. 2010); the longest are drawn and listed as x0, y0, x1, y1."""

    noun = "line segment map"

    shortest: Annotated[float, Option("Least length as a share of the shorter side.", ge=0, le=1)] = 0.05
    least: Annotated[int, Option("Photographs with fewer segments are dropped.", ge=1)] = 6

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        gray = cv2.cvtColor(source.pixels, cv2.COLOR_RGB2GRAY)
        side = min(gray.shape)
        found = cv2.createLineSegmentDetector().detect(gray)[0]
        segments = np.zeros((0, 4), np.float32) if found is None else found.reshape(-1, 4)
        lengths = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
        order = np.argsort(-lengths, kind="stable")[:MOST_SEGMENTS]
        kept = segments[order][lengths[order] >= self.shortest * side]
        if len(kept) < self.least:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"{len(kept)} straight lines")
        drawing = np.zeros(gray.shape, np.uint8)
        whole = np.rint(kept).astype(np.int32)
        for x0, y0, x1, y1 in whole.tolist():
            cv2.line(drawing, (x0, y0), (x1, y1), 255, max(1, round(side / 256)), cv2.LINE_AA)
        return self.checked(drawing, detector="lsd", segments=whole.tolist())


@dataclass(frozen=True)
class XdogToImage(MapToImage, Xdog):
    name = "xdog_to_image"
    title = "Line sketch and caption to photograph"
    operation = "turning a line sketch into a photo"


@dataclass(frozen=True)
class ImageToXdog(ImageToMap, Xdog):
    name = "image_to_xdog"
    title = "Photograph to line sketch"
    operation = "drawing a line sketch"


@dataclass(frozen=True)
class ScribbleToImage(MapToImage, Scribble):
    name = "scribble_to_image"
    title = "Scribble and caption to photograph"
    operation = "turning a scribble into a photo"


@dataclass(frozen=True)
class ImageToScribble(ImageToMap, Scribble):
    name = "image_to_scribble"
    title = "Photograph to scribble"
    operation = "scribbling the outlines"


@dataclass(frozen=True)
class SoftEdgesToImage(MapToImage, SoftEdges):
    name = "soft_edges_to_image"
    title = "Soft edges and caption to photograph"
    operation = "turning a soft edge map into a photo"


@dataclass(frozen=True)
class ImageToSoftEdges(ImageToMap, SoftEdges):
    name = "image_to_soft_edges"
    title = "Photograph to soft edges"
    operation = "drawing soft edges"


@dataclass(frozen=True)
class LineSegmentsToImage(MapToImage, LineSegments):
    name = "line_segments_to_image"
    title = "Line segments and caption to photograph"
    operation = "turning line segments into a photo"


@dataclass(frozen=True)
class ImageToLineSegments(ImageToMap, LineSegments):
    name = "image_to_line_segments"
    title = "Photograph to line segments"
    operation = "finding straight lines"

"""Draws a scene: its pixels, and of every thing the mask of what is seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.scenes.scene import COLORS, GROUNDS, SHAPES, Scene, Thing

FINER = 4
"""Things are drawn at so many times the picture's side and averaged, so that edges are smooth."""
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """pixels: uint8 (size, size, 3). masks: of each thing, back to front, bool (size, size): what nothing covers."""

    pixels: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]


def draw(scene: Scene) -> Drawn:
    """Returns the picture of `scene` and the masks of its things."""
    side = scene.size
    ground = np.array(GROUNDS[scene.ground], np.float64)
    canvas = _colored(ground, scene.texture, side)
    masks: list[NDArray[np.bool_]] = []
    for thing in scene.things:
        if thing.cutout:
            colored, share = _pasted(thing, side)
        else:
            share = coverage(thing, side)
            colored = _colored(np.array(COLORS[thing.color], np.float64), thing.texture, side)
        canvas = canvas * (1 - share[..., None]) + colored * share[..., None]
        masks = [mask & (share < 0.5) for mask in masks] + [share >= 0.5]
    return Drawn(np.rint(canvas).astype(np.uint8), tuple(masks))


def coverage(thing: Thing, side: int) -> NDArray[np.float64]:
    """Returns how much of each pixel of a picture of `side` pixels the thing covers, 0 to 1."""
    fine = side * FINER
    plane = np.zeros((fine, fine), np.uint8)
    outlines = [np.rint((outline * thing.size + (thing.x, thing.y)) * fine) for outline in _outlines(thing.kind)]
    cv2.fillPoly(plane, [outline.astype(np.int32) for outline in outlines], 255)
    share = cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    return np.asarray(share)


def _pasted(thing: Thing, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the colors (side, side, 3) of a cut-out at its place, and how much of each pixel it covers, 0 to 1."""
    rgba = _cutout(thing.cutout)
    scale = thing.size * side / max(rgba.shape[:2])
    x, y = (middle * side - scale * length / 2 for middle, length in zip((thing.x, thing.y), rgba.shape[1::-1]))
    # A pixel's middle lies half a pixel from its corner, in the cut-out as in the picture.
    matrix = np.array([[scale, 0, x + scale / 2 - 0.5], [0, scale, y + scale / 2 - 0.5]])
    soft = cv2.GaussianBlur(rgba, (0, 0), 0.4 / scale) if scale < 1 else rgba
    placed = cv2.warpAffine(soft, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.float64)
    share = placed[..., 3]
    return placed[..., :3] / np.maximum(share, 1e-6)[..., None], share


@lru_cache(maxsize=64)
def _cutout(path: str) -> NDArray[np.float32]:
    """Returns a PNG as RGB times alpha, 0 to 255, and alpha, 0 to 1: float32 (height, width, 4), empty borders cut off.

    Raises UserError for a file that is no picture, or has nothing in it that is not transparent.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            rgba = np.asarray(opened.convert("RGBA")).astype(np.float32)
    except OSError as error:
        raise UserError(f"{path}: no cut-out: {error}") from error
    alpha = rgba[..., 3:] / 255
    rows, columns = np.flatnonzero(alpha.any((1, 2))), np.flatnonzero(alpha.any((0, 2)))
    if not len(rows):
        raise UserError(f"{path}: nothing in it that is not transparent")
    whole = np.concatenate([rgba[..., :3] * alpha, alpha], -1)
    return np.ascontiguousarray(whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def template(kind: str, side: int) -> NDArray[np.float32]:
    """Returns how much of each pixel a kind of thing covers, 0 to 1, in its box, whose longer side is `side` pixels."""
    share = coverage(Thing(kind, "red", "plain", "middle", 0.5, 0.5, 0.8), 4 * side)
    rows, columns = np.flatnonzero((share >= 0.5).any(1)), np.flatnonzero((share >= 0.5).any(0))
    cut = share[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(side * length / max(cut.shape))) for length in cut.shape)
    return cv2.resize(cut.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)


def _colored(color: NDArray[np.float64], texture: str, side: int) -> NDArray[np.float64]:
    """Returns the plane of a color (side, side, 3); a texture is in that color and one nearer to gray."""
    second = color * 0.55 + 128 * 0.45
    second = second + np.where(np.abs(second - color).max() < 24, 60, 0)  # gray has no grayer gray
    period = max(4, side // 8)
    y, x = np.mgrid[:side, :side]
    patterns: Mapping[str, Callable[[], NDArray[np.bool_]]] = {
        "striped": lambda: (x + y) % period < period // 2,
        "checkered": lambda: (x // (period // 2) + y // (period // 2)) % 2 == 0,
        "dotted": lambda: (x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (0.32 * period) ** 2,
    }
    if texture == "plain":
        return np.broadcast_to(color, (side, side, 3))
    return np.where(patterns[texture]()[..., None], second, color)


@lru_cache(maxsize=64)
def _outlines(kind: str) -> tuple[Points, ...]:
    """Returns the closed outlines of a kind of thing of diameter 1 around (0, 0); what two enclose is empty."""
    return _shape(kind) if kind in SHAPES else _glyph(kind)


def _shape(kind: str) -> tuple[Points, ...]:
    circle = _polygon(64)
    if kind == "circle":
        return (circle,)
    if kind == "ring":
        return circle, circle * 0.55
    if kind == "square":
        return (_polygon(4, turn=np.pi / 4) * 1.2,)
    if kind == "diamond":
        return (_polygon(4) * (0.85, 1.15),)
    if kind == "triangle":
        return (_polygon(3) * 1.15 + (0, 0.08),)
    if kind == "star":
        points = _polygon(10) * 1.15
        points[1::2] *= 0.42
        return (points,)
    arm = 0.17
    corners = [(-arm, -0.5), (arm, -0.5), (arm, -arm), (0.5, -arm), (0.5, arm), (arm, arm)]
    return (np.array([*corners, *((-x, -y) for x, y in corners)]),)


def _polygon(corners: int, turn: float = 0.0) -> Points:
    """Returns a regular polygon of diameter 1, a corner at the top unless it is turned."""
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2 + turn
    return np.stack([np.cos(angles), np.sin(angles)], 1) / 2


def _glyph(text: str) -> tuple[Points, ...]:
    """Returns the outlines of a letter or digit, of height 1, in the thick strokes of OpenCV's Hershey font."""
    plane = np.zeros((400, 400), np.uint8)
    cv2.putText(plane, text, (60, 320), cv2.FONT_HERSHEY_SIMPLEX, 10, 255, 52, cv2.LINE_8)
    found, _ = cv2.findContours(plane, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    points = [np.asarray(contour[:, 0], np.float64) for contour in found if len(contour) > 8]
    every = np.concatenate(points)
    low, high = every.min(0), every.max(0)
    return tuple((outline - (low + high) / 2) / (high[1] - low[1]) for outline in points)

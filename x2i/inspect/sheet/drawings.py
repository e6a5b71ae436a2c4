"""Drawings of what a column says about an image: one function per kind of field, chosen by the fields that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from x2i.inspect.formatting import describe_number
from x2i.inspect.palette import badge_color
from x2i.inspect.sheet.text_drawing import Font, draw_badge
from x2i.tables import IMAGE_TYPE

if TYPE_CHECKING:
    from PIL.Image import Image

Row = Mapping[str, Any]
Draw = Callable[["Image", Sequence[Row], float], None]

BADGE, SMALL_BADGE = Font(15), Font(9)
SIDES = ("x0", "y0", "x1", "y1")
TINT = 0.45
MOST_VALUES = 6


def draw_masks(picture: Image, rows: Sequence[Row], scale: float) -> None:
    """Tints each row's mask in the row's color and draws its outline."""
    import cv2
    from PIL import Image as PillowImage

    from x2i.image.rle import decode_mask

    pixels = np.array(picture)
    for number, row in enumerate(rows, start=1):
        if row["mask_counts"]:
            mask_HW = decode_mask(row["mask_counts"], *row["mask_size"]).astype(np.uint8)
            small_HW = cv2.resize(mask_HW, picture.size, interpolation=cv2.INTER_NEAREST)
            color = _rgb(number)
            pixels[small_HW > 0] = np.rint((1 - TINT) * pixels[small_HW > 0] + TINT * np.array(color)).astype(np.uint8)
            outlines, _ = cv2.findContours(small_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(pixels, outlines, -1, color, 2)
    picture.paste(PillowImage.fromarray(pixels))


def draw_boxes(picture: Image, rows: Sequence[Row], scale: float) -> None:
    """Draws each row's box in the row's color with a white rim, and its number in the corner.

    A row with a polygon is outlined by that; its number stands left of the box, where it hides nothing.
    """
    draw = _draw(picture)
    has_polygons = "polygon" in rows[0]
    rows = [row for row in rows if row["x0"] is not None]  # an image about which nothing could be said
    for number, row in enumerate(rows, start=1):
        x0, y0, x1, y1 = (round(row[side] * scale) for side in SIDES)
        if not has_polygons:
            draw.rectangle((x0 - 1, y0 - 1, x1, y1), outline="#ffffff", width=4)
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=badge_color(number), width=2)
    font = SMALL_BADGE if has_polygons else BADGE
    side = round(font.size * 1.25)
    for number, row in enumerate(rows, start=1):
        left = row["x0"] * scale - (side + 2 if has_polygons else 0)
        x = min(max(0, round(left)), picture.width - side)
        y = min(max(0, round(row["y0"] * scale)), picture.height - side)
        draw_badge(draw, (x, y), number, font.size)


def draw_polygons(picture: Image, rows: Sequence[Row], scale: float) -> None:
    """Draws each row's polygon in the row's color."""
    draw = _draw(picture)
    for number, row in enumerate(rows, start=1):
        corners = [(x * scale, y * scale) for x, y in _points(row["polygon"])]
        draw.polygon(corners, outline=badge_color(number), width=2)


def draw_points(picture: Image, rows: Sequence[Row], scale: float) -> None:
    """Draws each row's landmarks as dots in the row's color."""
    draw = _draw(picture)
    for number, row in enumerate(rows, start=1):
        for x, y in _points(row["landmarks"]):
            around = (x * scale - 3, y * scale - 3, x * scale + 3, y * scale + 3)
            draw.ellipse(around, fill=badge_color(number), outline="#ffffff")


DRAWINGS: tuple[tuple[tuple[str, ...], Draw], ...] = (
    (("mask_size", "mask_counts"), draw_masks),
    (("polygon",), draw_polygons),
    (SIDES, draw_boxes),
    (("landmarks",), draw_points),
)
"""Fields that say where something is, and how they are drawn; in this order, so that boxes lie over masks."""


def draw_rows(picture: Image, rows: Sequence[Row], scale: float) -> None:
    """Draws on `picture` everything that the rows about its image can show.

    scale: pixels of the picture per pixel of the image. Rows keep their numbers and colors in all drawings.
    """
    for fields, draw in DRAWINGS:
        if rows and all(field in rows[0] for field in fields):
            draw(picture, rows, scale)


def draw_map(values: np.ndarray) -> Image:
    """Returns a stored map as an RGB picture: gray maps of 16 bits are stretched over what they hold.

    A value of 65535 beside others means that nothing is known there, or the top of the range.
    """
    from PIL import Image as PillowImage

    if values.dtype == np.uint16:
        inner = values[values < np.iinfo(np.uint16).max]
        low, high = (int(inner.min()), int(inner.max())) if inner.size else (0, 1)
        shares = (values.astype(np.float32) - low) / max(1, high - low)
        values = np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
    return PillowImage.fromarray(values).convert("RGB")


def words_of(schema: pa.Schema, rows: Sequence[Row]) -> list[str]:
    """Returns a line for each row of a table of many rows an image, or for each field of its one row.

    What is drawn, what holds images and vectors, and which backend made the row is left out.
    """
    drawn = {field for fields, _ in DRAWINGS for field in fields} & set(schema.names)
    names = [field.name for field in schema if field.name not in drawn | _stamps(schema) | {"key"}]
    names = [name for name in names if schema.field(name).type != IMAGE_TYPE]
    if drawn:
        return [_line(row, names) for row in rows]
    return [f"{name} {text}" for row in rows for name in names if (text := _value(row[name]))]


def _line(row: Row, names: Sequence[str]) -> str:
    texts = list(dict.fromkeys(row[name] for name in names if isinstance(row[name], str) and row[name]))
    scores = [describe_number(row[name]) for name in names if name == "score" and row[name] is not None]
    return "  ".join([" / ".join(texts), *scores]).strip()


def _value(value: Any) -> str:
    if isinstance(value, list):
        more = ", ..." if len(value) > MOST_VALUES else ""
        return ", ".join(_value(item) for item in value[:MOST_VALUES]) + more
    if isinstance(value, str):
        return value
    return "" if value is None else describe_number(value)


def _stamps(schema: pa.Schema) -> set[str]:
    """Returns the fields that say which backend made a row: each that has a revision, and the revision."""
    revisions = {name for name in schema.names if name == "revision" or name.endswith("_revision")}
    return revisions | {name.removesuffix("_revision") for name in revisions} | ({"model"} if revisions else set())


def _points(flat: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(flat[::2], flat[1::2]))


def _rgb(number: int) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(badge_color(number).removeprefix("#"))
    return red, green, blue


def _draw(picture: Image) -> Any:
    from PIL import ImageDraw

    return ImageDraw.Draw(picture)

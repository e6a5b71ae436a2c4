"""The look of an object changed: its color, or what it is made of. Its shape and its light stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import RgbImage
from x2i.recipes.edits.base import Edited, ObjectEdit, found_by, laid_over, phrase_of
from x2i.recipes.edits.colors import color_labs, color_name, from_lab, lab, without_color
from x2i.recipes.masks import Mask
from x2i.recipes.restoration.base import one_of

FAR = 38.0  # of Lab distance between the old color and the new one


@dataclass(frozen=True)
class RecolorObject(ObjectEdit):
    """An object in another color: a and b are moved to the new color, L keeps its details.

    Where the object has one color with a name, the photograph may be the output: then its own color is asked for.
    """

    name = "recolor_object"
    title = "Photograph to the photograph with an object in another color"
    operation = "changing an object's color"
    requests = (
        "change the color of {phrase} to {color}",
        "make {phrase} {color}",
        "turn {phrase} {color}",
        "paint {phrase} {color}",
        "recolor {phrase} in {color}",
        "give {phrase} the color {color}",
        "use {color} for {phrase}",
    )

    natural_output: Annotated[
        float, Option("Chance that the photograph is the output, where its own color can be named.", ge=0, le=1)
    ] = 0.5

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited | Dropped:
        own = color_name(image, mask)
        middle = np.median(lab(image)[mask], axis=0)
        far = tuple(name for name, value in color_labs().items() if np.linalg.norm(value - middle) > FAR)
        if not far:
            return Dropped(Reason.UNSUITABLE_IMAGE, "no other color is far from the object's")
        color = one_of(far, random)
        back = bool(random.random() < self.natural_output) and own is not None
        painted = laid_over(image, recolored(image, mask, color), mask)
        before, after, asked = (painted, image, str(own)) if back else (image, painted, color)
        phrase = without_color(phrase_of(metadata))
        return Edited(
            before,
            after,
            mask,
            mask,
            self.said(random, phrase=phrase, color=asked),
            {"phrase": phrase, "color": asked},
            {**found_by(metadata), "color": asked, "painted": color, "photograph": "output" if back else "input"},
        )


def recolored(image: RgbImage, mask: Mask, color: str) -> RgbImage:
    """Returns the photograph_HWC as if everything had the light of the thing in mask_HW and a named color."""
    values, target = lab(image), color_labs()[color]
    middle = np.median(values[mask], axis=0)
    gray = max(abs(float(part)) for part in target[1:]) < 10
    # a thing much darker or lighter than its new color is brought half of the way, black and white almost all of it
    move = (0.85 if gray else 0.6) * (target[0] - middle[0])
    low, high = np.percentile(values[mask][:, 0], (5, 95))
    room = min(1.0, (97 - target[0]) / max(high - middle[0], 1) + 0.35, target[0] / max(middle[0] - low, 1) + 0.35)
    light = middle[0] + move + (values[..., 0] - middle[0]) * room
    # highlights keep the color of the lamp, deep shadows have none
    chroma = np.clip(light / 25, 0.2, 1) * np.clip((104 - values[..., 0]) / 25, 0, 1)
    detail = (values[..., 1:] - middle[1:]) * (0.1 if gray else 0.35)
    tinted = (target[1:] + detail) * chroma[..., None]
    return from_lab(np.dstack([np.clip(light, 0, 100), tinted]).astype(np.float32))


@dataclass(frozen=True)
class ChangeMaterial(ObjectEdit):
    """An object as if made of another material: its light on a color ramp, with veins, rings or speckles."""

    name = "change_material"
    title = "Photograph to the photograph with an object of another material"
    operation = "changing an object's material"
    requests = (
        "make {phrase} out of {material}",
        "turn {phrase} into {material}",
        "change the material of {phrase} to {material}",
        "render {phrase} in {material}",
        "rebuild {phrase} from {material}",
        "give {phrase} a surface of {material}",
        "let {phrase} look like {material}",
    )

    materials: Annotated[tuple[str, ...], Option("Of gold, silver, copper, wood, marble, stone, ice, clay.")] = (
        "gold",
        "silver",
        "copper",
        "wood",
        "marble",
        "stone",
        "ice",
        "clay",
    )

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited | Dropped:
        material = one_of(tuple(name for name in self.materials if name in MATERIALS), random)
        phrase = without_color(phrase_of(metadata))
        after = laid_over(image, made_of(image, mask, material, random), mask)
        return Edited(
            image,
            after,
            mask,
            mask,
            self.said(random, phrase=phrase, material=material),
            {"phrase": phrase, "material": material},
            {**found_by(metadata), "material": material},
        )


def made_of(image: RgbImage, mask: Mask, material: str, random: np.random.Generator) -> RgbImage:
    """Returns the photograph_HWC as if everything were of a material, lit as the thing in mask_HW is."""
    import cv2

    light = lab(image)[..., 0]
    low, high = np.percentile(light[mask], (2, 98))
    shade = np.clip((light - low) / max(float(high - low), 8.0), 0, 1)
    gloss, weight, texture, ramp = MATERIALS[material]
    rough = cv2.GaussianBlur(shade, (0, 0), max(0.8, 0.004 * min(mask.shape)))
    shade = np.clip(rough + (shade - rough) * (1.6 if gloss else 0.8), 0, 1)
    if gloss:  # metal mirrors its surroundings: bright and dark bands
        shade = np.clip(0.75 * shade + 0.25 * (0.5 - 0.5 * np.cos(3 * np.pi * shade)), 0, 1)
    grain = texture(mask.shape, random)
    value = np.clip(0.15 + 0.7 * shade + weight * (grain - 0.5), 0, 1)
    stops = np.linspace(0, 1, len(ramp))
    channels = [np.interp(value, stops, [stop[channel] for stop in ramp]) for channel in range(3)]
    return np.rint(np.dstack(channels)).astype(np.uint8)


def noise(shape: tuple[int, ...], cells: int, random: np.random.Generator, octaves: int = 4) -> NDArray[np.float32]:
    """Returns smooth noise_HW, 0 to 1: `cells` bumps along the longer side, then twice as many, half as high."""
    import cv2

    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        size = [max(2, round(count * side / max(shape))) for side in shape]
        bumps = random.random(size, np.float32)
        total += cv2.resize(bumps, shape[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    return np.asarray((total - total.min()) / max(float(np.ptp(total)), 1e-6), np.float32)


def _plain(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    return np.full(shape, 0.5, np.float32)


def _speckled(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    return noise(shape, 40, random)


def _veined(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    ys, xs = np.indices(shape, np.float32) / max(shape)
    waves = np.sin(2 * np.pi * (4 * xs + 3 * ys + 2.5 * noise(shape, 4, random)))
    return np.asarray(1 - (1 - np.abs(waves)) ** 6, np.float32)


def _ringed(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    ys, xs = np.indices(shape, np.float32) / max(shape)
    rings = np.sin(2 * np.pi * (22 * ys + 3 * xs + 3.0 * noise(shape, 3, random)))
    fiber = noise((shape[0], max(2, shape[1] // 16)), 160, random, 2)
    import cv2

    return np.asarray(0.5 + 0.35 * rings + 0.4 * (cv2.resize(fiber, shape[::-1]) - 0.5), np.float32)


Ramp = tuple[tuple[int, int, int], ...]
Texture = Callable[[tuple[int, ...], np.random.Generator], NDArray[np.float32]]
MATERIALS: Mapping[str, tuple[bool, float, Texture, Ramp]] = {
    "gold": (True, 0.0, _plain, ((45, 22, 2), (150, 95, 15), (225, 170, 50), (255, 225, 120), (255, 250, 220))),
    "silver": (True, 0.0, _plain, ((20, 22, 26), (95, 98, 105), (170, 173, 180), (225, 228, 232), (255, 255, 255))),
    "copper": (True, 0.0, _plain, ((35, 12, 6), (130, 60, 35), (200, 110, 70), (240, 170, 130), (255, 235, 215))),
    "wood": (False, 0.35, _ringed, ((45, 25, 12), (105, 64, 34), (160, 108, 64), (200, 150, 100), (225, 190, 145))),
    "marble": (False, 0.3, _veined, ((70, 70, 75), (150, 150, 155), (215, 214, 212), (240, 239, 236), (252, 251, 250))),
    "stone": (False, 0.45, _speckled, ((40, 38, 36), (90, 87, 83), (135, 131, 125), (175, 171, 165), (210, 207, 202))),
    "ice": (True, 0.25, _speckled, ((30, 70, 110), (90, 150, 190), (160, 210, 235), (215, 240, 250), (255, 255, 255))),
    "clay": (False, 0.12, _speckled, ((60, 28, 18), (125, 66, 45), (175, 100, 72), (205, 135, 105), (228, 175, 148))),
}
"""Material -> glossy, weight of its texture, the texture, its colors from shadow to light."""

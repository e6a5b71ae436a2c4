"""remove_sensor_noise: noise added where it arises, on the linear values of the sensor, and developed with the picture.

The steps back to the sensor and their ranges are those of Brooks et al., "Unprocessing images for learned raw
denoising" (CVPR 2019): tone curve, gamma 2.2, color matrix, gains that keep highlights. The noise is on all three
channels; there is no mosaic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, draw_log, to_uint8
from x2i.recipes.restoration.noise import Noisy

XYZ_TO_CAMERA = np.array(  # four cameras; a picture takes a random mixture of them
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.838, -0.263, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.097, 0.1581, 0.5181]],
    ]
)
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEVELS = 65536


@dataclass(frozen=True)
class RemoveSensorNoise(Noisy):
    """Shot noise drawn by its logarithm up to .012, read noise that follows it; variance = shot * x + read.

    Brooks et al. begin at 1e-4; noise of less than 2e-3 hardly shows in a picture of 8 bits.
    """

    name = "remove_sensor_noise"
    title = "Photograph with sensor noise to clean photograph"
    damage_noun = "sensor noise"

    shot: Annotated[Range, Option("Shot noise: variance a unit of linear light, drawn by its logarithm.", gt=0)] = (
        0.002,
        0.012,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        return with_sensor_noise(source.pixels, draw_log(self.shot, random, 6), random)


def with_sensor_noise(image: RgbImage, shot: float, random: np.random.Generator) -> Damaged:
    """Returns the image_HWC with the noise of a random camera. shot: variance a unit of linear light, 0 to 1."""
    read = float(np.exp(2.18 * np.log(shot) + 1.20 + random.normal(0, 0.26)))
    camera = Camera.draw(random)
    sensor = camera.sensor(image)
    deviation = np.sqrt(np.float32(shot) * np.maximum(sensor, 0) + np.float32(read))
    noisy = sensor + deviation * random.standard_normal(sensor.shape, np.float32)
    change = camera.develop(noisy) - camera.develop(sensor)  # only the noise, no error of going back and forth
    return Damaged(to_uint8(image + change), {"shot": shot, "read": round(read, 9), **camera.parameters()})


@dataclass(frozen=True)
class Camera:
    """How a picture was developed. matrix: from linear sRGB to the camera's colors. gain: of all channels."""

    matrix: NDArray[np.float64]
    gain: float
    red: float
    blue: float

    @classmethod
    def draw(cls, random: np.random.Generator) -> Camera:
        """Returns a random camera: gain 1 / N(.8, .1), red 1.9 to 2.4, blue 1.5 to 1.9."""
        weights = random.uniform(1e-8, 1, len(XYZ_TO_CAMERA))
        matrix = np.tensordot(weights / weights.sum(), XYZ_TO_CAMERA, 1) @ RGB_TO_XYZ
        gain = 1 / max(0.3, random.normal(0.8, 0.1))
        red, blue = random.uniform(1.9, 2.4), random.uniform(1.5, 1.9)
        return cls(matrix / matrix.sum(1, keepdims=True), float(gain), float(red), float(blue))

    def parameters(self) -> dict[str, float]:
        return {"gain": round(self.gain, 4), "red_gain": round(self.red, 4), "blue_gain": round(self.blue, 4)}

    @property
    def gains(self) -> NDArray[np.float32]:
        return np.array([self.red, 1, self.blue], np.float32) * np.float32(self.gain)

    def sensor(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the linear values_HWC that the sensor had, 0 to 1."""
        import cv2

        table = np.clip(np.arange(256) / 255, 1e-8, 1)
        table = (0.5 - np.sin(np.arcsin(1 - 2 * table) / 3)) ** 2.2
        linear = cv2.transform(table.astype(np.float32)[image], self.matrix.astype(np.float32))
        gray = cv2.transform(linear, np.full((1, 3), 1 / 3, np.float32))[..., None]
        kept = np.maximum((gray - 0.9) / 0.1, 0) ** 2  # highlights stay white
        lowered = 1 / self.gains
        return np.clip(linear * np.maximum(kept + (1 - kept) * lowered, lowered), 0, 1)

    def develop(self, sensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the gray levels_HWC, not rounded, that the camera makes of linear values."""
        import cv2

        scaled = np.clip(sensor * self.gains, 0, 1)
        linear = cv2.transform(scaled, np.linalg.inv(self.matrix).astype(np.float32))
        ramp = (np.arange(LEVELS) / (LEVELS - 1)) ** (1 / 2.2)
        table = (255 * (3 * ramp**2 - 2 * ramp**3)).astype(np.float32)
        return table[(np.clip(linear, 0, 1) * (LEVELS - 1)).astype(np.uint16)]

"""Short films with known scenes for tests, encoded by PyAV: a camera moves over one photograph per scene."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from skimage import data

_GOOD = {"libx264": {"crf": "14", "preset": "veryfast"}, "mpeg4": {"qmin": "1", "qmax": "3"}}
SCENES = (data.astronaut, data.chelsea, data.coffee, data.rocket)


@cache
def _photograph(scene: int, width: int, height: int) -> np.ndarray:
    return cv2.resize(SCENES[scene % len(SCENES)](), (width, height), interpolation=cv2.INTER_AREA)


def frame_pixels(scene: int, progress: float, width: int, height: int) -> np.ndarray:
    """Returns what the camera sees of a scene, (height, width, 3) RGB; `progress` runs from 0 to 1."""
    photo = _photograph(scene, round(width * 1.5), round(height * 1.5))
    x, y = round(width * progress / 2), round(height * progress / 4)
    return np.ascontiguousarray(photo[y : y + height, x : x + width])


def make_film(
    path: Path,
    seconds: Sequence[float] = (3, 3, 3),
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (160, 120),
    rate: int = 24,
    key_frames: int = 48,
    format: str = "yuv420p",
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    drop: int = 0,
    **attributes: Any,
) -> Path:
    """Writes one scene of each length in `seconds`. `drop`: every `drop`-th frame is left out."""
    width, height = size
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=_GOOD.get(codec, {}) | (options or {}))
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, format, key_frames
        for name, value in attributes.items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        number = 0
        for scene, length in enumerate(seconds):
            count = round(length * rate)
            for index in range(count):
                number += 1
                if drop and number % drop == 0:
                    continue
                frame = av.VideoFrame.from_ndarray(frame_pixels(scene, index / count, width, height))
                frame.pts = number - 1
                file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def make_sound(path: Path) -> Path:
    """Writes a file with sound and no picture."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("aac", rate=44100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, number * 1024
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path

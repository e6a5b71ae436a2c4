"""faces: the faces of every image, each with a box, landmarks and a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.models.abilities import Face, FaceDetector, FaceEmbedder, RgbImage
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class Faces(ModelAnnotation):
    """Find the faces of every image.

    face: number of the face in its image, best score first. x0, y0, x1, y1: box in pixels of the stored image,
    half-open. share: of the image's area. score: of the detector, 0 to 1. landmarks: x and y of the right eye, left
    eye, tip of the nose, right and left corner of the mouth (the person's own sides). vector: of length 1; two faces of
    one person have a large dot product.

    Vectors of faces are biometric data, which many laws protect. They say whether two images of this dataset show one
    person; nothing here joins them to names. `x2i takedown` removes them with their image.
    """

    name: ClassVar[str] = "faces"
    title: ClassVar[str] = "Faces: boxes, landmarks, vectors"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("face", pa.int32()),
        *(pa.field(side, pa.int32()) for side in ("x0", "y0", "x1", "y1")),
        pa.field("share", pa.float32()),
        pa.field("score", pa.float32()),
        pa.field("landmarks", pa.list_(pa.float32())),
        pa.field("vector", pa.list_(pa.float32())),
    )
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.FACE_DETECTOR, "embedder": Ability.FACE_EMBEDDER}

    model: Annotated[str, Option("The face detector.")] = "opencv:yunet"
    embedder: Annotated[str, Option("What makes the vectors.")] = "opencv:sface"

    def load(self) -> Annotator:
        found = self.backends()
        return FaceFinder(found["model"].load(), found["embedder"].load())


class FaceFinder:
    def __init__(self, detector: FaceDetector, embedder: FaceEmbedder) -> None:
        self._detector, self._embedder = detector, embedder

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        pixels = [image.pixels for image in images]
        faces = self._detector.faces(pixels)
        return [
            _verdict(*parts) for parts in zip(pixels, faces, self._embedder.embed_faces(pixels, faces), strict=True)
        ]


def _verdict(image: RgbImage, faces: Sequence[Face], vectors_FD: np.ndarray) -> Verdict:
    if not faces:
        return Dropped(Reason.NOTHING_FOUND)
    area = image.shape[0] * image.shape[1]
    return Found(
        tuple(
            {
                "face": number,
                **vars(face.box),
                "share": face.box.area / area,
                "score": face.score,
                "landmarks": face.landmarks_52.ravel(),
                "vector": vector,
            }
            for number, (face, vector) in enumerate(zip(faces, vectors_FD, strict=True))
        )
    )

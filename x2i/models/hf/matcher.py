"""`hf:MODEL` matches: LightGlue, SuperGlue and EfficientLoFTR find where two images show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import InstanceMatcher, RgbImage
from x2i.models.classic.sift import Sift
from x2i.models.correspondences import agreement
from x2i.models.hf.batches import on_model
from x2i.models.match import Match
from x2i.models.torch_backend import HubBackend
from x2i.options import Option


@dataclass(frozen=True)
class HfMatcher(HubBackend):
    """Keypoint matching by transformers' AutoModelForKeypointMatching, then the geometry that `classic:sift` asks for.

    Candidates are found by SIFT descriptors; pairs of candidates are matched by the network, one after the other.
    """

    title: ClassVar[str] = "LightGlue, SuperGlue or EfficientLoFTR in transformers, and geometry"

    max_side: Annotated[int, Option("Longest side in pixels of the images that are compared.", ge=64)] = 640
    threshold: Annotated[float, Option("Matches with a lower score do not count.", ge=0, lt=1)] = 0.2
    tolerance: Annotated[float, Option("Pixels an inlier may lie off.", gt=0)] = 4.0

    def load(self) -> InstanceMatcher:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModelForKeypointMatching)
        return LoadedMatcher(self, model, self.pretrained(transformers.AutoImageProcessor))


@dataclass(frozen=True)
class GrayImage:
    """What is kept of an image. pixels_HW: luma, shrunk by `scale`. size: (width, height) of the image given."""

    pixels_HW: NDArray[np.uint8]
    size: tuple[int, int]
    scale: float
    descriptors_ND: NDArray[np.uint8]


class LoadedMatcher:
    def __init__(self, backend: HfMatcher, model: Any, processor: Any) -> None:
        self._backend, self._model, self._processor = backend, model, processor
        self._sift = Sift(max_side=backend.max_side)

    def features(self, images: Sequence[RgbImage]) -> list[GrayImage]:
        found = self._sift.features(images)
        return [self._gray(image, of.scale, of.descriptors_ND) for image, of in zip(images, found, strict=True)]

    def match(self, a: GrayImage, b: GrayImage) -> Match:
        """Returns the agreement of two images, by the better of the two geometric models."""
        if (b.pixels_HW.shape, b.pixels_HW.tobytes()) < (a.pixels_HW.shape, a.pixels_HW.tobytes()):
            return self._match(b, a).swapped()
        return self._match(a, b)

    def points(self, a: GrayImage, b: GrayImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns where a and b show the same, x and y in pixels of the images given: (M, 2) each."""
        import torch

        pair = [np.repeat(image.pixels_HW[..., None], 3, axis=2) for image in (a, b)]
        inputs = self._processor(images=[pair], return_tensors="pt")
        with torch.inference_mode():
            outputs = self._model(**on_model(inputs, self._model))
        sizes = [tuple(image.size[::-1] for image in (a, b))]
        (found,) = self._processor.post_process_keypoint_matching(outputs, sizes, threshold=self._backend.threshold)
        from_M2, to_M2 = (found[name].cpu().numpy().astype(np.float32) for name in ("keypoints0", "keypoints1"))
        return from_M2, to_M2

    def _match(self, a: GrayImage, b: GrayImage) -> Match:
        return agreement(*self.points(a, b), a, b, self._backend.tolerance)

    @staticmethod
    def _gray(image: RgbImage, scale: float, descriptors_ND: NDArray[np.uint8]) -> GrayImage:
        height, width = image.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        luma_HW = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        return GrayImage(luma_HW, (width, height), scale, descriptors_ND)

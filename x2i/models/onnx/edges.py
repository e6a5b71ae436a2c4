"""`onnx:FILE`: edges by any network in an ONNX file that takes one image and returns one map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.models.abilities import EdgeDetector, RgbImage
from x2i.models.backend import Backend
from x2i.models.edges.file_backend import levels
from x2i.models.weights import sha256_of_file
from x2i.options import Option


@dataclass(frozen=True)
class OnnxEdges(Backend):
    """The network takes (1, 3, H, W) numbers and its last output is (1, 1, H, W) or (1, H, W): HED, PiDiNet, TEED."""

    title: ClassVar[str] = "Soft edges by a network in an ONNX file of yours"
    extra: ClassVar[str] = "onnx"
    open_names: ClassVar[bool] = True

    order: Annotated[Literal["rgb", "bgr"], Option("Of the colors that the network takes.")] = "rgb"
    scale: Annotated[float, Option("Colors of 0 to 255 are divided by it.", gt=0)] = 255.0
    mean: Annotated[tuple[float, ...], Option("Taken off each color after that, in its order.")] = (0.0, 0.0, 0.0)
    deviation: Annotated[tuple[float, ...], Option("Divides each color after that.", gt=0)] = (1.0, 1.0, 1.0)
    multiple: Annotated[int, Option("Sides are enlarged to a multiple of this many pixels for the network.", ge=1)] = 16
    activation: Annotated[Literal["none", "sigmoid"], Option("What follows the network.")] = "none"
    steps: Annotated[int, Option("Cut the edges to this many levels above black; 0: do not.", ge=0)] = 0

    @property
    def file(self) -> Path:
        return Path(self.model).expanduser()

    def resolve(self) -> str:
        """Returns the sha256 of the file."""
        return sha256_of_file(self.file)

    def load(self) -> EdgeDetector:
        runtime = self.require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            session = runtime.InferenceSession(str(self.file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"{self.file}: cannot be read as an ONNX network: {error}") from error
        return LoadedOnnxEdges(self, session)


class LoadedOnnxEdges:
    def __init__(self, backend: OnnxEdges, session: Any) -> None:
        self._backend, self._session = backend, session
        self._input, self._output = session.get_inputs()[0].name, session.get_outputs()[-1].name

    def edges(self, images: Sequence[RgbImage]) -> list[NDArray[np.uint8]]:
        """Returns an edge map_HW per image, 255 on edges; images go through one by one."""
        return [self._edges(image) for image in images]

    def _edges(self, image: RgbImage) -> NDArray[np.uint8]:
        backend, (height, width) = self._backend, image.shape[:2]
        size = tuple(-(-side // backend.multiple) * backend.multiple for side in (width, height))
        colors = image if backend.order == "rgb" else image[..., ::-1]
        fitted = cv2.resize(np.ascontiguousarray(colors), size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
        fed = (fitted / backend.scale - np.array(backend.mean)) / np.array(backend.deviation)
        (found,) = self._session.run([self._output], {self._input: fed.transpose(2, 0, 1)[None].astype(np.float32)})
        edges_HW = found.reshape(size[1], size[0]).astype(np.float32)
        if backend.activation == "sigmoid":
            edges_HW = np.reciprocal(1 + np.exp(-edges_HW))
        return levels(cv2.resize(edges_HW, (width, height), interpolation=cv2.INTER_LINEAR), backend.steps)

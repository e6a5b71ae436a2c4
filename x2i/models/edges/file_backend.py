"""What edge networks from a weight file share: the file, batches of one size, and levels of gray."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import EdgeDetector, RgbImage
from x2i.models.hf.batches import by_size
from x2i.models.torch_backend import TorchBackend
from x2i.models.weights import sha256_of_file
from x2i.options import Option

if TYPE_CHECKING:
    import torch

Network = Callable[["torch.Tensor"], "torch.Tensor"]
"""Gets RGB images_N3HW, 0 to 255, and returns edges_N1HW, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class EdgeFileBackend(TorchBackend, ABC):
    """model: the path of a .safetensors or torch file."""

    steps: Annotated[
        int, Option("Cut the edges to this many levels above black, which hides the photo's shades; 0: do not.", ge=0)
    ] = 0

    @property
    def file(self) -> Path:
        return Path(self.model).expanduser()

    def resolve(self) -> str:
        """Returns the sha256 of the weight file."""
        return sha256_of_file(self.file)

    def load(self) -> EdgeDetector:
        self.require("torch")
        return LoadedEdges(self, self.network())

    @abstractmethod
    def network(self) -> Network:
        """Returns the network on its device. Raises UserError if the file does not hold it."""


class LoadedEdges:
    def __init__(self, backend: EdgeFileBackend, network: Network) -> None:
        self._network, self._steps = network, backend.steps
        self._device, self._dtype = backend.torch_device, backend.torch_dtype

    def edges(self, images: Sequence[RgbImage]) -> list[NDArray[np.uint8]]:
        """Returns an edge map_HW per image, 255 on edges. Images of one size go through together."""
        import torch

        found: dict[int, NDArray[np.uint8]] = {}
        for numbers in by_size(images):
            batch_NHW3 = torch.from_numpy(np.stack([images[number] for number in numbers]))
            with torch.inference_mode():
                edges_N1HW = self._network(batch_NHW3.permute(0, 3, 1, 2).to(self._device, self._dtype))
            for number, edges_1HW in zip(numbers, edges_N1HW.float().cpu().numpy(), strict=True):
                found[number] = levels(edges_1HW[0], self._steps)
        return [found[number] for number in range(len(images))]


def levels(edges_HW: NDArray[np.float32], steps: int) -> NDArray[np.uint8]:
    """Returns edges of 0 to 1 as levels of gray; with steps, as that many levels above black."""
    cut_HW = np.minimum(np.floor(edges_HW * (steps + 1)), steps) / steps if steps else edges_HW
    return np.rint(cut_HW * 255).clip(0, 255).astype(np.uint8)


def on_device(state: dict[str, Any], backend: TorchBackend) -> dict[str, Any]:
    """Returns the tensors on the backend's device, in its precision."""
    return {name: tensor.to(backend.torch_device, backend.torch_dtype) for name, tensor in state.items()}

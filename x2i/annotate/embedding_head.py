"""embedding_head: a score of stored embeddings by a small trained network, such as an aesthetic predictor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotation, Annotator, StoredImage, Verdict
from x2i.errors import UserError
from x2i.models.weights import sha256_of_file
from x2i.options import Option
from x2i.reasons import Dropped, Reason

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class EmbeddingHead(Annotation):
    """Score stored embeddings by the linear layers in a file; the images are not read again.

    The layers are recognized by their shapes: a single linear layer, or a chain such as that of LAION's aesthetic
    predictor for CLIP ViT-L/14 (768, 1024, 128, 64, 16, 1), which has nothing between its layers. The file is
    .safetensors or a state dict of torch, which is read with weights_only=True. score: the output that is asked for.
    head, revision: name and sha256 of the file.
    """

    name: ClassVar[str] = "embedding_head"
    title: ClassVar[str] = "A score of a small network over embeddings"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("score", pa.float32()),
        pa.field("head", pa.string()),
        pa.field("revision", pa.string()),
    )
    kept: ClassVar[str] = "score IS NOT NULL"

    file: Annotated[str, Option("The weights: a .safetensors or torch file.", decides=False)] = ""
    embeddings: Annotated[str, Option("The column of embeddings, made by the model that the head was trained on.")] = (
        "embeddings"
    )
    hidden: Annotated[Literal["none", "relu"], Option("What stands between the layers.")] = "none"
    activation: Annotated[Literal["none", "sigmoid", "softmax"], Option("What follows the last layer.")] = "none"
    output: Annotated[int, Option("Which output is the score, from 0.", ge=0)] = 0

    @property
    def pixels(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.embeddings,)

    @property
    def batch_size(self) -> int:
        return 256

    def config(self) -> dict[str, Any]:
        path = self._path()
        return {**super().config(), "head": path.name, "revision": sha256_of_file(path)}

    def load(self) -> Annotator:
        path = self._path()
        layers = chain(read_linear_layers(path), path)
        outputs = len(layers[-1][1])
        if self.output >= outputs:
            raise UserError(f"{path}: output {self.output} was asked for, but the head has {outputs}")
        return HeadScorer(self, layers, {"head": path.name, "revision": sha256_of_file(path)})

    def _path(self) -> Path:
        if not self.file:
            raise UserError("embedding_head: no weights: name them with file, a .safetensors or torch file")
        return Path(self.file).expanduser()


class HeadScorer:
    def __init__(self, head: EmbeddingHead, layers: Sequence[Layer], stamp: Mapping[str, str]) -> None:
        self._head, self._layers, self._stamp = head, layers, stamp

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        vectors = [image.one(self._head.embeddings, "embedding") for image in images]
        known = [vector for vector in vectors if vector is not None]
        scores = iter(self._scores(np.array(known, np.float32)) if known else ())
        missing = Dropped(Reason.UNSUITABLE_IMAGE, f"no embedding in {self._head.embeddings}")
        return [missing if vector is None else {"score": float(next(scores)), **self._stamp} for vector in vectors]

    def _scores(self, x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        expected = self._layers[0][0].shape[1]
        if x_ND.shape[1] != expected:
            raise UserError(
                f"{self._head.file}: takes embeddings of {expected} numbers, "
                f"those of {self._head.embeddings} have {x_ND.shape[1]}"
            )
        for number, (weight_OI, bias_O) in enumerate(self._layers):
            if number and self._head.hidden == "relu":
                x_ND = np.maximum(x_ND, 0)
            x_ND = x_ND @ weight_OI.T + bias_O
        if self._head.activation == "sigmoid":
            x_ND = np.reciprocal(1 + np.exp(-x_ND))
        elif self._head.activation == "softmax":
            powers_ND = np.exp(x_ND - x_ND.max(axis=1, keepdims=True))
            x_ND = powers_ND / powers_ND.sum(axis=1, keepdims=True)
        return x_ND[:, self._head.output]


def read_linear_layers(path: Path) -> list[Layer]:
    """Returns the (weight_OI, bias_O) pairs of a file in the order of their names, numbers counted as numbers.

    Raises UserError if the file is missing, cannot be read, or holds anything but linear layers.
    """
    tensors = _read_tensors(path)
    ends = {name: name.rpartition(".")[2] for name in tensors}
    if not tensors or set(ends.values()) - {"weight", "bias"}:
        raise UserError(f"{path}: expected the weights and biases of linear layers, found {_shapes(tensors)}")
    layers = []
    for name in sorted((name for name, end in ends.items() if end == "weight"), key=_by_number):
        weight_OI = tensors[name]
        bias_O = tensors.get(f"{name.removesuffix('weight')}bias", np.zeros(len(weight_OI), np.float32))
        if weight_OI.ndim != 2 or bias_O.shape != weight_OI.shape[:1]:
            raise UserError(f"{path}: {name} is no linear layer; the file has {_shapes(tensors)}")
        layers.append((weight_OI, bias_O))
    return layers


def chain(layers: Sequence[Layer], path: Path) -> list[Layer]:
    """Returns `layers` if each takes what the one before gives. Raises UserError, with their shapes, if not."""
    sizes = [weight_OI.shape[::-1] for weight_OI, _ in layers]
    if any(before[1] != after[0] for before, after in pairwise(sizes)):
        shown = ", ".join(f"{given} to {made}" for given, made in sizes)
        raise UserError(f"{path}: its layers do not follow one another: {shown}")
    return list(layers)


def _read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return {name: np.asarray(array, np.float32) for name, array in load_file(path).items()}
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float().numpy() for name, tensor in state.items()}
    except ImportError as error:
        raise UserError(f"{path}: reading a torch file needs torch: pip install 'x2i[models]'") from error
    except Exception as error:
        raise UserError(f"{path}: cannot be read as tensors: {type(error).__name__}: {error}") from error


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _shapes(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in list(tensors.items())[:8]) or "nothing"

"""Heads over embeddings give what torch computes with the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.support.annotating import of_column
from x2i.annotate.embedding_head import EmbeddingHead
from x2i.errors import UserError
from x2i.models.weights import sha256_of_file
from x2i.reasons import Reason

SIZES = (768, 1024, 128, 64, 16, 1)
"""Of LAION's aesthetic predictor, whose state dict numbers the layers 0, 2, 4, 6, 7: dropouts stand between them."""


def vectors(count: int, size: int) -> np.ndarray:
    random = np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def scored(head: EmbeddingHead, embeddings: np.ndarray) -> np.ndarray:
    rows = of_column(head, head.embeddings, [{"embedding": vector.tolist()} for vector in embeddings])
    return np.array([row["score"] for row in rows])


def save(path: Path, state: Mapping[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(dict(state), path)
    return path


class Predictor(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [torch.nn.Linear(a, b) for a, b in pairwise(SIZES)]
        drop = torch.nn.Dropout()
        self.layers = torch.nn.Sequential(
            parts[0], drop, parts[1], drop, parts[2], drop, parts[3], parts[4]
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_layout_of_laions_aesthetic_predictor(tmp_path, suffix):
    torch.manual_seed(0)
    model = Predictor().eval()
    assert list(model.state_dict())[::2] == [f"layers.{number}.weight" for number in (0, 2, 4, 6, 7)]
    file = save(tmp_path / f"aesthetic{suffix}", model.state_dict())
    embeddings = vectors(5, 768)
    expected = model(torch.tensor(embeddings)).detach().numpy()[:, 0]
    found = scored(EmbeddingHead(file=str(file), embeddings="embeddings_clip"), embeddings)
    assert np.abs(found - expected).max() < 1e-6
    assert np.ptp(expected) > 1e-3
    alone = [scored(EmbeddingHead(file=str(file)), embeddings[n : n + 1])[0] for n in range(5)]
    assert np.abs(found - alone).max() < 1e-6


@pytest.mark.parametrize(("activation", "function"), [("none", lambda x: x), ("sigmoid", torch.sigmoid)])
def test_a_linear_layer_alone_with_and_without_bias(tmp_path, activation, function):
    torch.manual_seed(1)
    embeddings = vectors(4, 32)
    for bias in (True, False):
        model = torch.nn.Linear(32, 1, bias=bias)
        file = save(tmp_path / "linear.safetensors", model.state_dict())
        expected = function(model(torch.tensor(embeddings))).detach().numpy()[:, 0]
        found = scored(EmbeddingHead(file=str(file), activation=activation), embeddings)
        assert np.abs(found - expected).max() < 1e-6


def test_hidden_layers_with_relu_and_one_of_several_outputs_in_half_precision(tmp_path):
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    file = save(tmp_path / "head.pt", state)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    expected = model(torch.tensor(vectors(4, 16))).softmax(dim=1).detach().numpy()
    for output in range(3):
        head = EmbeddingHead(file=str(file), hidden="relu", activation="softmax", output=output)
        assert np.abs(scored(head, vectors(4, 16)) - expected[:, output]).max() < 1e-6


def test_more_than_ten_layers_keep_their_order(tmp_path):
    torch.manual_seed(3)
    model = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(12)])
    file = save(tmp_path / "deep.safetensors", model.state_dict())
    expected = model(torch.tensor(vectors(3, 8))).detach().numpy()[:, 0]
    assert np.abs(scored(EmbeddingHead(file=str(file)), vectors(3, 8)) - expected).max() < 1e-6


def test_rows_name_the_weights_and_images_without_an_embedding_are_told(tmp_path):
    file = save(tmp_path / "head.safetensors", torch.nn.Linear(4, 1).state_dict())
    head = EmbeddingHead(file=str(file))
    row, nothing = of_column(head, "embeddings", [{"embedding": [1.0, 0, 0, 0]}, {"embedding": None}])
    assert (row["head"], row["revision"]) == ("head.safetensors", sha256_of_file(file))
    assert head.config()["revision"] == sha256_of_file(file)
    assert nothing.reason is Reason.UNSUITABLE_IMAGE


def test_files_that_do_not_fit_are_refused_in_words(tmp_path):
    with pytest.raises(UserError, match=r"/no/such/head.pth: no such file"):
        EmbeddingHead(file="/no/such/head.pth").config()
    with pytest.raises(UserError, match="no weights: name them with file"):
        EmbeddingHead().load()
    broken = save(tmp_path / "broken.safetensors", {"a.weight": torch.ones(4, 8), "b.weight": torch.ones(1, 5)})
    with pytest.raises(UserError, match=r"do not follow one another: 8 to 4, 5 to 1"):
        EmbeddingHead(file=str(broken)).load()
    norm = save(tmp_path / "norm.safetensors", {"weight": torch.ones(8), "running_mean": torch.ones(8)})
    with pytest.raises(
        UserError, match=r"expected the weights and biases of linear layers, found .*running_mean \[8\]"
    ):
        EmbeddingHead(file=str(norm)).load()
    (tmp_path / "text.pth").write_text("no tensors")
    with pytest.raises(UserError, match=r"text.pth: cannot be read as tensors"):
        EmbeddingHead(file=str(tmp_path / "text.pth")).load()
    small = save(tmp_path / "small.safetensors", torch.nn.Linear(8, 2).state_dict())
    with pytest.raises(UserError, match="takes embeddings of 8 numbers, those of embeddings have 4"):
        scored(EmbeddingHead(file=str(small)), vectors(1, 4))
    with pytest.raises(UserError, match="output 2 was asked for, but the head has 2"):
        EmbeddingHead(file=str(small), output=2).load()


def test_a_torch_file_with_code_in_it_is_not_run(tmp_path):
    torch.save({"weight": torch.ones(1, 4), "code": Path("/tmp")}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"code.pth: cannot be read as tensors: UnpicklingError"):
        EmbeddingHead(file=str(tmp_path / "code.pth")).load()

"""Grounding DINO by groundingdino-py on transformers 5, a small network of random weights."""

from __future__ import annotations

import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from tests.support.photos import photo
from tests.support.tiny_detectors import save_groundingdino
from tests.support.tiny_models import save_linear_head
from x2i.errors import UserError
from x2i.models.registry import Ability, backend, load

pytest.importorskip("groundingdino")
pytest.importorskip("addict")

PHRASES = ["red car", "cup of coffee", "cat"]
SMALL = {"side": 64, "longest_side": 96, "threshold": 0.01}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_groundingdino(tmp_path_factory.mktemp("groundingdino"))


def named(tiny, **options):
    rest = {name: value for name, value in tiny.items() if name != "model"}
    return Ability.DETECTOR, f"groundingdino-py:{tiny['model']}", {**rest, **SMALL, **options}


def test_it_finds_what_the_library_finds(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", MagicMock())  # it only draws with it
    from groundingdino.datasets import transforms
    from groundingdino.util.inference import predict
    from PIL import Image

    detector, image = load(*named(tiny)), photo("coffee", 128)
    (found,) = detector.detect([image], [PHRASES])
    steps = transforms.RandomResize([64], max_size=96), transforms.ToTensor()
    transform = transforms.Compose([*steps, transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    pixels, prompt = transform(Image.fromarray(image), None)[0], "Red car. cup of coffee. cat"
    boxes, scores, words = predict(detector._model, pixels, prompt, 0.01, 0.01, device="cpu")
    assert len(found) == len(boxes) > 3
    order = scores.argsort(descending=True, stable=True)
    assert np.allclose([d.score for d in found], scores[order], atol=1e-5)
    size = np.array([image.shape[1], image.shape[0]] * 2)
    for detection, (x, y, w, h), label in zip(found, boxes[order].numpy(), [words[n] for n in order], strict=True):
        corners = np.clip(np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * size, 0, size)
        assert np.abs(np.array([*vars(detection.box).values()]) - corners).max() <= 1
        told = set(label.split()) - {"[CLS]", "[SEP]"}
        assert not told or told & {"[UNK]", *detection.phrase.split()}


def test_text_is_encoded_as_transformers_encodes_it():
    from transformers import BertConfig, BertModel

    from x2i.models.groundingdino.text_encoder import TextEncoder

    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)).eval()
    tokens, places = torch.randint(40, (2, 9)), torch.tensor([[0, 0, 1, 2, 0, 1, 2, 3, 0]] * 2)
    seen = torch.block_diag(*(torch.ones(size, size) for size in (1, 3, 4, 1))).bool().repeat(2, 1, 1)
    with torch.no_grad():
        ours = TextEncoder(bert)(tokens, seen, position_ids=places)["last_hidden_state"]
        theirs = bert(tokens, attention_mask=seen[:, None], position_ids=places).last_hidden_state
        unmasked = bert(tokens, position_ids=places).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, unmasked, atol=1e-2)


def test_a_batch_of_several_sizes_and_phrases_is_as_its_images_alone(tiny):
    detector = load(*named(tiny))
    coffee = photo("coffee", 128)
    images = [coffee, photo("astronaut", 96), coffee[:, ::-1].copy(), coffee, coffee[::-1].copy()]
    phrases = [PHRASES, ["astronaut"], ["table", "coffee", "a red flag"], [], PHRASES]
    together = detector.detect(images, phrases)
    assert together[3] == []
    for image, words, found in zip(images, phrases, together, strict=True):
        (alone,) = detector.detect([image], [words])
        assert [(d.box, d.phrase) for d in found] == [(d.box, d.phrase) for d in alone]
        assert np.allclose([d.score for d in found], [d.score for d in alone], atol=1e-4)
        assert {d.phrase for d in found} <= set(words)


def test_the_weights_and_the_network_decide_what_it_is_called(tiny):
    one = backend(*named(tiny)).resolve()
    assert one == backend(*named(tiny, batch=2)).resolve()
    assert one != backend(*named(tiny, config="GroundingDINO_SwinT_OGC")).resolve()


def test_a_file_that_is_missing_or_holds_another_network_is_told_in_words(tiny, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth: no such file"):
        backend(*named({**tiny, "model": tmp_path / "nowhere.pth"})).resolve()
    other = save_linear_head(tmp_path / "head.safetensors", 4)
    with pytest.raises(UserError, match=r"head\.safetensors: not the weights of this network .* such as "):
        load(*named({**tiny, "model": other}))
    (tmp_path / "head.pth").write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"head\.pth: cannot be read as tensors"):
        load(*named({**tiny, "model": tmp_path / "head.pth"}))


def test_a_package_that_is_missing_is_told_with_the_line_to_type(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "groundingdino", None)
    with pytest.raises(
        UserError, match=r"pip install 'x2i\[groundingdino\]' && pip install --no-deps groundingdino-py"
    ):
        backend(*named(tiny)).resolve()

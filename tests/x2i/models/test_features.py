"""Embeddings and image-text scores of transformers and open_clip, on tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.photos import photo
from tests.support.tiny_models import save_dinov2, save_dinov3, save_open_clip_model, save_siglip, save_siglip2
from x2i.models.registry import Ability, load

NAMES = ("chelsea", "coffee", "astronaut")
TEXTS = ["a cat", "a cup of coffee on a table", "an astronaut in a suit"]
SAVED = {
    "hf dinov2": save_dinov2,
    "hf dinov3": save_dinov3,
    "hf siglip": save_siglip,
    "hf siglip2": save_siglip2,
    "open_clip": save_open_clip_model,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    return {name: save(root / name.replace(" ", "_")) for name, save in SAVED.items()}


def images():
    return [photo(name) for name in NAMES]


@pytest.mark.parametrize("name", SAVED)
def test_embeddings_are_unit_vectors_that_do_not_depend_on_the_batch(folders, name):
    embedder = load(Ability.IMAGE_EMBEDDER, f"{name.split()[0]}:{folders[name]}")
    vectors_ND = embedder.embed(images())
    alone_ND = np.concatenate([embedder.embed([image]) for image in images()])
    assert vectors_ND.shape == (3, embedder.dimensions)
    assert np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)
    assert np.abs(vectors_ND - alone_ND).max() < 1e-4
    assert np.abs(vectors_ND[0] - vectors_ND[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["hf dinov2", "hf dinov3"])
def test_dino_gives_its_pooled_output(folders, name):
    from transformers import AutoImageProcessor, AutoModel

    folder = folders[name]
    model, processor = AutoModel.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        pooled_ND = model(**processor(images=images(), return_tensors="pt")).pooler_output
    expected_ND = torch.nn.functional.normalize(pooled_ND, dim=1).numpy()
    assert np.abs(load(Ability.IMAGE_EMBEDDER, f"hf:{folder}").embed(images()) - expected_ND).max() < 1e-5


@pytest.mark.parametrize("name", ["hf siglip", "hf siglip2"])
def test_siglip_scores_are_the_cosines_behind_its_logits(folders, name):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = folders[name]
    model, processor = AutoModel.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding="max_length", max_length=12, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**tokens, **processor(images=images(), return_tensors="pt")).logits_per_image.diagonal()
        expected = ((logits - model.logit_bias) / model.logit_scale.exp()).numpy()
    scorer = load(Ability.IMAGE_TEXT_SCORER, f"hf:{folder}")
    scores = scorer.score(images(), TEXTS)
    assert np.abs(scores - expected).max() < 1e-5
    alone = [scorer.score([image], [text])[0] for image, text in zip(images(), TEXTS)]
    assert np.abs(scores - alone).max() < 1e-4

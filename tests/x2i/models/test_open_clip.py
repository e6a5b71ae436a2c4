"""open_clip as image-text scorer, on a tiny network of random weights."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from tests.support.photos import photo
from tests.support.tiny_models import save_open_clip_model
from x2i.errors import UserError
from x2i.models.registry import Ability, backend, load

TEXTS = ["a cat", "a cup of coffee on a table", "an astronaut"]
NAMES = ("chelsea", "coffee", "astronaut")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_open_clip_model(tmp_path_factory.mktemp("open_clip") / "tiny")


def test_scores_are_those_of_the_library(folder):
    images = [photo(name) for name in NAMES]
    scores = load(Ability.IMAGE_TEXT_SCORER, f"open_clip:{folder}").score(images, TEXTS)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        pixels = torch.stack([transform(Image.fromarray(image)) for image in images])
        image, text = model.encode_image(pixels), model.encode_text(open_clip.tokenize(TEXTS, context_length=24))
    expected = torch.nn.functional.cosine_similarity(image, text).numpy()
    assert np.abs(scores - expected).max() < 1e-6
    assert np.ptp(scores) > 1e-3


def test_a_batch_scores_as_its_images_alone(folder):
    scorer = load(Ability.IMAGE_TEXT_SCORER, f"open_clip:{folder}")
    images = [photo(name) for name in NAMES]
    alone = [scorer.score([image], [text])[0] for image, text in zip(images, TEXTS)]
    assert np.abs(scorer.score(images, TEXTS) - alone).max() < 1e-5


def test_other_weights_have_another_revision(folder, tmp_path):
    other = save_open_clip_model(tmp_path / "other", seed=1)
    one, two = (backend(Ability.IMAGE_TEXT_SCORER, f"open_clip:{path}").resolve() for path in (folder, other))
    assert one != two


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:ViT-Z-9/openai", "no architecture"),
        ("open_clip:ViT-B-32/nowhere", "'nowhere' is no tag of ViT-B-32: openai"),
        ("open_clip:ViT-B-32=/no/such/file.pt", "/no/such/file.pt: no weights there"),
    ],
)
def test_a_model_that_cannot_be_found_is_told_in_words(name, message):
    with pytest.raises(UserError, match=message):
        backend(Ability.IMAGE_TEXT_SCORER, name).resolve()

"""Captions by a vision-language model of transformers, on a tiny network of random weights."""

from __future__ import annotations

import pytest
import torch

from tests.support.photos import photo
from tests.support.tiny_models import save_vision_language_model
from x2i.models.abilities import Caption, PageText
from x2i.models.prompts import PROMPTS
from x2i.models.registry import Ability, load
from x2i.reasons import Dropped, Reason

NAMES = ("chelsea", "coffee", "rocket")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_vision_language_model(tmp_path_factory.mktemp("vlm") / "tiny")


def captioner(folder, **options):
    return load(Ability.CAPTIONER, f"hf:{folder}", options)


def answered(found, folder, image, tokens):
    """What a direct call of the library says about one image."""
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    content = [{"type": "image", "image": Image.fromarray(image)}, {"type": "text", "text": PROMPTS["short"]}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
        return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        said = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    return processor.tokenizer.decode(said[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def texts(found):
    return [one.text if isinstance(one, Caption) else (one.reason, one.detail) for one in found]


def test_captions_are_what_the_library_generates(folder, monkeypatch):
    image = photo("coffee")
    monkeypatch.setattr("x2i.models.hf.captioner.caption_of", lambda text, finish, schema: Caption(text, finish))
    (found,) = captioner(folder, max_tokens=12).caption([image], [PageText()])
    assert found.text == answered(found, folder, image, 12)
    assert found.answer_tokens <= 12
    assert found.prompt_tokens > 20


def test_a_batch_says_what_its_images_say_alone(folder, monkeypatch):
    monkeypatch.setattr("x2i.models.hf.captioner.caption_of", lambda text, finish, schema: Caption(text, finish))
    images = [photo(name) for name in NAMES]
    model = captioner(folder, max_tokens=8)
    together = model.caption(images, [PageText()] * 3)
    alone = [model.caption([image], [PageText()])[0] for image in images]
    assert texts(together) == texts(alone)


def test_an_answer_that_was_cut_is_a_verdict(folder):
    (found,) = captioner(folder, max_tokens=2).caption([photo("coffee")], [PageText()])
    assert isinstance(found, Dropped)
    assert found.reason is Reason.ANSWER_TRUNCATED

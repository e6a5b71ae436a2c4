"""The tokenizer of words: short prompts, an encoding for every text, and a model folder that carries its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from omnigen.data.shards.catalog import Catalog
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.prompt import build_prompt
from omnigen.tokenizer import ByteTokenizer, WordTokenizer, load_tokenizer
from omnigen.train.config import load_config
from omnigen.train.run import estimate, train_settings
from tests.support.training_runs import write_config
from tests.support.training_shards import make_shards
from x2i.errors import UserError

TEXTS = [
    "A red circle on the left.",
    "a blue circle on the right",
    "Make the red circle blue.",
    "Color it: red, blue.",
] * 2


@pytest.fixture
def words(tmp_path: Path) -> WordTokenizer:
    return WordTokenizer.train(TEXTS, tmp_path / "words")


def test_a_word_is_one_token_whatever_its_case_and_place(words: WordTokenizer) -> None:
    first, again = words.encode("Red circle"), words.encode("  red \n CIRCLE")
    assert first == again
    assert len(first) == 3
    assert first[0] == words.bos_id


def test_special_strings_keep_one_token_each(words: WordTokenizer) -> None:
    ids = [words.encode(text) for text in ByteTokenizer.SPECIALS]
    assert all(len(one) == 2 for one in ids)
    assert len({one[1] for one in ids}) == len(ids)
    prompt = build_prompt("Make <img><|image_1|></img> blue.", words)
    assert prompt.image_numbers == (1,)
    text = "Make the red circle blue."
    assert build_prompt(text, words).num_tokens < build_prompt(text, ByteTokenizer()).num_tokens / 2


def test_every_text_has_an_encoding_and_other_texts_another(words: WordTokenizer) -> None:
    strange = ["xyzzy", "café", "日本", "", "🙂", "redd", "re d"]
    encoded = [tuple(words.encode(text)) for text in strange]
    assert len(set(encoded)) == len(strange)
    assert all(0 <= number < words.vocab_size for one in encoded for number in one)


def test_equal_texts_make_equal_tokenizers_and_a_name_leads_back(words: WordTokenizer, tmp_path: Path) -> None:
    again = WordTokenizer.train(iter(TEXTS), tmp_path / "again")
    assert again.fingerprint == words.fingerprint
    assert load_tokenizer(words.name).encode("red circle") == words.encode("red circle")
    assert WordTokenizer.train(TEXTS[:2], tmp_path / "other").fingerprint != words.fingerprint


def test_a_folder_without_one_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer loads"):
        load_tokenizer(f"words:{tmp_path}")
    with pytest.raises(UserError, match="no such tokenizer"):
        load_tokenizer("words")


def test_a_run_trains_its_own_and_its_model_can_be_moved(tmp_path: Path) -> None:
    data = make_shards(tmp_path / "data", ("text_to_image", "colorize"))
    config = write_config(tmp_path / "run.yaml", data, model={"tokenizer": "words"}, train={"steps": 1})
    settings = load_config(config)
    assert "MB" in estimate(settings)
    run = train_settings(settings, "auto", tmp_path / "run")
    mtime = (run / "model" / "config.json").stat().st_mtime_ns
    train_settings(settings, "auto", run)  # finished: the same words lead to the same settings
    assert (run / "model" / "config.json").stat().st_mtime_ns == mtime
    assert json.loads((run / "model" / "config.json").read_text())["tokenizer"] == "words:./tokenizer"
    shutil.move(run / "model", tmp_path / "moved")
    shutil.rmtree(run)
    pipeline = OmniGenPipeline.from_pretrained(tmp_path / "moved")
    assert isinstance(pipeline.tokenizer, WordTokenizer)
    first = str(Catalog.open([data], 0, 0).instructions[0])
    assert pipeline.tokenizer.vocab_size == pipeline.model.config.vocab_size
    assert len(pipeline.tokenizer.encode(first)) < len(ByteTokenizer().encode(first))

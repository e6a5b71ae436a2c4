"""Tokenizers, and the template that OmniGen was trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnigen.network.config import PRESETS
from omnigen.prompt import PREFIX, SUFFIX, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import ByteTokenizer, load_tokenizer
from x2i.errors import UserError

INSTRUCTION = "The dog of <img><|image_1|></img> wears <img><|image_2|></img>."


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama-like tokenizer of `transformers`, small, that puts <s> (id 1) first, as Phi-3's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*PREFIX.split(), *SUFFIX.split(), "<img>", "</img>", "The", "dog", "of", "wears", ".", "<cfg>", "make"]
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *dict.fromkeys(words)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    specials = {"additional_special_tokens": ["<|user|>", "<|end|>", "<|assistant|>", "<|diffusion|>"]}
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.add_special_tokens(specials)
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    return folder


def text_of(ids: tuple[int, ...]) -> str:
    """Reads the ids of a ByteTokenizer back."""
    parts = [
        ByteTokenizer.SPECIALS[i - 2].encode() if 2 <= i < 16 else bytes([i - 16]) if i >= 16 else b"<s>" for i in ids
    ]
    return b"".join(parts).decode()


def test_the_pieces_are_the_template_cut_at_the_image_marks() -> None:
    prompt = build_prompt(INSTRUCTION, ByteTokenizer())
    assert [text_of(piece) for piece in prompt.pieces] == [
        f"<s>{PREFIX}The dog of <img>",
        "</img> wears <img>",
        f"</img>.{SUFFIX}",
    ]
    assert prompt.image_numbers == (1, 2)
    assert prompt.num_tokens == sum(map(len, prompt.pieces))


def test_an_image_may_be_marked_twice_and_in_any_order() -> None:
    assert build_prompt("<|image_2|> a <|image_1|> b <|image_2|>", ByteTokenizer()).image_numbers == (2, 1, 2)


def test_a_number_in_other_digits_than_ours_is_text() -> None:
    assert build_prompt("like <|image_\u0661|>", ByteTokenizer()).image_numbers == ()  # an Arabic one


def test_a_gap_in_the_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="from 1 without a gap"):
        build_prompt("<img><|image_2|></img> make it snow", ByteTokenizer())


def test_the_other_branches_of_guidance() -> None:
    tokenizer = ByteTokenizer()
    assert [text_of(piece) for piece in unconditional_prompt(tokenizer).pieces] == [f"<s>{PREFIX}<cfg>{SUFFIX}"]
    images_only = images_only_prompt(2, tokenizer)
    assert "".join(map(text_of, images_only.pieces)) == f"<s>{PREFIX}<img></img> <img></img>{SUFFIX}"
    assert images_only.image_numbers == (1, 2)


def test_bytes_need_one_id_for_each_fixed_string_of_the_template() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode(PREFIX + "é" + SUFFIX) == [1, 2, 3, 0xC3 + 16, 0xA9 + 16, 4, 5, 6]
    assert tokenizer.encode("\xff\x00🐕")[0] == 1
    assert max(tokenizer.encode("".join(map(chr, range(256))))) < tokenizer.vocab_size == PRESETS["tiny"].vocab_size


def test_a_hugging_face_tokenizer_gives_later_pieces_without_a_beginning(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(f"hf:{tokenizer_folder}")
    prompt = build_prompt(INSTRUCTION, tokenizer)
    assert tokenizer.bos_id == 1
    assert prompt.pieces[0][0] == 1
    assert all(1 not in piece for piece in (prompt.pieces[0][1:], *prompt.pieces[1:]))
    wears = tokenizer.encode("wears")[1]
    assert wears in prompt.pieces[1]
    assert max(id_ for piece in prompt.pieces for id_ in piece) < tokenizer.vocab_size
    assert tokenizer.name == f"hf:{tokenizer_folder}"


@pytest.mark.parametrize("name", ["byte", "hf:", "spm:x"])
def test_an_unknown_tokenizer_is_a_user_error(name: str) -> None:
    with pytest.raises(UserError, match="expected 'bytes', 'words:<folder>' or 'hf:"):
        load_tokenizer(name)


def test_a_missing_tokenizer_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        load_tokenizer(f"hf:{tmp_path}")

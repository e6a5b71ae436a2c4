"""Text to token ids: bytes by default, words of the dataset's own instructions, or any Hugging Face tokenizer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.store.files.atomic import write_bytes

WORDS = "words"


class Tokenizer(Protocol):
    """Turns one piece of a prompt into ids in [0, vocab_size).

    name: what `load_tokenizer` takes to give this tokenizer again.
    bos_id: the id that `encode` puts first, or None if this tokenizer has none.
    fingerprint: a sha256 in hex; tokenizers of one fingerprint give the same ids, wherever they lie.
    """

    @property
    def name(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def bos_id(self) -> int | None: ...
    @property
    def fingerprint(self) -> str: ...

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text` as a whole input of its own, beginning with `bos_id`."""
        ...


class ByteTokenizer:
    """UTF-8 bytes, with one id for each fixed string of the prompt template.

    Ids: 0 unused, 1 beginning of sequence, 2 to 15 the special strings in the order of `SPECIALS` (the rest unused),
    16 to 271 the bytes 0 to 255. Every text has an encoding and no file is needed.
    """

    SPECIALS = (
        "<|user|>\n",
        "Generate an image according to the following instructions\n",
        "<|end|>\n",
        "<|assistant|>\n",
        "<|diffusion|>",
        "<img>",
        "</img>",
        "<cfg>",
    )
    FIRST_SPECIAL = 2
    FIRST_BYTE = 16

    name = "bytes"
    vocab_size = FIRST_BYTE + 256
    bos_id: int | None = 1
    fingerprint = hashlib.sha256(canonical_json(["bytes", FIRST_SPECIAL, FIRST_BYTE, SPECIALS]).encode()).hexdigest()

    def __init__(self) -> None:
        self._special_ids = {text: self.FIRST_SPECIAL + i for i, text in enumerate(self.SPECIALS)}
        self._split = re.compile("(" + "|".join(re.escape(text) for text in self.SPECIALS) + ")")

    def encode(self, text: str) -> list[int]:
        ids = [1]
        for part in self._split.split(text):
            if part in self._special_ids:
                ids.append(self._special_ids[part])
            else:
                ids.extend(byte + self.FIRST_BYTE for byte in part.encode())
        return ids


class WordTokenizer:
    """Words in small letters, as they stand in the instructions that it was trained on; a few tokens an instruction.

    folder: holds its tokenizer.json, in the format of the `tokenizers` library. Spaces count nothing, and a word that
    was never met is cut into pieces, at worst into bytes, so every text has an encoding.
    """

    FILE = "tokenizer.json"
    MOST_WORDS = 8192
    START = "<s>"

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer = _tokenizers().Tokenizer.from_file(str(folder / self.FILE))
        except Exception as error:  # the library raises nothing narrower
            raise UserError(
                f"tokenizer 'words:{folder}': no tokenizer loads from {folder / self.FILE}: {error}"
            ) from error
        self.folder = folder
        self.name = f"words:{folder}"
        self.vocab_size: int = max(self._tokenizer.get_vocab().values()) + 1
        self.bos_id: int | None = self._tokenizer.token_to_id(self.START)

    @classmethod
    def train(cls, texts: Iterable[str], folder: Path) -> WordTokenizer:
        """Trains on instructions, writes the file into `folder`, returns the tokenizer; equal texts, equal bytes."""
        library = _tokenizers()
        pieces = library.pre_tokenizers
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = pieces.Sequence(
            [pieces.Whitespace(), pieces.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        trainer = library.trainers.BpeTrainer(
            vocab_size=cls.MOST_WORDS,
            min_frequency=2,
            special_tokens=[cls.START, *ByteTokenizer.SPECIALS],
            initial_alphabet=sorted(pieces.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        write_bytes(folder / cls.FILE, tokenizer.to_str(pretty=True).encode())
        return cls(folder)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(canonical_json(["words", self._tokenizer.to_str()]).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        assert self.bos_id is not None
        return [self.bos_id, *self._tokenizer.encode(text).ids]

    def copy_to(self, folder: Path) -> None:
        """Writes the same tokenizer into another folder."""
        write_bytes(folder / self.FILE, (self.folder / self.FILE).read_bytes())


class HFTokenizer:
    """A tokenizer of the `transformers` library, from a local folder or a hub id; code from the hub is never run."""

    def __init__(self, path: str) -> None:
        try:
            from transformers import AutoConfig, AutoTokenizer, PretrainedConfig
        except ImportError as error:
            raise UserError(
                f"tokenizer 'hf:{path}' needs the transformers library: pip install 'x2i[models]'"
            ) from error
        try:
            try:
                self._tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            except KeyError:
                # transformers 5 does not read the published config.json, whose LongRoPE is called by its old name, su;
                # of it the tokenizer needs the kind of model alone.
                kind = PretrainedConfig.get_config_dict(path)[0].get("model_type")
                config = AutoConfig.for_model(kind)
                self._tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, config=config)
        except (OSError, ValueError) as error:
            raise UserError(
                f"tokenizer 'hf:{path}': nothing loadable there ({error}). Give a folder that holds tokenizer.json, "
                f"or a hub id such as hf:Shitao/OmniGen-v1"
            ) from error
        self.name = f"hf:{path}"
        self.bos_id: int | None = self._tokenizer.bos_token_id
        self.vocab_size: int = max(self._tokenizer.get_vocab().values()) + 1

    @cached_property
    def fingerprint(self) -> str:
        """Of the whole pipeline of a fast tokenizer; of one in Python, of its class, vocabulary and special tokens."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        vocabulary = sorted(self._tokenizer.get_vocab().items()) if backend is None else backend.to_str()
        special = {name: str(value) for name, value in self._tokenizer.special_tokens_map.items()}
        identity = [type(self._tokenizer).__name__, self.bos_id, special, repr(vocabulary)]
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        ids: list[int] = list(self._tokenizer(text).input_ids)
        if self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids.insert(0, self.bos_id)
        return ids


def load_tokenizer(name: str) -> Tokenizer:
    """Returns the tokenizer `bytes`, `words:<folder>` or `hf:<folder or hub id>`. Raises UserError for other names."""
    if name == ByteTokenizer.name:
        return ByteTokenizer()
    family, _, path = name.partition(":")
    if family == WORDS and path:
        return WordTokenizer(Path(path))
    if family == "hf" and path:
        return HFTokenizer(path)
    raise UserError(
        f"tokenizer {name!r}: no such tokenizer; expected 'bytes', 'words:<folder>' or 'hf:<folder or hub id>'"
    )


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.normalizers
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise UserError("the tokenizer of words needs the tokenizers library: pip install 'x2i[train]'") from error
    return tokenizers

"""Text to token ids: bytes with a few special tokens by default, any Hugging Face tokenizer by configuration."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Protocol

from x2i.errors import UserError
from x2i.sample import canonical_json


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
    """Returns the tokenizer `bytes` or `hf:<folder or hub id>`. Raises UserError for any other name."""
    if name == ByteTokenizer.name:
        return ByteTokenizer()
    family, _, path = name.partition(":")
    if family == "hf" and path:
        return HFTokenizer(path)
    raise UserError(f"tokenizer {name!r}: no such tokenizer; expected 'bytes' or 'hf:<folder or hub id>'")

"""`spacy:MODEL`: the noun phrases that a spaCy model finds in captions of its language."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from x2i.errors import UserError
from x2i.models.backend import Backend
from x2i.models.weights import sha256_of_file

LEFT_OUT = frozenset({"DET", "PRON", "NUM", "PUNCT"})


@dataclass(frozen=True)
class SpacyPhrases(Backend):
    """spaCy's noun chunks, without what stands before them as article, pronoun or number, in lower case."""

    title: ClassVar[str] = "Noun phrases by a spaCy model: an installed one such as en_core_web_sm, or a folder"
    extra: ClassVar[str] = "spacy"
    open_names: ClassVar[bool] = True

    def resolve(self) -> str:
        """Returns the sha256 over the model's files."""
        total = hashlib.sha256()
        folder = Path(self._pipeline().path)
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            total.update(f"{file.relative_to(folder)} {sha256_of_file(file)}\n".encode())
        return total.hexdigest()

    def load(self) -> LoadedSpacy:
        return LoadedSpacy(self._pipeline())

    def _pipeline(self) -> Any:
        spacy = self.require("spacy")
        try:
            return spacy.load(self.model)
        except OSError as error:
            raise UserError(f"spaCy model {self.model!r}: neither an installed package nor a folder here") from error


class LoadedSpacy:
    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def phrases(self, captions: Sequence[str]) -> list[list[str]]:
        """Returns the noun phrases of each caption, each once."""
        return [
            list(dict.fromkeys(phrase for chunk in document.noun_chunks if (phrase := _phrase(chunk))))
            for document in self._pipeline.pipe(captions)
        ]


def _phrase(chunk: Any) -> str:
    tokens = list(chunk)
    while tokens and tokens[0].pos_ in LEFT_OUT:
        tokens.pop(0)
    return " ".join(token.text.lower() for token in tokens)

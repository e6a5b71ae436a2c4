"""`py3langid`: the language of a text by the byte sequences in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from x2i.models.abilities import Language, LanguageDetector
from x2i.models.packaged import PackagedBackend


@dataclass(frozen=True)
class Py3LangId(PackagedBackend):
    """langid.py (Lui and Baldwin, ACL 2012) as the package py3langid keeps it. Short texts are often told wrongly."""

    title: ClassVar[str] = "Language by py3langid, ISO 639-1 codes"
    extra: ClassVar[str] = "lang"
    license: ClassVar[str] = "BSD-3-Clause"
    package: ClassVar[str] = "py3langid"
    weights: ClassVar[Mapping[str, str]] = {
        "data/model.npz.xz": "f4f4a2c3465ca1f081541037f9cac23021d68151c2f709c55ae5eedfca522963"
    }

    def load(self) -> LanguageDetector:
        (path,) = self.files()
        return LoadedLangId(
            self.require("py3langid.langid").LanguageIdentifier.from_modelpath(str(path), norm_probs=True)
        )


class LoadedLangId:
    def __init__(self, identifier: Any) -> None:
        self._identifier = identifier

    def languages(self, texts: Sequence[str]) -> list[Language]:
        return [Language(*self._identifier.classify(text)) for text in texts]

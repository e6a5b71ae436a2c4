"""`py3langid`: the language of a text by the byte sequences in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from x2i.errors import UserError
from x2i.models.abilities import Language, LanguageDetector
from x2i.models.packaged import PackagedBackend
from x2i.options import Option


@dataclass(frozen=True)
class Py3LangId(PackagedBackend):
    """langid.py (Lui and Baldwin, ACL 2012) as py3langid keeps it. Naming the languages helps with short texts."""

    title: ClassVar[str] = "Language by py3langid, ISO 639-1 codes"
    extra: ClassVar[str] = "lang"
    license: ClassVar[str] = "BSD-3-Clause"
    package: ClassVar[str] = "py3langid"
    weights: ClassVar[Mapping[str, str]] = {
        "data/model.npz.xz": "f4f4a2c3465ca1f081541037f9cac23021d68151c2f709c55ae5eedfca522963"
    }

    languages: Annotated[
        tuple[str, ...], Option("ISO 639 codes of the only languages that come into question. Default: all it knows.")
    ] = ()

    def load(self) -> LanguageDetector:
        (path,) = self.files()
        module = self.require("py3langid.langid")
        identifier = module.LanguageIdentifier.from_modelpath(str(path), norm_probs=True)
        if unknown := set(self.languages) - set(identifier.labels):
            raise UserError(f"py3langid: languages: {sorted(unknown)[0]!r} is none of {', '.join(identifier.labels)}")
        identifier.set_languages(self.languages or None)
        return LoadedLangId(identifier)


class LoadedLangId:
    def __init__(self, identifier: Any) -> None:
        self._identifier = identifier

    def languages(self, texts: Sequence[str]) -> list[Language]:
        return [Language(*self._identifier.classify(text)) for text in texts]

"""`classic:tags`: the phrases of a caption that is a list, such as a model's answer to the prompt `tags`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from x2i.models.backend import Backend
from x2i.options import Option

_PART = re.compile(r"[,;\n|]")
_MARK = re.compile(r"^\s*(?:[-*•#]|\d+[.)])?\s*")


@dataclass(frozen=True)
class Tags(Backend):
    """Parts of a caption between commas, semicolons or line ends, without list marks, in lower case."""

    title: ClassVar[str] = "The parts of a list of tags; no weights"

    most_words: Annotated[int, Option("Longer parts are sentences and are left out.", ge=1)] = 5

    def phrases(self, captions: Sequence[str]) -> list[list[str]]:
        """Returns the tags of each caption, each once."""
        return [list(dict.fromkeys(self._tags(caption))) for caption in captions]

    def _tags(self, caption: str) -> list[str]:
        parts = (_MARK.sub("", part).strip(" \t.\"'").lower() for part in _PART.split(caption))
        return [part for part in parts if part and len(part.split()) <= self.most_words]

"""What vision-language models are asked: named prompts, and what in an answer means that it is none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from x2i.errors import UserError
from x2i.models.abilities import Caption, PageText
from x2i.options import Option
from x2i.reasons import Dropped, Reason

PROMPTS: Mapping[str, str] = {
    "short": "Describe this image in one plain sentence of at most 25 words. Name the main subject, what it does and "
    "where it is. Write the sentence alone.",
    "dense": "Describe this image in one paragraph of four to six sentences: subjects with their colors, materials and "
    "positions, their actions, the background, light and style. State only what can be seen. Write nothing else.",
    "edit": "Write one instruction for editing this image, in at most 20 words, as a person would give it: add, remove,"
    " replace or recolor something that can be seen, or change the weather, the light, the background or the style. "
    "Write the instruction alone.",
    "tags": "List what this image shows as 5 to 15 short tags, most important first, separated by commas. Write nothing"
    " else.",
}
_REFUSAL = re.compile(
    r"(^|[.!?]\s+|\n\s*)(unfortunately,? |sorry,? (but )?)?"  # where a sentence begins
    r"(i('m| am) (very |really |so )?(sorry|afraid)\b|sorry,|i apologi[sz]e|my apologies"
    r"|i('m| am)( \w+)? (unable|not able) to\b|i('m| am) an ai\b|i (do not|don't) (have|see|feel comfortable)\b"
    r"|i (can't|cannot|can not|could not|couldn't|won't|will not) (\w+ )?(access|answer|assist|comply|complete|continue"
    r"|create|describe|determine|discuss|fulfill|generate|help|identify|make|process|provide|recognize|see|view)\b"
    r"|as an? (ai|artificial|language|large language|multimodal)\b"
    r"|(no|there is no) image ((was|is|has been) )?(attached|provided|uploaded|visible))",
    re.IGNORECASE,
)
QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”")
_FENCE = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Options of every backend that is asked in words."""

    prompt: Annotated[
        str,
        Option(
            f"What to ask: {', '.join(PROMPTS)}, the path of a .txt file, or the words themselves, in which {{words}} "
            "stands for the image's own."
        ),
    ] = "short"
    max_tokens: Annotated[int, Option("Longest answer in tokens; a longer one is cut and not used.", ge=1)] = 256
    schema: Annotated[
        str, Option("A JSON schema file: the answer must be JSON that fits it, its field `caption` is the caption.")
    ] = ""

    @property
    def words(self) -> str:
        """The prompt's text. Raises UserError for a file that cannot be read."""
        if self.prompt in PROMPTS:
            return PROMPTS[self.prompt]
        if not self.prompt.endswith(".txt"):
            return self.prompt
        try:
            return Path(self.prompt).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"prompt {self.prompt}: cannot be read: {error}") from error

    def question(self) -> dict[str, Any]:
        """Returns what is asked, files read: the words, and the schema of the answer. Raises UserError as `words`."""
        return {"words": self.words, "answer": _read_schema(self.schema) if self.schema else None}


def asked(prompt: str, text: PageText) -> str:
    """Returns a prompt with the words that a source has beside the image in the place of {words}."""
    return prompt.replace("{words}", text.alt)


def caption_of(answer: str, finish: str, schema: str) -> Caption | Dropped:
    """Returns the caption that a model's answer holds, or why it holds none: cut, a refusal, not the JSON asked for.

    finish: why the model stopped: "stop" or "length". schema: as in `Question`.
    """
    text = answer.strip()
    if finish == "length":
        return Dropped(Reason.ANSWER_TRUNCATED, text[-80:])
    if is_refusal(text):
        return Dropped(Reason.ANSWER_REFUSED, text[:80])
    if schema:
        return _structured(text, finish, schema)
    return Caption(text, "model", finish=finish) if text else Dropped(Reason.NO_CAPTION, "an empty answer")


def is_refusal(text: str) -> bool:
    """Returns whether a sentence of `text`, outside of quotation marks, declines to describe a picture."""
    return _REFUSAL.search(QUOTED.sub(" ", text.replace("\u2019", "'"))) is not None


def _structured(text: str, finish: str, schema: str) -> Caption | Dropped:
    import jsonschema

    fenced = _FENCE.match(text)
    try:
        document = json.loads(fenced[1] if fenced else text)
        jsonschema.validate(document, _read_schema(schema))
    except (ValueError, jsonschema.ValidationError) as error:
        return Dropped(Reason.ANSWER_INVALID, str(error).splitlines()[0])
    caption = document.get("caption") if isinstance(document, dict) else None
    if not isinstance(caption, str) or not caption.strip():
        return Dropped(Reason.ANSWER_INVALID, "no field `caption` with text")
    return Caption(caption.strip(), "model", finish=finish)


@lru_cache(maxsize=8)
def _read_schema(path: str) -> Any:
    try:
        return json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"schema {path}: cannot be read as JSON: {error}") from error

"""Gates of edit pairs: models look at finished samples. Words on pictures are read back, a judge says yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Annotated, Any, Literal

from x2i.image import decode
from x2i.models.abilities import Caption, PageText, RgbImage, TextLine
from x2i.models.registry import Ability, load
from x2i.options import Option
from x2i.pairs.algebra import bare_words
from x2i.pairs.check import noted
from x2i.pairs.writer import side_by_side
from x2i.reasons import DroppedError, Reason
from x2i.sample import Sample
from x2i.store.shards import EncodedImage

JUDGE_PROMPT = (
    "The left half of this picture is a photo, the right half is the same photo after an edit. The edit was asked for "
    'in these words: "{words}" Does the right half show exactly what was asked for, with everything else as it was? '
    "Answer with one word, yes or no."
)
SIDES = {"input": "text_before", "output": "text_after"}
"""Which image shows the text that the parameters of a text edit call so."""


@dataclass(frozen=True)
class Gates:
    """What looks at samples with one input image, and which samples it leaves out."""

    text: Annotated[
        Literal["off", "flag", "drop"],
        Option(
            "Read the words of text edits back. flag: how well goes into the sample. drop: also leave out samples "
            "whose words cannot be read, or can still be read where they should be gone."
        ),
    ] = "off"
    reader: Annotated[str, Option("What reads them.")] = "rapidocr"
    least_read: Annotated[float, Option("How much of the words counts as read, 0 to 1.", ge=0, le=1)] = 0.6
    judge: Annotated[
        str,
        Option("A captioner, such as openai:URL#MODEL, that is asked whether the output is what the words ask for."),
    ] = ""
    judged: Annotated[
        Literal["flag", "drop"], Option("flag: the answer goes into the sample. drop: also leave out those with a no.")
    ] = "flag"

    def loaded(self) -> LoadedGates:
        return LoadedGates(self)


class LoadedGates:
    """The gates with their models, which are loaded when a sample first needs them."""

    def __init__(self, options: Gates) -> None:
        self._options = options

    @cached_property
    def _reader(self) -> Any:
        return load(Ability.TEXT_DETECTOR, self._options.reader)

    @cached_property
    def _judge(self) -> Any:
        return load(Ability.CAPTIONER, self._options.judge, {"prompt": JUDGE_PROMPT})

    def check(self, sample: Sample, inputs: Sequence[EncodedImage], output: EncodedImage) -> Sample:
        """Returns the sample with the scores `text.*` and `judge.yes` where they apply.

        Raises DroppedError TEXT_UNREADABLE or JUDGED_WRONG for samples to leave out.
        """
        if sample.num_inputs != 1:
            return sample
        texts = {side: sample.recipe.parameters.get(name) for side, name in SIDES.items()}
        wanted = {side: str(line["text"]) for side, line in texts.items() if isinstance(line, Mapping)}
        reads = wanted and self._options.text != "off"
        if not reads and not self._options.judge:
            return sample
        images = {"input": decode(inputs[0].data), "output": decode(output.data)}
        if reads:
            sample = self._read(sample, wanted, images)
        if self._options.judge:
            sample = self._judged(sample, images)
        return sample

    def _read(self, sample: Sample, wanted: Mapping[str, str], images: Mapping[str, RgbImage]) -> Sample:
        scores: dict[str, float] = {}
        problem = ""
        for side, lines in zip(images, self._reader.read(list(images.values())), strict=True):
            text = wanted.get(side) or next(iter(wanted.values()))
            found = scores[f"text.{side}"] = readable(text, lines)
            if (found >= self._options.least_read) != (side in wanted):
                problem = problem or f"{text!r} {'cannot' if side in wanted else 'can'} be read in the {side}"
        if problem and self._options.text == "drop":
            raise DroppedError(Reason.TEXT_UNREADABLE, problem)
        return noted(sample, {"reader": self._options.reader}, scores)

    def _judged(self, sample: Sample, images: Mapping[str, RgbImage]) -> Sample:
        words = bare_words(sample.instruction)
        (answer,) = self._judge.caption([side_by_side(*images.values())], [PageText(words)])
        said = answer.text if isinstance(answer, Caption) else ""
        verdict = yes_or_no(said)
        if verdict is False and self._options.judged == "drop":
            raise DroppedError(Reason.JUDGED_WRONG, words)
        scores = {} if verdict is None else {"judge.yes": float(verdict)}
        return noted(sample, {"judge": self._options.judge, "judge_said": said}, scores)


def readable(text: str, lines: Sequence[TextLine]) -> float:
    """Returns how much of `text` stands in what was read, 0 to 1: the best line, or all of them, letter by letter."""
    found = ["".join(line.text.casefold().split()) for line in lines]
    wanted = "".join(text.casefold().split())
    return round(max(SequenceMatcher(None, wanted, one).ratio() for one in [*found, "".join(found)]), 4)


def yes_or_no(answer: str) -> bool | None:
    """Returns what an answer says; None if its first word is neither."""
    first = answer.strip().strip("\"'*.,!").split(maxsplit=1)[:1]
    return {"yes": True, "no": False}.get(first[0].strip("\"'*.,!:;").lower()) if first else None

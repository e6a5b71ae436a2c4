"""Checks of edit pairs: the alignment of their images, and the lint of their words, kept in the sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from x2i.image import decode, encode
from x2i.image.alignment import AlignmentKind, measure_alignment, resized_like
from x2i.options import Option
from x2i.pairs.words import lint
from x2i.reasons import DroppedError, Reason
from x2i.sample import Sample
from x2i.store.shards import EncodedImage

FRAME_MAY_CHANGE = (
    "outpaint",
    "uncrop",
    "crop",
    "zoom",
    "extract",
    "subject",
    "reference",
    "try_on",
    "tryon",
    "motion",
    "view",
    "few_shot",
    "_to_image",
    "image_to_",
)
"""Parts of the names of tasks whose images rightly have other frames; alignment is not asked of them."""


@dataclass(frozen=True)
class PairChecks:
    """Checks of samples with one input image."""

    alignment: Annotated[
        Literal["off", "flag", "repair", "drop"],
        Option(
            "Measure how input and output lie over each other. flag: write it into the sample. repair: also bring "
            "inputs that were only resized to the output's size. drop: also leave out pairs that are cropped, "
            "stretched or of different scenes."
        ),
    ] = "off"
    lint: Annotated[
        Literal["off", "flag", "drop"],
        Option("Look for faults in instructions. flag: write them into the sample. drop: leave it out."),
    ] = "off"
    frame_may_change: Annotated[
        tuple[str, ...], Option("Parts of task names whose alignment is not measured; may be repeated.")
    ] = FRAME_MAY_CHANGE

    @property
    def active(self) -> bool:
        return self.alignment != "off" or self.lint != "off"

    def check(
        self, sample: Sample, inputs: Sequence[EncodedImage], output: EncodedImage
    ) -> tuple[Sample, list[EncodedImage], EncodedImage]:
        """Returns the sample with what was found in its parameters and scores; inputs repaired where that was asked.

        Raises DroppedError MISALIGNED or BAD_INSTRUCTION for pairs to leave out.
        """
        found: dict[str, Any] = {}
        scores: dict[str, float] = {}
        kept = list(inputs)
        if self.lint != "off":
            faults = lint(sample.instruction, sample.num_inputs)
            if faults and self.lint == "drop":
                raise DroppedError(Reason.BAD_INSTRUCTION, ", ".join(faults))
            found["lint"] = list(faults)
        if self.alignment != "off" and sample.num_inputs == 1 and not self._exempt(sample.task):
            first, second = decode(inputs[0].data), decode(output.data)
            measured = measure_alignment(first, second)
            if self.alignment == "drop" and not measured.in_line:
                raise DroppedError(Reason.MISALIGNED, measured.reason)
            document = measured.as_json()
            found["alignment"] = {**document, "reason": measured.reason}
            scores = {f"alignment.{name}": value for name, value in document.items() if isinstance(value, float)}
            if measured.kind is AlignmentKind.RESIZE and self.alignment in ("repair", "drop"):
                kept[0] = EncodedImage(encode(resized_like(first, second), inputs[0].format, 95), inputs[0].format)
                found["alignment"]["repaired"] = True
                sample = replace(sample, sizes=(sample.sizes[-1], sample.sizes[-1]))
        return noted(sample, found, scores), kept, output

    def _exempt(self, task: str) -> bool:
        return any(part in task for part in self.frame_may_change)


def noted(sample: Sample, parameters: Mapping[str, Any], scores: Mapping[str, float]) -> Sample:
    """Returns the sample with further parameters and scores."""
    stamp = replace(sample.recipe, parameters={**sample.recipe.parameters, **parameters})
    return replace(sample, recipe=stamp, scores={**sample.scores, **scores})

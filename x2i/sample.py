"""What one training sample is: fields, validation, JSON round trip."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from x2i.errors import UserError

KEY_PATTERN = re.compile(r"[a-z0-9_-]{1,80}")
TASK_PATTERN = re.compile(r"[a-z0-9_]{1,40}")
PLACEHOLDER_PATTERN = re.compile(r"<img><\|image_(\d+)\|></img>", re.ASCII)
IMAGE_TOKEN_PATTERN = re.compile(r"<\|image_(\d+)\|>", re.ASCII)


class InvalidSampleError(UserError):
    """A sample or record that breaks the format. The message names the key, the field and the rule."""


def placeholder(number: int) -> str:
    """Returns the marker of input image `number`, counted from 1, as it stands in an instruction."""
    return f"<img><|image_{number}|></img>"


def wrong_marks(instruction: str, num_inputs: int) -> str:
    """Returns what is wrong with the marks of input images in `instruction`; "" if it marks each of them and no other.

    It may mark them repeatedly, and in any order.
    """
    marked = PLACEHOLDER_PATTERN.findall(instruction)
    if len(IMAGE_TOKEN_PATTERN.findall(instruction)) != len(marked):
        return f"instruction: write each marker whole, as {placeholder(1)}"
    if set(marked) != {str(number) for number in range(1, num_inputs + 1)}:
        found = ", ".join(sorted(set(marked)))
        return (
            f"instruction marks images [{found}], but it has {num_inputs} input images: number them from 1 without a "
            f"gap and use each"
        )
    return ""


@dataclass(frozen=True)
class Lineage:
    """Where a sample's pixels come from: one entry per source image, the three tuples in step; "" means unknown."""

    uids: tuple[str, ...]
    urls: tuple[str, ...]
    licenses: tuple[str, ...]


@dataclass(frozen=True)
class RecipeStamp:
    """Which recipe made a sample, in which version, with which drawn parameters (any JSON values)."""

    name: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Sample:
    """One training sample without its pixels.

    sizes: (width, height) in pixels of every input image in order, then of the output image.
    instruction: marks input image k as `<img><|image_k|></img>`; k runs from 1 without a gap, each used at least once.
    scores: numbers by name, for example {"captions.score": 0.3}; never invented.
    mirrorable: it means the same with all its images mirrored, as far as the task goes; the words may still forbid it.

    Raises InvalidSampleError on construction if any of this does not hold.
    """

    key: str
    task: str
    instruction: str
    sizes: tuple[tuple[int, int], ...]
    source: Lineage
    recipe: RecipeStamp
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    mirrorable: bool = False

    def __post_init__(self) -> None:
        require(bool(KEY_PATTERN.fullmatch(self.key)), self.key, "key", "1 to 80 of the characters a-z 0-9 _ -")
        require(bool(TASK_PATTERN.fullmatch(self.task)), self.key, "task", "1 to 40 of the characters a-z 0-9 _")
        require(len(self.sizes) >= 1, self.key, "sizes", "one (width, height) per input image, then the output's")
        require(all(min(size) >= 1 for size in self.sizes), self.key, "sizes", "sides of at least 1 pixel")
        require(bool(self.instruction.strip()), self.key, "instruction", "some text")
        if problem := wrong_marks(self.instruction, self.num_inputs):
            raise InvalidSampleError(f"sample {self.key!r}: {problem}")
        uids, urls, licenses = self.source.uids, self.source.urls, self.source.licenses
        require(len(uids) >= 1, self.key, "source.uids", "at least one source image")
        require(len(uids) == len(urls) == len(licenses), self.key, "source", "uids, urls and licenses of one length")

    @property
    def num_inputs(self) -> int:
        return len(self.sizes) - 1

    def __str__(self) -> str:
        """Returns key, sizes and instruction on one line: "deblur-00000-00000: 64x48 -> 64x48: Sharpen [1]"."""
        *inputs, output = (f"{width}x{height}" for width, height in self.sizes)
        words = " ".join(PLACEHOLDER_PATTERN.sub(r"[\1]", self.instruction).split())
        sizes = " -> ".join([*filter(None, [", ".join(inputs)]), output])
        return f"{self.key}: {sizes}: {words}"

    def to_json(self) -> str:
        """Returns the canonical JSON text of the sample: the same keys with the same types for every task."""
        document = {
            "key": self.key,
            "task": self.task,
            "instruction": self.instruction,
            "num_inputs": self.num_inputs,
            "sizes": [list(size) for size in self.sizes],
            "source": {k: list(v) for k, v in asdict(self.source).items()},
            "recipe": {
                "name": self.recipe.name,
                "version": self.recipe.version,
                "parameters": canonical_json(dict(self.recipe.parameters)),
            },
            "scores": canonical_json(dict(self.scores)),
            "mirrorable": self.mirrorable,
        }
        return canonical_json(document)

    @classmethod
    def from_json(cls, text: str | bytes) -> Sample:
        """Parses what `to_json` wrote; a sample that does not say whether it is mirrorable is not.

        Raises InvalidSampleError on missing fields or wrong types.
        """
        try:
            document = json.loads(text)
            recipe = document["recipe"]
            sample = cls(
                key=document["key"],
                task=document["task"],
                instruction=document["instruction"],
                sizes=tuple((int(width), int(height)) for width, height in document["sizes"]),
                source=Lineage(**{name: tuple(document["source"][name]) for name in ("uids", "urls", "licenses")}),
                recipe=RecipeStamp(recipe["name"], int(recipe["version"]), json.loads(recipe["parameters"])),
                scores=json.loads(document["scores"]),
                mirrorable=document.get("mirrorable", False) is True,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidSampleError(f"sample JSON does not have the expected fields: {error!r}") from error
        if document.get("num_inputs") != sample.num_inputs:
            raise InvalidSampleError(
                f"sample {sample.key}: num_inputs is {document.get('num_inputs')!r}; sizes lists {sample.num_inputs}"
            )
        return sample


def canonical_json(document: Any) -> str:
    """Returns JSON text with sorted keys, no spaces and no escapes beyond need: equal documents, equal bytes."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def require(holds: bool, key: str, field_name: str, expected: str) -> None:
    """Raises InvalidSampleError naming the key, the field and what was `expected`, unless it `holds`."""
    if not holds:
        raise InvalidSampleError(f"sample {key!r}: {field_name}: expected {expected}")

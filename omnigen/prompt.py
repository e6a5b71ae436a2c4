"""An instruction becomes pieces of token ids with gaps for images, by the template OmniGen was trained with."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from omnigen.tokenizer import Tokenizer
from x2i.errors import UserError
from x2i.sample import canonical_json, placeholder

PREFIX = "<|user|>\nGenerate an image according to the following instructions\n"
SUFFIX = "<|end|>\n<|assistant|>\n<|diffusion|>"
UNCONDITIONAL = "<cfg>"
NEGATIVE = (
    "blurry, out of focus, low resolution, pixelated, compression artifacts, overexposed, distorted faces and hands, "
    "extra fingers, extra limbs, watermark, signature, cropped, badly composed"
)
"""What guidance leads away from with published weights, unless a prompt says otherwise."""
MOST_DIGITS = 6  # of an image's number
IMAGE_MARK = re.compile(r"<\|image_(\d+)\|>", re.ASCII)


@dataclass(frozen=True)
class Prompt:
    """Token ids of the text pieces, and which image stands in each gap between two pieces.

    pieces: ids of the text before, between and after the images; one more than there are gaps. Only the first piece
        begins with the beginning-of-sequence id.
    image_numbers: for each gap the number of the input image, counted from 1; an image may stand in several gaps.
    """

    pieces: tuple[tuple[int, ...], ...]
    image_numbers: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """How many text tokens there are, images not counted."""
        return sum(len(piece) for piece in self.pieces)


def build_prompt(instruction: str, tokenizer: Tokenizer) -> Prompt:
    """Returns `instruction` in the chat template, cut at `<|image_k|>` and tokenized piece by piece.

    `<img>` and `</img>` around it stay text. Raises UserError unless the marks number images 1, 2, ... without a gap.
    """
    text = f"{PREFIX}{instruction}{SUFFIX}"
    marked = IMAGE_MARK.findall(text)
    if absurd := [number for number in marked if len(number) > MOST_DIGITS]:
        raise UserError(f"the prompt marks an image with a number of {len(absurd[0])} digits; number them from 1")
    numbers = tuple(int(number) for number in marked)
    if sorted(set(numbers)) != list(range(1, len(set(numbers)) + 1)):
        raise UserError(
            f"the prompt marks the images {sorted(set(numbers))}: number them from 1 without a gap, the first as "
            f"{placeholder(1)}"
        )
    # re.split also returns the group's numbers: every second item is text.
    encoded = [tokenizer.encode(piece) for piece in IMAGE_MARK.split(text)[::2]]
    later = [ids[1:] if ids[:1] == [tokenizer.bos_id] else ids for ids in encoded[1:]]
    return Prompt(tuple(tuple(ids) for ids in (encoded[0], *later)), numbers)


def unconditional_prompt(tokenizer: Tokenizer) -> Prompt:
    """Returns the prompt of a sample whose text and images were dropped, in training and in guidance: `<cfg>`."""
    return build_prompt(UNCONDITIONAL, tokenizer)


def images_only_prompt(num_images: int, tokenizer: Tokenizer) -> Prompt:
    """Returns the prompt of `num_images` images and no words, joined by spaces: the image branch of guidance."""
    return build_prompt(" ".join(placeholder(number) for number in range(1, num_images + 1)), tokenizer)


def template_fingerprint() -> str:
    """Returns a sha256 of all that stands around an instruction, and of how it is cut: kept prompts depend on it."""
    parts = [PREFIX, SUFFIX, UNCONDITIONAL, IMAGE_MARK.pattern]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()

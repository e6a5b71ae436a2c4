"""The options of `omnigen encode`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from omnigen.images import TOKEN_PIXELS
from x2i.errors import UserError
from x2i.options import Option


def parse_sides(texts: list[str]) -> tuple[int, ...]:
    """Returns the sides in texts such as "256,512". Raises UserError for what is no side in pixels."""
    sides = [side for text in texts for side in text.split(",")]
    if wrong := [side for side in sides if not side.strip().isdecimal() or int(side) < TOKEN_PIXELS]:
        raise UserError(f"--side {wrong[0]}: expected whole numbers of at least {TOKEN_PIXELS}, as in 256 or 256,512")
    return tuple(dict.fromkeys(map(int, sides)))


@dataclass(frozen=True)
class EncodeOptions:
    """What to cache, and how. codec with side for latents, tokenizer for token ids, or both."""

    codec: Annotated[
        str | None, Option("Cache latents of dct, dct:CHANNELS or sdxl:FOLDER, the model.codec of the run.")
    ] = None
    side: Annotated[
        tuple[int, ...],
        Option("Longest side in pixels, the run's data.max_side; several with commas: 256,512.", parse=parse_sides),
    ] = ()
    tokenizer: Annotated[
        str | None, Option("Cache token ids of bytes or hf:FOLDER, the model.tokenizer of the run.")
    ] = None
    dtype: Annotated[
        str, Option("bf16, fp16 or fp32 (training is then the same as without, to the last bit on a CPU).")
    ] = "bf16"
    device: Annotated[str, Option("auto, cpu or cuda; under torchrun every rank takes its share.")] = "auto"
    batch: Annotated[int, Option("Images that CUDA encodes together.", ge=1)] = 16
    workers: Annotated[int, Option("Threads that decode images ahead.", ge=0)] = 2
    dry_run: Annotated[bool, Option("Only print what would be encoded and how large it is.")] = False

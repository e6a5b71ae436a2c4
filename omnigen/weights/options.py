"""The options of `omnigen convert`, `merge` and `unmerge`: what to write, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from x2i.errors import UserError
from x2i.options import Option
from x2i.settings import nearest

LAYOUTS = ("ours", "official", "diffusers")
DTYPES = ("keep", "fp32", "bf16", "fp16")
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(text: str) -> int:
    """Returns the number of bytes that a size such as 5GB, 500MB or 2GiB means. Raises UserError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        raise UserError(f"--max-shard-size {text!r}: expected a size such as 5GB, 500MB or 2GiB")
    return size


def last_size(texts: list[str]) -> int:
    """Returns the size that the last of the typed texts means."""
    return parse_size(texts[-1])


@dataclass(frozen=True)
class WriteOptions:
    """How a network is written. layout: one of LAYOUTS, or None for the source's. dtype: one of DTYPES.

    max_shard_size: bytes of a file of weights.
    """

    layout: Annotated[
        str | None,
        Option(
            "Layout to write: ours (what this project trains and generates with), official (the OmniGen authors' code "
            "reads it) or diffusers (OmniGenPipeline reads it). Default: the layout of the source.",
            flag="--to",
        ),
    ] = None
    dtype: Annotated[str, Option("keep, fp32, bf16 or fp16: how to store the parameters.")] = "keep"
    max_shard_size: Annotated[
        int,
        Option(
            "Largest file of weights, such as 500MB or 2GiB. Default: 5GB.",
            metavar="SIZE",
            parse=last_size,
        ),
    ] = 5 * 10**9

    def __post_init__(self) -> None:
        for option, value, valid in (("--to", self.layout, LAYOUTS), ("--dtype", self.dtype, DTYPES)):
            if value is not None and value not in valid:
                raise UserError(f"{option} {value!r}: {nearest(value, valid)}")


@dataclass(frozen=True)
class Conversion(WriteOptions):
    """What to write, and how. seed, codec: of what a Phi-3 checkpoint does not hold."""

    seed: Annotated[int, Option("Of the new layers around a Phi-3's decoder.", ge=0, le=2**32 - 1)] = 0
    codec: Annotated[
        str,
        Option("For a Phi-3 alone: the codec to train with, dct:48 or sdxl:FOLDER; default: SDXL's VAE in OUT/vae."),
    ] = ""

"""The options of materialize: which images are used, how many samples are made, and how shards are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from x2i.errors import UserError
from x2i.options import Option


def parse_where(texts: list[str]) -> dict[str, str]:
    """Returns predicates by name from texts such as `wide=images.width > 200`."""
    from x2i.store.query.views import Selection

    return dict(Selection.parse(texts).predicates)


def parse_sides(texts: list[str]) -> dict[int, int]:
    """Returns sides by number of inputs from texts such as `3=512`."""
    found = {}
    for text in texts:
        inputs, _, side = text.partition("=")
        if not (inputs.isdigit() and side.isdigit()):
            raise UserError(f"--max-side-of {text}: expected a number of input images and pixels, such as 3=512")
        found[int(inputs)] = int(side)
    return found


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """What all recipes of one run share: which images are used, and how shards are cut and images stored.

    A shard ends at so many samples or at so many expected bytes, whichever comes first; the bytes are estimated from
    the sizes of the images, since what a shard holds is decided before any image is opened.
    """

    select: Annotated[
        Mapping[str, str],
        Option(
            "Use only images for which this SQL expression is true; repeatable. The name is for the counts.",
            flag="--where",
            metavar="[NAME=]PREDICATE",
            parse=parse_where,
        ),
    ] = field(default_factory=dict)
    max_samples: Annotated[int | None, Option("At most N samples per recipe, an even choice by hash.", ge=1)] = None
    max_side: Annotated[int, Option("Longest side of the images in shards, in pixels.", ge=32)] = 1024
    max_sides: Annotated[
        Mapping[int, int],
        Option(
            "Longest side for recipes of so many input images, instead of --max-side; repeatable.",
            ge=32,
            flag="--max-side-of",
            metavar="INPUTS=PIXELS",
            parse=parse_sides,
        ),
    ] = field(default_factory=dict)
    quality: Annotated[int, Option("JPEG quality; maps and masks are PNG.", ge=1, le=100)] = 95
    shard_size: Annotated[int, Option("Samples per shard at most.", ge=1)] = 1000
    shard_megabytes: Annotated[float, Option("Expected megabytes per shard at most.", gt=0)] = 256
    total: Annotated[
        int | None, Option("Samples of all recipes together, shared by their weights; 1 if not said.", ge=1)
    ] = None
    short: Annotated[
        Literal["fill", "scale"],
        Option("Where a recipe cannot give its share: fill from the others, or scale all to keep the proportions."),
    ] = "fill"
    per_image: Annotated[int | None, Option("At most N samples of all recipes show one image.", ge=1)] = None
    per_host: Annotated[
        int | None, Option("At most N samples of all recipes are made of images of one host.", ge=1)
    ] = None
    part: Annotated[
        Literal["all", "train", "validation"],
        Option("Make samples of the training images, or of those held out; no image looks like one of the other part."),
    ] = "all"
    validation: Annotated[float, Option("Share of the images that is held out, where parts are made.", gt=0, lt=1)] = (
        0.02
    )

    def mixture_config(self) -> dict[str, Any]:
        """Returns what decides the mixture beside the recipes; {} where there is none."""
        names = [name for name in ("total", "per_image", "per_host") if getattr(self, name) is not None]
        return {name: getattr(self, name) for name in names} | ({"short": self.short} if self.short != "fill" else {})


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a recipe in the mixture: a weight, or a number of samples."""

    weight: Annotated[float, Option("Its share of the total, relative to the others' weights.", ge=0)] = 1.0
    samples: Annotated[int | None, Option("So many samples, whatever the others make.", ge=0)] = None

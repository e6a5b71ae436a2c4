"""The options of generating images: the pipeline, `omnigen generate` and the sample grids of training share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from x2i.options import Option


@dataclass(frozen=True)
class GenerationOptions:
    """How an image is sampled. Sides are pixels, multiples of 16; None: see the help."""

    height: Annotated[
        int | None, Option("Pixels, a multiple of 16. Default: the first image's, or the training size.")
    ] = None
    width: Annotated[int | None, Option("Pixels, a multiple of 16. Default: as for --height.")] = None
    steps: Annotated[int, Option("Steps from noise to image; more is slower and finer.", ge=1)] = 50
    guidance: Annotated[float, Option("How strongly to follow the text; 1 is plain, 2.5 usual.")] = 2.5
    image_guidance: Annotated[
        float,
        Option("How strongly to keep to the input images: 1.6 usual, 2 for edits; 0 leaves this branch out."),
    ] = 1.6
    seed: Annotated[
        int, Option("Another seed gives another image; the same seed the same image.", ge=0, le=2**32 - 1)
    ] = 0
    negative_prompt: Annotated[
        str | None,
        Option("What guidance leads away from. Default: the model's own words, or none for one trained here."),
    ] = None
    guidance_start: Annotated[float, Option("Guidance begins at this time; 0 is noise, 1 the image.", ge=0, le=1)] = 0.0
    guidance_end: Annotated[float, Option("Guidance ends at this time; less than 1 is faster.", ge=0, le=1)] = 1.0
    cache_interval: Annotated[
        int, Option("Compute the network at every n-th step, and forecast between; 2 is nearly twice as fast.", ge=1)
    ] = 1
    cache_order: Annotated[int, Option("Of the forecast: 0 repeats, 1 follows the line of two steps.", ge=0, le=2)] = 1
    max_input_image_size: Annotated[
        int | None, Option("Longest side of input images in pixels. Default: the training size.", ge=16)
    ] = None
    shift: Annotated[
        float | None,
        Option("Above 1 spends more steps near the noise. Default: train.timestep_shift of the model.", gt=0),
    ] = None

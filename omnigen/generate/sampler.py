"""Integrating a rectified flow from noise at t = 0 to data at t = 1, and the weights of guidance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from x2i.errors import UserError


@dataclass(frozen=True)
class GuidanceWeights:
    """Weights of the velocities under the full prompt, the images alone, and nothing; they sum to 1.

    A branch of weight 0 need not be computed.
    """

    full: float
    images: float
    unconditional: float


def guidance_weights(guidance: float, image_guidance: float | None, has_images: bool) -> GuidanceWeights:
    """Returns the weights of classifier-free guidance, with the image branch of InstructPix2Pix (arXiv 2211.09800).

    With images: v_u + image_guidance * (v_img - v_u) + guidance * (v_c - v_img), gathered by branch. Without images, or
    with image_guidance None, there is no image branch: v_u + guidance * (v_c - v_u). Raises UserError for what is no
    number.
    """
    for name, value in (("guidance", guidance), ("image_guidance", image_guidance)):
        if value is not None and not math.isfinite(value):
            raise UserError(f"{name}: found {value}, expected a number such as 2.5")
    if not has_images or image_guidance is None:
        return GuidanceWeights(guidance, 0.0, 1.0 - guidance)
    return GuidanceWeights(guidance, image_guidance - guidance, 1.0 - image_guidance)


def schedule(steps: int, shift: float = 1.0) -> list[float]:
    """Returns the steps + 1 times from 0 to 1: i / steps, moved by t / (t + shift - shift * t).

    shift: 1 leaves them even; larger spends more steps near the noise. Raises UserError for fewer than one step or a
    shift that is not above zero.
    """
    if steps < 1:
        raise UserError(f"steps: found {steps}, expected 1 or more (50 is usual)")
    if not shift > 0:
        raise UserError(f"shift: found {shift}, expected a number above 0 (1: no shift)")
    even = [i / steps for i in range(steps + 1)]
    return [t / (t + shift - shift * t) for t in even]


def integrate(
    velocity: Callable[[Tensor, float], Tensor],
    noise: Tensor,
    times: Sequence[float],
    on_step: Callable[[], object] | None = None,
    on_estimate: Callable[[int, Tensor], object] | None = None,
) -> Tensor:
    """Follows z' = velocity(z, t) from `noise` at times[0] through `times` with Euler's method; returns the last z.

    on_step: called after each step, to show progress. on_estimate: called with the number of each step, from 1, and
    where its velocity would lead at t = 1.
    """
    z = noise
    for number, (t, following) in enumerate(pairwise(times), 1):
        v = velocity(z, t)
        if on_estimate is not None:
            on_estimate(number, z + (1 - t) * v)
        z = z + (following - t) * v
        if on_step is not None:
            on_step()
    return z

"""Batches of images that need no padding, so that an image's result does not depend on those beside it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from x2i.models.abilities import RgbImage


def alike(count: int, trait: Callable[[int], Hashable]) -> list[list[int]]:
    """Returns the numbers 0 to count - 1 in groups of one `trait`, each group in order."""
    groups: dict[Hashable, list[int]] = {}
    for number in range(count):
        groups.setdefault(trait(number), []).append(number)
    return list(groups.values())


def by_size(images: Sequence[RgbImage]) -> list[list[int]]:
    """Returns the numbers of the images in groups of one size."""
    return alike(len(images), lambda number: images[number].shape)


def on_model(inputs: Any, model: Any) -> dict[str, Any]:
    """Returns a processor's tensors on the model's device, numbers with a fraction in its precision."""
    return {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in inputs.items()
    }

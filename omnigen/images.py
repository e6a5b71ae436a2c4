"""Images between files and the network: cut to the sizes it takes, and between uint8 pixels and [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from x2i.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

TOKEN_PIXELS = 16
PREPARATION_VERSION = 1  # to be raised by whoever changes which pixels come out: latents kept on disk depend on it
LARGEST_REDUCTION = 3  # halvings, that is 1 / 8, the most that JPEG decoders leave out


class _Resize(NamedTuple):
    """Sizes to pass through, in pixels: halvings with a box filter, at most one bicubic step, one center crop."""

    halvings: tuple[tuple[int, int], ...]
    bicubic: tuple[int, int] | None
    crop: tuple[int, int]


def prepared_size(width: int, height: int, max_side: int, multiple: int = TOKEN_PIXELS) -> tuple[int, int]:
    """Returns the (width, height) that `prepare_image` gives an image of this size, without its pixels."""
    return _resize_steps(width, height, max_side, multiple).crop


def prepare_image(rgb_HWC: NDArray[np.uint8], max_side: int, multiple: int = TOKEN_PIXELS) -> NDArray[np.uint8]:
    """Cuts an image to what the network takes, as OmniGen's processor does.

    Halves with a box filter while the shorter side is at least 2 * max_side; scales bicubically so that the longer side
    is at most max_side (and the shorter at least `multiple`); crops the center to multiples of `multiple`. Never
    enlarges beyond that, so a small image stays small.

    rgb_HWC: uint8. Returns uint8 of `prepared_size`. Raises UserError if max_side is below `multiple`.
    """
    height, width = rgb_HWC.shape[:2]
    return _prepare(rgb_HWC, _resize_steps(width, height, max_side, multiple), (width, height), skipped=0)


def decoding_divisor(width: int, height: int, max_side: int) -> int:
    """Returns by how much `prepare_image` halves an image of this size in the end: 1, 2, 4 or at most 8.

    A JPEG may be decoded at so much less; `prepare_reduced` does the rest.
    """
    return 2 ** min(len(_resize_steps(width, height, max_side, TOKEN_PIXELS).halvings), LARGEST_REDUCTION)


def prepare_reduced(
    rgb_HWC: NDArray[np.uint8], size: tuple[int, int], divisor: int, max_side: int
) -> NDArray[np.uint8]:  # fmt: skip
    """Returns about what `prepare_image` gives for an image of `size` (width, height), from one decoded at 1 / divisor.

    rgb_HWC: uint8, its sides those of `size` over `divisor` (of `decoding_divisor`), rounded up. The size of the result
    is that of `prepare_image`, and every pixel covers the same part of the picture; in place of box halvings stands the
    decoder's own reduction, so values differ by some levels where the picture is busy.
    """
    resize = _resize_steps(*size, max_side, TOKEN_PIXELS)
    extent = size[0] / divisor, size[1] / divisor
    return _prepare(rgb_HWC, resize, extent, skipped=divisor.bit_length() - 1)


def _prepare(
    rgb_HWC: NDArray[np.uint8], resize: _Resize, extent: tuple[float, float], skipped: int
) -> NDArray[np.uint8]:
    """Takes the steps of `resize` but the first `skipped` halvings. extent: width and height that hold picture, in
    pixels of `rgb_HWC`; less than its sides where those were rounded up.
    """
    import numpy as np
    from PIL import Image

    image = Image.fromarray(rgb_HWC)
    steps = [(size, Image.Resampling.BOX) for size in resize.halvings[skipped:]]
    if resize.bicubic is not None:
        steps.append((resize.bicubic, Image.Resampling.BICUBIC))
    elif not steps and extent != image.size:
        steps.append((resize.halvings[-1], Image.Resampling.BOX))
    for size, resampling in steps:
        box = None if extent == image.size else (0.0, 0.0, *extent)
        image = image.resize(size, resampling, box)
        extent = image.size
    # The odd pixel of an uneven crop falls off the far side, as in the authors' crop.
    left, top = ((side - kept) // 2 for side, kept in zip(image.size, resize.crop))
    return np.asarray(image.crop((left, top, left + resize.crop[0], top + resize.crop[1])))


def to_tensor(rgb_HWC: NDArray[np.uint8]) -> Tensor:
    """Returns a uint8 image as a float32 CHW tensor in [-1, 1]."""
    import torch

    return torch.from_numpy(rgb_HWC.copy()).permute(2, 0, 1).float() / 127.5 - 1


def to_uint8(image_CHW: Tensor) -> NDArray[np.uint8]:
    """Returns a CHW image in [-1, 1] (clipped to it) as uint8 HWC: the inverse of `to_tensor`."""
    import torch

    scaled = (image_CHW.detach().float().clamp(-1, 1) + 1) * 127.5
    array: NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return array


def _resize_steps(width: int, height: int, max_side: int, multiple: int) -> _Resize:
    if max_side < multiple:
        raise UserError(f"image size limit: found {max_side}, expected at least {multiple} pixels, one token's side")
    size = (width, height)
    halvings = []
    while min(size) >= 2 * max_side:
        size = (size[0] // 2, size[1] // 2)
        halvings.append(size)
    bicubic = size
    if max(bicubic) > max_side:
        bicubic = _scaled(bicubic, max_side / max(bicubic))
    if min(bicubic) < multiple:  # a very long or very small image: the authors' code would crop it to nothing
        bicubic = _scaled(bicubic, multiple / min(bicubic))
    crop = (min(bicubic[0], max_side) // multiple * multiple, min(bicubic[1], max_side) // multiple * multiple)
    return _Resize(tuple(halvings), None if bicubic == size else bicubic, crop)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)

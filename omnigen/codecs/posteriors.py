"""Encodes the images of a pack together: in batches on CUDA, one at a time on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omnigen.codecs.base import Codec
from omnigen.device_copies import to_device
from omnigen.images import to_tensor

BATCH_PIXELS = 2 * 1024 * 1024  # of one batch on CUDA: its first layers hold several times 128 fp32 channels a pixel


@torch.no_grad()
def posteriors(images: Sequence[Tensor], codec: Codec, device: torch.device, batch: int | None = None) -> list[Tensor]:
    """Returns the posterior (P, H / 8, W / 8), on `device`, of every image, uint8 (H, W, 3), in their order.

    The CPU encodes one image at a time: convolutions of a batch round otherwise than those of its images, by about
    1e-6, so what is trained on would depend on its neighbors, and it gains no time (benchmarks/encode.py). CUDA
    encodes images of equal size together, at most `batch` of them and BATCH_PIXELS pixels. An image given twice (the
    same tensor) is encoded once.
    """
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for image in {id(image): image for image in images}.values():
        by_shape.setdefault(tuple(image.shape), []).append(image)
    encoded: dict[int, Tensor] = {}
    for (height, width, _), equal in by_shape.items():
        most = 1 if device.type == "cpu" else max(1, min(batch or len(equal), BATCH_PIXELS // (height * width)))
        for start in range(0, len(equal), most):
            part = equal[start : start + most]
            stacked_BCHW = to_device(torch.stack([to_tensor(image.numpy()) for image in part]), device)
            found = codec.posterior(stacked_BCHW).to(device)
            encoded |= {id(image): posterior for image, posterior in zip(part, found)}
    return [encoded[id(image)] for image in images]

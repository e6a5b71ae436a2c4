"""Measures the standard deviation of block-DCT coefficients over photographs; prints omnigen/codecs/dct_table.py.

    python benchmarks/dct_statistics.py > omnigen/codecs/dct_table.py
    python benchmarks/dct_statistics.py --quality        # PSNR of decode(encode(x)) by channel count

Photographs: those bundled with scikit-image, prepared to 64, 128 and 256 pixels on the longer side, equally weighted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image

SIDES = (64, 128, 256)
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


def photographs(max_side: int) -> list[np.ndarray]:
    """Returns the photographs as uint8 RGB, prepared to `max_side` as training does."""
    from omnigen.images import prepare_image

    folder = Path(skimage.__file__).parent / "data"
    images = (np.asarray(Image.open(folder / name).convert("RGB")) for name in PHOTOGRAPHS)
    return [prepare_image(image, max_side) for image in images]


def standard_deviations() -> torch.Tensor:
    """Returns (3, 64): root of the mean over photographs of each coefficient's variance around zero."""
    from omnigen.codecs.dct import DctCodec
    from omnigen.images import to_tensor

    codec = DctCodec(192)
    codec._deviation_C = torch.ones(192)
    powers = [
        codec.encode(to_tensor(image)[None]).square().mean(dim=(0, 2, 3))
        for side in SIDES
        for image in photographs(side)
    ]
    return torch.stack(powers).mean(0).sqrt().reshape(3, 64)


def print_table() -> None:
    print(
        '"""Standard deviations of block-DCT coefficients over photographs, as benchmarks/dct_statistics.py prints."""'
    )
    print("\nfrom __future__ import annotations\n")
    print("# One row per plane (Y, Cb, Cr), 64 coefficients each in zigzag order, of images in [-1, 1].")
    print("# fmt: off\nSTANDARD_DEVIATIONS: tuple[tuple[float, ...], ...] = (")
    for row in standard_deviations().tolist():
        print("    (")
        for start in range(0, 64, 8):
            print("        " + ", ".join(f"{value:.5f}" for value in row[start : start + 8]) + ",")
        print("    ),")
    print(")\n# fmt: on")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB of two uint8 images."""
    error = float(np.square(a.astype(np.float64) - b).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def print_quality() -> None:
    """Prints PSNR over photographs and their Canny maps, drawn at 4 times the side and prepared as training does."""
    import cv2

    from omnigen.codecs.dct import DctCodec
    from omnigen.images import prepare_image, to_tensor, to_uint8

    print("channels  side  photographs (mean, worst)  canny maps (mean, worst)   [PSNR, dB]; latents' deviation")
    for channels in (24, 32, 48, 64):
        codec = DctCodec(channels)
        for side in (64, 96, 128):
            photos = photographs(side)
            edges = [cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200) for image in photographs(4 * side)]
            maps = [prepare_image(np.repeat(edge[..., None], 3, axis=-1), side) for edge in edges]
            cells = []
            for images in (photos, maps):
                latents = [codec.encode(to_tensor(image)[None]) for image in images]
                values = [psnr(image, to_uint8(codec.decode(z)[0])) for image, z in zip(images, latents)]
                deviation = float(np.mean([float(z.square().mean()) for z in latents]) ** 0.5)
                cells.append(f"{np.mean(values):6.1f} {min(values):6.1f} ({deviation:.2f})")
            print(f"{channels:8d} {side:5d}   {cells[0]}       {cells[1]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", action="store_true", help="print PSNR by channel count instead of the table")
    torch.set_num_threads(1)
    if parser.parse_args().quality:
        print_quality()
    else:
        print_table()

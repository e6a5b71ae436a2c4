"""Measures the standard deviation of wavelet subbands over photographs; prints omnigen/codecs/wavelet_table.py.

    python benchmarks/wavelet_statistics.py > omnigen/codecs/wavelet_table.py
    python benchmarks/wavelet_statistics.py --quality    # PSNR of decode(encode(x)) beside the cosine transform's

Photographs: as in benchmarks/dct_statistics.py.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from dct_statistics import SIDES, photographs, psnr


def standard_deviations() -> torch.Tensor:
    """Returns (3, 10): root of the mean over photographs of each subband's variance around zero, coarse bands first."""
    from omnigen.codecs.wavelet import WaveletCodec
    from omnigen.images import to_tensor

    codec = WaveletCodec((64, 64, 64))
    codec._deviation_C = torch.ones(192)
    powers = [
        codec.encode(to_tensor(image)[None]).square().mean(dim=(0, 2, 3))
        for side in SIDES
        for image in photographs(side)
    ]
    bands = torch.stack(powers).mean(0).reshape(3, 64).split([1, 1, 1, 1, 4, 4, 4, 16, 16, 16], 1)
    return torch.stack([band.mean(1) for band in bands], 1).sqrt()


def print_table() -> None:
    print('"""Standard deviations of wavelet subbands over photographs, as benchmarks/wavelet_statistics.py prints."""')
    print("\nfrom __future__ import annotations\n")
    print("# One row per plane (Y, Cb, Cr) of images in [-1, 1]: the coarse picture, then each level's details, coarse")
    print("# levels first: across (vertical edges), down (horizontal edges), both.")
    print("STANDARD_DEVIATIONS: tuple[tuple[float, ...], ...] = (")
    for row in standard_deviations().tolist():
        print("    (" + ", ".join(f"{value:.5f}" for value in row) + "),")
    print(")")


def print_quality() -> None:
    from omnigen.codecs.base import load_codec
    from omnigen.images import to_tensor, to_uint8

    print("codec            channels  side  photographs (mean, worst) [PSNR, dB]  latents' deviation")
    for name in ("dct:6", "wavelet:4+1+1", "dct:24", "wavelet:16+4+4", "dct:48", "wavelet:40+4+4"):
        codec = load_codec(name)
        for side in SIDES:
            images = photographs(side)
            latents = [codec.encode(to_tensor(image)[None]) for image in images]
            values = [psnr(image, to_uint8(codec.decode(z)[0])) for image, z in zip(images, latents)]
            deviation = float(np.mean([float(z.square().mean()) for z in latents]) ** 0.5)
            decibels = f"{np.mean(values):6.1f} {min(values):6.1f}"
            print(f"{name:16s} {codec.channels:8d} {side:5d}  {decibels}  {deviation:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", action="store_true", help="print PSNR by channel count instead of the table")
    torch.set_num_threads(1)
    if parser.parse_args().quality:
        print_quality()
    else:
        print_table()

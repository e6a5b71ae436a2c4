"""The codec: a fixed map between images and the latents that the network generates, found by name.

A codec is one class with the methods of `Codec` and a classmethod `open`, and one row of CODECS. It is named
`dct:32` (a row and its argument) or, from outside this project, `mypackage.module:Class=ARGUMENT`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol, Self

import torch
from torch import Tensor

from x2i.registry import Registry


class Codec(Protocol):
    """A fixed, nearly invertible map between images and the latents that the network generates.

    name: what `load_codec` takes to give this codec again. channels: of the latents. posterior_channels: of what they
    are sampled from. downsample: pixels per latent along a side; image sides must be multiples of it. fingerprint: a
    sha256 in hex; codecs of one fingerprint give the same posteriors and the same latents, wherever they lie.
    """

    @property
    def name(self) -> str: ...
    @property
    def channels(self) -> int: ...
    @property
    def posterior_channels(self) -> int: ...
    @property
    def downsample(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

    @classmethod
    def open(cls, argument: str, device: torch.device | str) -> Self:
        """Returns the codec that `argument`, what a name has after the colon ("" if nothing), stands for.

        device: where it keeps its weights, if it has any. Raises UserError if the argument does not fit.
        """
        ...

    @classmethod
    def channels_of(cls, argument: str) -> int | None:
        """Returns the channels of `open(argument)` without loading weights; None if only loading would tell.

        Raises UserError if the argument does not fit.
        """
        ...

    def to(self, device: torch.device | str) -> Codec:
        """Moves weights, if there are any, to `device`; returns the codec itself."""
        ...

    def posterior(self, images_BCHW: Tensor) -> Tensor:
        """Returns what latents of images in [-1, 1] are sampled from, float32 (B, posterior_channels, H / 8, W / 8).

        It costs the whole encoding, is not random and can be kept; `sample` is cheap.
        """
        ...

    def sample(self, posterior_BPHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns float32 latents of about unit variance, (B, channels, H / 8, W / 8), from a posterior.

        A codec with random latents takes them from `generator`; without one it returns their mean.
        """
        ...

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns `sample(posterior(images_BCHW), generator)`."""
        ...

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Returns float32 images (B, 3, 8 * H, 8 * W) in [-1, 1]."""
        ...


CODECS: Registry[Codec] = Registry(
    "codec",
    {
        "dct": "omnigen.codecs.dct:DctCodec",
        "wavelet": "omnigen.codecs.wavelet:WaveletCodec",
        "sdxl": "omnigen.codecs.sdxl:SdxlCodec",
    },
)


def load_codec(name: str, device: torch.device | str = "cpu") -> Codec:
    """Returns the codec `name`, such as `dct:48`, `sdxl:<folder or hub id>` or `mypackage.module:Class=ARGUMENT`.

    device: where a codec with weights keeps them. Raises UserError if there is none of that name.
    """
    kind, argument = _parse(name)
    return kind.open(argument, device)


def codec_channels(name: str) -> int | None:
    """Returns the latent channels that a codec's name tells without loading it; None if only loading would tell."""
    kind, argument = _parse(name)
    return kind.channels_of(argument)


def codec_family(name: str) -> str:
    """Returns what folders of latents are called after: `dct` for `dct:48`, the class's name for one from outside."""
    row, _, argument = name.partition(":")
    return row if row in CODECS else argument.partition("=")[0]


def _parse(name: str) -> tuple[type[Codec], str]:
    """Returns the class and the argument that a codec's name has."""
    row, _, argument = name.partition(":")
    if row in CODECS or not ("." in row or find_spec(row)):
        return CODECS.get(row), argument
    path, _, argument = name.partition("=")
    return CODECS.get(path), argument

"""The wavelet codec: what comes back, that it is the CDF 9/7 transform, and what its names mean."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from omnigen.codecs.base import codec_channels, load_codec
from omnigen.codecs.wavelet import WaveletCodec, analysis
from omnigen.images import prepare_image, to_tensor
from tests.omnigen.codecs.test_codec import photographs, psnr_through
from x2i.errors import UserError


@pytest.mark.parametrize(("counts", "cosine"), [("4+1+1", "dct:6"), ("16+4+4", "dct:24")])
def test_photographs_come_back_as_near_as_by_as_many_cosines(counts: str, cosine: str) -> None:
    ours, theirs = (
        [psnr_through(load_codec(name), image) for side in (64, 128) for image in photographs(side)]
        for name in (f"wavelet:{counts}", cosine)
    )
    assert np.mean(ours) > np.mean(theirs) - 0.3
    assert min(ours) > min(theirs) - 0.5


def test_few_numbers_show_no_edges_of_blocks() -> None:
    """Steps across the borders of 8 x 8 blocks are no larger than those within, as they are with cosines."""

    def excess(name: str) -> float:
        codec, ratios = load_codec(name), []
        for image in photographs(128):
            steps = codec.decode(codec.encode(to_tensor(image)[None])).diff(dim=-1).abs().mean((0, 1, 2))
            ratios.append(float(steps[7::8].mean() / steps.mean()))
        return float(np.mean(ratios))

    assert excess("wavelet:4+1+1") < 1.2 < 1.5 < excess("dct:6")


def test_all_numbers_lose_nothing_at_any_size() -> None:
    codec = load_codec("wavelet:64+64+64")
    for height, width in ((8, 8), (24, 8), (40, 72)):
        image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
        latents = codec.encode(image)
        assert latents.shape == (2, 192, height // 8, width // 8)
        assert torch.allclose(codec.decode(latents), image, atol=1e-5)


def test_a_picture_of_any_size_is_prepared_to_one_that_encodes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (77, 131, 3), np.uint8)
    prepared = to_tensor(prepare_image(pixels, 100))[None]
    codec = load_codec("wavelet:4+1+1")
    assert codec.decode(codec.encode(prepared)).shape == prepared.shape


def test_one_level_is_that_of_pywavelets_away_from_the_borders() -> None:
    """The library wraps around where we mirror, and gives two of the four bands the other sign."""
    plane = np.random.default_rng(1).normal(size=(64, 96))
    found = (analysis(64) @ torch.from_numpy(plane) @ analysis(96).mT).numpy()
    coarse, (down, across, diagonal) = pywt.dwt2(plane, "bior4.4", mode="periodization")
    expected = np.block([[coarse, -across], [-down, diagonal]])
    for rows in (slice(4, 28), slice(36, 60)):
        for columns in (slice(4, 44), slice(52, 92)):
            assert np.allclose(found[rows, columns], expected[rows, columns], atol=1e-10)


def test_photographs_have_latents_of_about_unit_variance() -> None:
    codec = load_codec("wavelet:16+4+4")
    power = torch.stack([codec.encode(to_tensor(image)[None]).square().mean((0, 2, 3)) for image in photographs(128)])
    assert 0.7 < float(power.mean().sqrt()) < 1.3


def test_a_flat_picture_is_told_by_the_coarse_numbers_alone() -> None:
    latents = load_codec("wavelet:16+4+4").encode(torch.full((1, 3, 32, 32), 0.4))
    coarse = torch.zeros(24, dtype=torch.bool)
    coarse[[0, 16, 20]] = True
    assert latents[:, ~coarse].abs().max() < 1e-5 < latents[:, 0].abs().min()


def test_names_lead_back_and_tell_the_channels() -> None:
    assert load_codec("wavelet").name == "wavelet:16+4+4"
    assert load_codec("wavelet:4+1+1").name == "wavelet:4+1+1"
    assert codec_channels("wavelet:4+1+1") == 6
    assert WaveletCodec((4, 1, 1)).fingerprint != WaveletCodec((4, 1, 2)).fingerprint


@pytest.mark.parametrize("argument", ["4", "4+1", "0+1+1", "65+1+1", "4+1+1+1", "many"])
def test_another_split_is_a_user_error(argument: str) -> None:
    with pytest.raises(UserError, match=r"expected how many numbers .* as in wavelet:4\+1\+1"):
        load_codec(f"wavelet:{argument}")

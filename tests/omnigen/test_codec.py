"""Codecs: what comes back after encode and decode, the scale of latents, and loading by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from scipy.fft import dctn

from omnigen.codec import DctCodec, SdxlCodec, dct_split, load_codec, zigzag
from omnigen.config import PRESETS
from omnigen.images import prepare_image, to_tensor, to_uint8
from x2i.errors import UserError

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg", "motorcycle_left.png")


def photographs(side: int) -> list[np.ndarray]:
    folder = Path(skimage.__file__).parent / "data"
    images = (np.asarray(Image.open(folder / name).convert("RGB")) for name in PHOTOGRAPHS)
    return [prepare_image(image, side) for image in images]


def canny_maps(side: int) -> list[np.ndarray]:
    """Edges drawn on the photographs at 4 times the side, then prepared as training prepares them."""
    edges = [cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200) for image in photographs(4 * side)]
    return [prepare_image(np.repeat(edge[..., None], 3, axis=-1), side) for edge in edges]


def psnr_through(codec: DctCodec, image: np.ndarray) -> float:
    back = to_uint8(codec.decode(codec.encode(to_tensor(image)[None]))[0])
    return float(10 * np.log10(255**2 / max(np.square(back.astype(float) - image).mean(), 1e-9)))


@pytest.mark.parametrize("side", [64, 96, 128])
def test_photographs_and_edge_maps_come_back_above_22_db(side: int) -> None:
    codec = DctCodec()
    assert min(psnr_through(codec, image) for image in photographs(side)) > 24
    assert min(psnr_through(codec, image) for image in canny_maps(side)) > 22


def test_photographs_have_latents_of_about_unit_variance() -> None:
    codec = DctCodec()
    power = torch.stack([codec.encode(to_tensor(image)[None]).square().mean((0, 2, 3)) for image in photographs(128)])
    assert 0.7 < float(power.mean().sqrt()) < 1.3
    assert float(power.mean(0).sqrt().max()) < 2


def test_all_coefficients_lose_nothing() -> None:
    codec = load_codec("dct:192")
    image = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(codec.decode(codec.encode(image)), image, atol=1e-5)


def test_the_channels_are_the_lowest_frequencies_of_luma_then_chroma() -> None:
    codec = DctCodec(24)
    codec._deviation_C = torch.ones(24)
    pixels = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latents = codec.encode(pixels)[0, :, 0, 0]
    r, g, b = pixels[0].double().numpy()
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    expected = [dctn(luma, norm="ortho")[cell] for cell in zigzag()[:22]]
    expected += [dctn((b - luma) / 1.772, norm="ortho")[0, 0], dctn((r - luma) / 1.402, norm="ortho")[0, 0]]
    assert np.allclose(latents.numpy(), expected, atol=1e-5)


def test_the_zigzag_is_that_of_jpeg() -> None:
    assert zigzag()[:10] == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
    assert zigzag()[-2:] == [(7, 6), (7, 7)]


@pytest.mark.parametrize("channels", [3, 4, 24, 48, 64, 100, 191, 192])
def test_the_split_spends_every_channel_within_64_a_plane(channels: int) -> None:
    split = dct_split(channels)
    assert sum(split) == channels
    assert all(1 <= count <= 64 for count in split)


def test_names_lead_back_to_the_same_codec() -> None:
    assert load_codec("dct").name == "dct:48"
    assert load_codec("dct").channels == PRESETS["tiny"].in_channels
    assert load_codec("dct:24").name == "dct:24"


@pytest.mark.parametrize("name", ["dct:2", "dct:193", "dct:many", "vae", "sdxl:", "jpeg:3"])
def test_an_unknown_codec_is_a_user_error(name: str) -> None:
    with pytest.raises(UserError, match="expected"):
        load_codec(name)


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised AutoencoderKL of SDXL's shape, a few channels wide."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        latent_channels=4,
        scaling_factor=0.13025,
    )
    folder = tmp_path_factory.mktemp("pipeline") / "vae"
    vae.save_pretrained(folder)
    return folder


def test_the_sdxl_codec_is_the_scaled_vae(vae_folder: Path) -> None:
    import diffusers

    codec = load_codec(f"sdxl:{vae_folder}")
    assert isinstance(codec, SdxlCodec)
    assert (codec.channels, codec.downsample) == (4, 8)
    vae = diffusers.AutoencoderKL.from_pretrained(vae_folder).eval()
    images = to_tensor(photographs(64)[0])[None]
    with torch.no_grad():
        posterior = vae.encode(images).latent_dist
        sampled = posterior.sample(torch.Generator().manual_seed(7)) * 0.13025
        decoded = vae.decode(posterior.mode()).sample.clamp(-1, 1)
    assert torch.equal(codec.encode(images), posterior.mode() * 0.13025)
    assert torch.equal(codec.encode(images, torch.Generator().manual_seed(7)), sampled)
    assert torch.allclose(codec.decode(codec.encode(images)), decoded, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in codec._vae.parameters())


def test_the_sdxl_codec_finds_the_vae_inside_a_pipeline_folder(vae_folder: Path) -> None:
    image = to_tensor(photographs(64)[1])[None]
    assert torch.equal(
        load_codec(f"sdxl:{vae_folder.parent}").encode(image), load_codec(f"sdxl:{vae_folder}").encode(image)
    )


def test_a_folder_without_a_vae_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="AutoencoderKL"):
        load_codec(f"sdxl:{tmp_path}")

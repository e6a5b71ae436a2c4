"""Codecs: what comes back after encode and decode, the scale of latents, and loading by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from scipy.fft import dctn

from omnigen.codecs.base import load_codec
from omnigen.codecs.dct import DctCodec, dct_split, zigzag
from omnigen.codecs.posteriors import posteriors
from omnigen.codecs.sdxl import SdxlCodec
from omnigen.images import prepare_image, to_tensor, to_uint8
from omnigen.network.config import PRESETS
from tests.support import REPOSITORY
from tests.support.forked import run_forked
from tests.support.tiny_vae import save_tiny_vae
from tests.support.training_runs import write_config
from tests.support.training_shards import make_shards
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dct:2", "expected 3 to 192 channels"),
        ("dct:193", "expected 3 to 192 channels"),
        ("dct:many", "expected a number of channels"),
        ("sdxl:", "expected sdxl:<folder or hub id>"),
        ("sdxl", "expected sdxl:<folder or hub id>"),
        ("vae", "no codec 'vae': there are: dct, wavelet, sdxl"),
        ("sdlx:folder", "no codec 'sdlx': did you mean 'sdxl'"),
        ("no_such.package:Codec", "no module 'no_such'"),
    ],
)
def test_an_unknown_codec_is_a_user_error(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_codec(name)


OUTSIDE = """
from omnigen.codecs.dct import DctCodec

class Halved(DctCodec):
    title = "the cosine transform at half the contrast"

    @classmethod
    def open(cls, argument, device="cpu"):
        codec = cls(int(argument or 12))
        codec.name = f"outside_codecs.halved:Halved={codec.channels}"
        return codec

    @classmethod
    def channels_of(cls, argument):
        return int(argument or 12)

    fingerprint = "halved"

    def posterior(self, images_BCHW):
        return super().posterior(images_BCHW / 2)

    def decode(self, latents_BCHW):
        return super().decode(latents_BCHW) * 2
"""


def test_a_codec_of_a_package_outside_trains_encodes_and_generates(tmp_path: Path) -> None:
    """Through the command lines, in processes of their own, with no file of the project changed."""
    (tmp_path / "outside_codecs").mkdir()
    (tmp_path / "outside_codecs" / "__init__.py").touch()
    (tmp_path / "outside_codecs" / "halved.py").write_text(OUTSIDE)
    name = "outside_codecs.halved:Halved=6"
    data = make_shards(tmp_path / "data", ("text_to_image", "colorize"))
    settings = {"model": {"codec": name}, "train": {"steps": 2}, "data": {"workers": 1}}
    config = write_config(tmp_path / "run.yaml", data, **settings)

    def omnigen(*arguments: object) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
        done = run_forked(["omnigen", *arguments], environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "latents-Halved-halved-32: 0 of 2" in omnigen("encode", data, "--codec", name, "--side", 32)
    told = omnigen("train", config, "--out", tmp_path / "run")
    assert "latents of 2 of 2 shards are read from latents-Halved-halved-32" in told
    omnigen("generate", "--model", tmp_path / "run", "--prompt", "a cat", "--steps", 1, "--out", tmp_path / "cat.png")
    assert (tmp_path / "cat.png").is_file()
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["codec"] == name


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialized AutoencoderKL of SDXL's shape, a few channels wide."""
    return save_tiny_vae(tmp_path_factory.mktemp("pipeline") / "vae")


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


def test_drawing_from_a_posterior_is_encoding(vae_folder: Path) -> None:
    images = torch.stack([to_tensor(photograph) for photograph in photographs(64)[:1] * 2])
    for codec in (load_codec("dct:12"), load_codec(f"sdxl:{vae_folder}")):
        posterior = codec.posterior(images)
        assert posterior.shape == (2, codec.posterior_channels, images.shape[2] // 8, images.shape[3] // 8)
        for seed in (None, 3):
            first, second = (torch.Generator().manual_seed(seed) if seed else None for _ in range(2))
            assert torch.equal(codec.sample(posterior, first), codec.encode(images, second))
    drawn = [codec.sample(posterior[:1], torch.Generator().manual_seed(seed)) for seed in range(400)]
    mean, deviation = posterior[:1].chunk(2, dim=1)
    found = torch.cat(drawn) / 0.13025
    assert ((found.mean(0) - mean[0]) / deviation[0] * 400**0.5).abs().max() < 5
    assert (found.std(0) / deviation[0] - 1).abs().max() < 0.2


def test_the_fingerprint_is_of_what_decides_the_latents_not_of_the_place(vae_folder: Path, tmp_path: Path) -> None:
    fingerprint = load_codec(f"sdxl:{vae_folder}").fingerprint
    assert load_codec(f"sdxl:{vae_folder.parent}").fingerprint == fingerprint
    assert load_codec(f"sdxl:{save_tiny_vae(tmp_path / 'other', seed=1)}").fingerprint != fingerprint
    same = save_tiny_vae(tmp_path / "same")
    config = json.loads((same / "config.json").read_text())
    (same / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.2}))
    assert load_codec(f"sdxl:{same}").fingerprint != fingerprint
    prints = [load_codec(name).fingerprint for name in ("dct", "dct:48", "dct:24")]
    assert prints[0] == prints[1] != prints[2]
    assert all(len(one) == 64 for one in (*prints, fingerprint))


@pytest.mark.parametrize("name", ["dct:6", "wavelet:4+1+1", "vae"])
def test_posteriors_come_in_order_and_do_not_depend_on_their_neighbors(vae_folder: Path, name: str) -> None:
    codec = load_codec(f"sdxl:{vae_folder}" if name == "vae" else name)
    images = [torch.from_numpy(image.copy()) for image in photographs(64)]
    images = [images[0], images[1], images[0], *images[2:], images[1][:32].contiguous()]
    together = posteriors(images, codec, torch.device("cpu"), batch=4)
    for image, posterior in zip(images, together, strict=True):
        assert posterior.equal(codec.posterior(to_tensor(image.numpy())[None])[0])
    assert posteriors([], codec, torch.device("cpu")) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_cuda_is_the_images_of_the_cpu_to_rounding(vae_folder: Path) -> None:
    images = [torch.from_numpy(image.copy()) for image in photographs(64)]
    for name in ("dct:6", f"sdxl:{vae_folder}"):
        cpu = posteriors(images, load_codec(name), torch.device("cpu"))
        cuda = posteriors(images, load_codec(name, "cuda"), torch.device("cuda"))
        assert all(torch.allclose(a, b.cpu(), atol=2e-3, rtol=2e-3) for a, b in zip(cpu, cuda, strict=True))

"""Images to latents and back, 8 x 8 pixels to one: a fixed cosine transform by default, SDXL's VAE by configuration."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from omnigen.codecs.dct_table import STANDARD_DEVIATIONS
from omnigen.images import to_tensor
from x2i.errors import UserError
from x2i.sample import canonical_json

DOWNSAMPLE = 8
SDXL_SCALING = 0.13025
DEFAULT_DCT_CHANNELS = 48
# What in a VAE's configuration decides what its weights compute; newer versions of diffusers add other settings.
VAE_ARCHITECTURE = (
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "act_fn",
    "norm_num_groups",
    "mid_block_add_attention",
    "use_quant_conv",
    "latent_channels",
    "in_channels",
)
BATCH_PIXELS = 2 * 1024 * 1024  # of one batch on CUDA: its first layers hold several times 128 fp32 channels a pixel
DCT_VERSION = 1  # to be raised by whoever changes what the transform gives


class Codec(Protocol):
    """A fixed, invertible-as-can-be map between images and the latents that the network draws.

    name: what `load_codec` takes to give this codec again. channels: of the latents. posterior_channels: of what they
    are drawn from. downsample: pixels per latent along a side; image sides must be multiples of it. fingerprint: a
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

    def to(self, device: torch.device | str) -> Codec:
        """Moves weights, if there are any, to `device`; returns the codec itself."""
        ...

    def posterior(self, images_BCHW: Tensor) -> Tensor:
        """Returns what the latents of images in [-1, 1] are drawn from, float32 (B, posterior_channels, H / 8, W / 8).

        It costs the whole encoding, draws nothing and can be kept; `sample` is cheap.
        """
        ...

    def sample(self, posterior_BPHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns float32 latents of about unit variance, (B, channels, H / 8, W / 8), from a posterior.

        A codec that samples its latents draws from `generator`; without one it returns their mean.
        """
        ...

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns `sample(posterior(images_BCHW), generator)`."""
        ...

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Returns float32 images (B, 3, 8 * H, 8 * W) in [-1, 1]."""
        ...


class DctCodec:
    """The orthonormal 8 x 8 block cosine transform (as JPEG's) in YCbCr, low frequencies kept, no weights.

    Y, Cb, Cr are BT.601's, full range, of an image in [-1, 1]. Of each plane's 64 coefficients the first ones in zigzag
    order stay: with n channels max(1, n // 16) for each of Cb and Cr (more once Y is complete), the rest for Y.
    Channel order: Y's coefficients, Cb's, Cr's. Each coefficient is divided by its fixed standard deviation over
    photographs (`dct_table.py`), so photographs' latents have about unit variance. 192 channels lose nothing.
    """

    downsample = DOWNSAMPLE

    def __init__(self, channels: int = DEFAULT_DCT_CHANNELS) -> None:
        if not 3 <= channels <= 192:
            raise UserError(f"codec 'dct:{channels}': expected 3 to 192 channels, such as dct:{DEFAULT_DCT_CHANNELS}")
        self.channels = self.posterior_channels = channels
        self.name = f"dct:{channels}"
        # Coefficient j of plane p is number 64 p + j of all 192.
        kept = [64 * plane + j for plane, count in enumerate(dct_split(channels)) for j in range(count)]
        self._kept = torch.tensor(kept)
        self._deviation_C = torch.tensor(STANDARD_DEVIATIONS).flatten()[self._kept]
        self._basis = _zigzag_basis()
        self._ycbcr = torch.tensor(
            [[0.299, 0.587, 0.114], [-0.299 / 1.772, -0.587 / 1.772, 0.5], [0.5, -0.587 / 1.402, -0.114 / 1.402]]
        )

    @cached_property
    def fingerprint(self) -> str:
        identity = ["dct", DCT_VERSION, self.channels, [list(row) for row in STANDARD_DEVIATIONS]]
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    def to(self, device: torch.device | str) -> DctCodec:
        return self

    def posterior(self, images_BCHW: Tensor) -> Tensor:
        """Returns the latents themselves: nothing is drawn."""
        batch, _, height, width = images_BCHW.shape
        assert height % 8 == width % 8 == 0, f"image sides must be multiples of 8, found {height} x {width}"
        device = images_BCHW.device
        planes = torch.einsum("pc,bchw->bphw", self._ycbcr.to(device), images_BCHW.float())
        blocks = planes.reshape(batch, 3, height // 8, 8, width // 8, 8)
        coefficients = torch.einsum("jyx,bpryqx->bpjrq", self._basis.to(device), blocks)
        kept = coefficients.reshape(batch, 192, height // 8, width // 8)[:, self._kept.to(device)]
        return kept / self._deviation_C.to(device)[:, None, None]

    def sample(self, posterior_BPHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return posterior_BPHW.float()

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(self.posterior(images_BCHW), generator)

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        batch, _, rows, columns = latents_BCHW.shape
        device = latents_BCHW.device
        coefficients = torch.zeros(batch, 192, rows, columns, device=device)
        coefficients[:, self._kept.to(device)] = latents_BCHW.float() * self._deviation_C.to(device)[:, None, None]
        coefficients = coefficients.view(batch, 3, 64, rows, columns)
        blocks = torch.einsum("jyx,bpjrq->bpryqx", self._basis.to(device), coefficients)
        planes = blocks.reshape(batch, 3, rows * 8, columns * 8)
        return torch.einsum("cp,bphw->bchw", torch.linalg.inv(self._ycbcr).to(device), planes).clamp(-1, 1)


class SdxlCodec:
    """A frozen VAE of the `diffusers` class AutoencoderKL, such as SDXL's, from a local folder or a hub id.

    Its posterior is the mean, then the standard deviation, of every latent before shift and scaling: P = 2 * channels.
    """

    downsample = DOWNSAMPLE

    def __init__(self, path: str, device: torch.device | str = "cpu") -> None:
        try:
            from diffusers import AutoencoderKL
        except ImportError as error:
            raise UserError(f"codec 'sdxl:{path}' needs the diffusers library: pip install 'x2i[models]'") from error
        # A folder of a whole pipeline, or of OmniGen's checkpoint, keeps its VAE in vae/.
        source = str(Path(path) / "vae") if (Path(path) / "vae" / "config.json").is_file() else path
        try:
            config = AutoencoderKL.load_config(source)
            # Loading with little memory needs accelerate, and diffusers says so in five lines where it is absent.
            self._vae = AutoencoderKL.from_pretrained(
                source, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"codec 'sdxl:{path}': no AutoencoderKL loads from there ({error}). Give a folder that holds "
                f"config.json and diffusion_pytorch_model.safetensors, or a hub id such as sdxl:stabilityai/sdxl-vae"
            ) from error
        levels = len(self._vae.config.block_out_channels)
        if 2 ** (levels - 1) != DOWNSAMPLE:
            raise UserError(f"codec 'sdxl:{path}': it shrinks sides by {2 ** (levels - 1)}, expected {DOWNSAMPLE}")
        self._vae.requires_grad_(False).eval().to(device)
        self._scaling = float(config.get("scaling_factor") or SDXL_SCALING)
        self._shift = float(config.get("shift_factor") or 0.0)
        self.name = f"sdxl:{path}"
        self.channels: int = self._vae.config.latent_channels
        self.posterior_channels = 2 * self.channels

    @cached_property
    def fingerprint(self) -> str:
        architecture = {name: self._vae.config.get(name) for name in VAE_ARCHITECTURE}
        identity = ["sdxl", self._scaling, self._shift, architecture]
        digest = hashlib.sha256(canonical_json(identity).encode())
        for name, weight in sorted(self._vae.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> SdxlCodec:
        self._vae.to(device)
        return self

    @torch.no_grad()
    def posterior(self, images_BCHW: Tensor) -> Tensor:
        distribution = self._vae.encode(images_BCHW.to(self._vae.device, torch.float32)).latent_dist
        return torch.cat([distribution.mean, distribution.std], dim=1)

    def sample(self, posterior_BPHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, deviation = posterior_BPHW.float().chunk(2, dim=1)
        latents = mean
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator, device=generator.device)
            latents = mean + deviation * noise.to(mean.device)
        return (latents - self._shift) * self._scaling

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(self.posterior(images_BCHW), generator)

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        latents = latents_BCHW.to(self._vae.device, torch.float32) / self._scaling + self._shift
        images: Tensor = self._vae.decode(latents).sample
        return images.clamp(-1, 1)


def load_codec(name: str, device: torch.device | str = "cpu") -> Codec:
    """Returns the codec `dct`, `dct:<channels>` or `sdxl:<folder or hub id>`. Raises UserError for any other name.

    device: where a codec with weights keeps them. The cosine transform works where its input is.
    """
    family, _, argument = name.partition(":")
    if family == "dct":
        if argument and not argument.isdecimal():
            raise UserError(f"codec {name!r}: expected a number of channels after the colon, as in dct:24")
        return DctCodec(int(argument) if argument else DEFAULT_DCT_CHANNELS)
    if family == "sdxl" and argument:
        return SdxlCodec(argument, device)
    raise UserError(f"codec {name!r}: no such codec; expected 'dct', 'dct:<channels>' or 'sdxl:<folder or hub id>'")


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
            stacked_BCHW = torch.stack([to_tensor(image.numpy()) for image in part]).to(device)
            found = codec.posterior(stacked_BCHW).to(device)
            encoded |= {id(image): posterior for image, posterior in zip(part, found)}
    return [encoded[id(image)] for image in images]


def dct_split(channels: int) -> tuple[int, int, int]:
    """Returns how many of `channels` coefficients the planes Y, Cb and Cr keep; 48 become 42, 3 and 3."""
    chroma = max(1, channels // 16, (channels - 64 + 1) // 2)
    return channels - 2 * chroma, chroma, chroma


def zigzag() -> list[tuple[int, int]]:
    """Returns the (vertical, horizontal) frequencies of an 8 x 8 block in JPEG's order (ITU-T T.81, figure 5)."""
    cells = [(v, h) for v in range(8) for h in range(8)]
    return sorted(cells, key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))


def _zigzag_basis() -> Tensor:
    """Returns the 64 orthonormal cosine patterns (j, y, x) in zigzag order."""
    position = torch.arange(8, dtype=torch.float64)
    cosines = torch.cos(math.pi * (2 * position[None, :] + 1) * position[:, None] / 16) / 2
    cosines[0] /= math.sqrt(2)
    return torch.stack([cosines[v, :, None] * cosines[h, None, :] for v, h in zigzag()]).float()

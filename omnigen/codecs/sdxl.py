"""The `sdxl` codec: a frozen VAE of the `diffusers` library, as OmniGen was trained with."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from omnigen.device_copies import to_device
from x2i.errors import UserError
from x2i.sample import canonical_json

SDXL_SCALING = 0.13025
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


class SdxlCodec:
    """A frozen VAE of the `diffusers` class AutoencoderKL, such as SDXL's, from a local folder or a hub id.

    Its posterior is the mean, then the standard deviation, of every latent before shift and scaling: P = 2 * channels.
    """

    title = "a VAE of diffusers' class AutoencoderKL, such as SDXL's"
    downsample = 8

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
        if 2 ** (levels - 1) != self.downsample:
            raise UserError(f"codec 'sdxl:{path}': it shrinks sides by {2 ** (levels - 1)}, expected {self.downsample}")
        self._vae.requires_grad_(False).eval().to(device)
        self._scaling = float(config.get("scaling_factor") or SDXL_SCALING)
        self._shift = float(config.get("shift_factor") or 0.0)
        self.name = f"sdxl:{path}"
        self.channels: int = self._vae.config.latent_channels
        self.posterior_channels = 2 * self.channels

    @classmethod
    def open(cls, argument: str, device: torch.device | str = "cpu") -> Self:
        """Returns the VAE in the folder, or of the hub id, `argument`."""
        cls.channels_of(argument)
        return cls(argument, device)

    @classmethod
    def channels_of(cls, argument: str) -> int | None:
        """Returns None: only the loaded VAE tells."""
        if not argument:
            raise UserError("codec 'sdxl:': expected sdxl:<folder or hub id>, such as sdxl:stabilityai/sdxl-vae")
        return None

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
            latents = mean + deviation * to_device(noise, mean.device)
        return (latents - self._shift) * self._scaling

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(self.posterior(images_BCHW), generator)

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        latents = latents_BCHW.to(self._vae.device, torch.float32) / self._scaling + self._shift
        images: Tensor = self._vae.decode(latents).sample
        return images.clamp(-1, 1)

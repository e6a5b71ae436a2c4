"""A tiny AutoencoderKL of SDXL's shape with random weights, saved as diffusers saves the real one."""

from __future__ import annotations

from pathlib import Path

import torch


def save_tiny_vae(folder: Path, seed: int = 0) -> Path:
    """Writes the VAE, a few channels wide, to `folder`; returns it."""
    import diffusers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = diffusers.AutoencoderKL(
            block_out_channels=(4, 4, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=2,
            latent_channels=4,
            scaling_factor=0.13025,
        )
    vae.save_pretrained(folder)
    return folder

"""Tiny pipelines of diffusers with random weights, saved as diffusers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def save_pix2pix(folder: Path, seed: int = 0) -> Path:
    """Saves an InstructPix2Pix of a few ten thousand weights with a tokenizer of single letters."""
    from diffusers import StableDiffusionInstructPix2PixPipeline

    return _save(StableDiffusionInstructPix2PixPipeline, 8, folder, seed)


def save_inpainting(folder: Path, seed: int = 0) -> Path:
    """Saves a Stable Diffusion for inpainting of that size."""
    from diffusers import StableDiffusionInpaintPipeline

    return _save(StableDiffusionInpaintPipeline, 9, folder, seed)


def _save(pipeline: Any, channels: int, folder: Path, seed: int) -> Path:
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(seed)
    blocks = {"block_out_channels": (8, 16), "norm_num_groups": 4}
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=4, layers_per_block=1, cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **blocks,
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, **blocks,
    )  # fmt: skip
    words = ["<|startoftext|>", "<|endoftext|>"]
    letters = [chr(code) for code in range(97, 123)]
    vocabulary = {token: number for number, token in enumerate([*words, *letters, *(f"{x}</w>" for x in letters)])}
    source = folder / "letters"
    source.mkdir(parents=True)
    (source / "vocab.json").write_text(json.dumps(vocabulary))
    (source / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(source, model_max_length=16)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    pipeline(
        vae, text, tokenizer, unet, EulerDiscreteScheduler(), None, None, requires_safety_checker=False
    ).save_pretrained(folder, safe_serialization=True)
    return folder

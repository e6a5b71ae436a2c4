"""Tiny SAM3 networks of random weights, saved as transformers saves them: the image model, and the one for films."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIDE, PATCH = 112, 14


def save_sam3(folder: Path, seed: int = 0) -> Path:
    """Saves the model for images with its processor."""
    import torch
    from transformers import Sam3Config, Sam3Model, Sam3Processor

    torch.manual_seed(seed)
    Sam3Model(Sam3Config(**_image_config())).save_pretrained(folder)
    Sam3Processor(_images(), _tokenizer(folder)).save_pretrained(folder)
    return folder


def save_sam3_video(folder: Path, seed: int = 0) -> Path:
    """Saves the model for films, which holds the one for images and the tracker, in the published layout."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Sam3VideoConfig, Sam3VideoModel, Sam3VideoProcessor
    from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

    torch.manual_seed(seed)
    small = {"hidden_size": 32, "image_size": SIDE, "patch_size": PATCH, "mask_input_channels": 4}
    decoder = {
        "hidden_size": 32, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
        "iou_head_depth": 2,
    }  # fmt: skip
    tracker = {
        "vision_config": _image_config()["vision_config"], "prompt_encoder_config": small,
        "mask_decoder_config": decoder, "image_size": SIDE, "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1, "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [8, 8], "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 16, "mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32, "memory_fuser_num_layers": 1,
    }  # fmt: skip
    config = Sam3VideoConfig(detector_config=_image_config(), tracker_config=tracker)
    Sam3VideoModel(config).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    twice = "tracker_model.tracker_model."  # transformers 5.23 says so in saving; the published file says it once
    named = {name.replace(twice, "tracker_model."): tensor for name, tensor in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    Sam3VideoProcessor(_images(), Sam2VideoVideoProcessor(), _tokenizer(folder)).save_pretrained(folder)
    return folder


def _image_config() -> dict[str, Any]:
    part = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_layers": 1}
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH, "window_size": 4, "pretrain_image_size": 56,
        "global_attn_indexes": [1],
    }  # fmt: skip
    vision = {
        "backbone_config": backbone, "fpn_hidden_size": 32, "model_type": "sam3_vision_model",
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "vocab_size": 514, "hidden_size": 16, "intermediate_size": 16,
        "projection_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32,
        "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513,
    }  # fmt: skip
    return {
        "vision_config": vision, "text_config": text, "geometry_encoder_config": part, "detr_encoder_config": part,
        "detr_decoder_config": {**part, "num_queries": 6},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
    }  # fmt: skip


def _images() -> Any:
    from transformers import Sam3ImageProcessor

    size = {"height": SIDE, "width": SIDE}
    return Sam3ImageProcessor(size=size, mask_size={"height": 32, "width": 32})


def _tokenizer(folder: Path) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=32)

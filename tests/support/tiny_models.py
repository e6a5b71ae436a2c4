"""Tiny models of real architectures with random weights, saved as their libraries save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def save_depth_model(folder: Path, seed: int = 0) -> Path:
    """Saves a Depth Anything network of a few thousand weights with its image processor."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        out_features=["stage1", "stage2"], reshape_hidden_states=False, mlp_ratio=1,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8], fusion_hidden_size=8, head_hidden_size=8,
    )  # fmt: skip
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 56, "width": 56}
    DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)
    return folder


def save_open_clip_model(folder: Path, seed: int = 0) -> Path:
    """Saves a CLIP of a few ten thousand weights in open_clip's own layout, with its BPE tokenizer."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    save_file(open_clip.CLIP(**model).state_dict(), folder / "open_clip_model.safetensors")
    return folder


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VLM_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip


def save_vision_language_model(folder: Path, seed: int = 0) -> Path:
    """Saves a Qwen2-VL of some ten thousand weights with its processor, a byte tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=list(VLM_TOKENS),
    )  # fmt: skip
    number = fast.convert_tokens_to_ids
    torch.manual_seed(seed)
    text = {
        "vocab_size": len(fast), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        "bos_token_id": None, "eos_token_id": number("<|im_end|>"), "pad_token_id": number("<|endoftext|>"),
    }  # fmt: skip
    vision = {"depth": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 1, "hidden_size": 32, "patch_size": 14}
    config = Qwen2VLConfig(
        text_config=text, vision_config=vision, image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"), vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )  # fmt: skip
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = number("<|im_end|>")
    model.generation_config.pad_token_id = number("<|endoftext|>")
    model.save_pretrained(folder)
    pixels = {"min_pixels": 28 * 28 * 4, "max_pixels": 28 * 28 * 16}
    processors = Qwen2VLImageProcessor(**pixels), fast, Qwen2VLVideoProcessor()
    Qwen2VLProcessor(*processors, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path, seed: int = 0) -> Path:
    """Saves a DINOv2 of some thousand weights with its image processor."""
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=1
    )
    Dinov2Model(config).save_pretrained(folder)
    size = {"shortest_edge": 32}, {"height": 28, "width": 28}
    BitImageProcessor(size=size[0], crop_size=size[1]).save_pretrained(folder)
    return folder


def save_dinov3(folder: Path, seed: int = 0) -> Path:
    """Saves a DINOv3 of some thousand weights with its image processor."""
    import torch
    from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

    torch.manual_seed(seed)
    config = DINOv3ViTConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16,
        num_register_tokens=2,
    )  # fmt: skip
    DINOv3ViTModel(config).save_pretrained(folder)
    DINOv3ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


WORDS = (
    "<pad>", "</s>", "<unk>", "a", "an", "the", "cat", "cup", "coffee", "of", "on", "table", "astronaut", "in", "suit",
)  # fmt: skip
TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT_TOWER = {**TOWER, "vocab_size": len(WORDS), "max_position_embeddings": 12, "pad_token_id": 0, "eos_token_id": 1}


def _save_word_tokenizer(folder: Path, inputs: list[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_input_names=inputs
    ).save_pretrained(folder)


def save_siglip(folder: Path, seed: int = 0) -> Path:
    """Saves a SigLIP of some thousand weights with its image processor and a tokenizer of words."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    _save_word_tokenizer(folder, ["input_ids"])  # like SigLIP's own: padding is seen, as in its training
    torch.manual_seed(seed)
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    SiglipModel(SiglipConfig(text_config=TEXT_TOWER, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_siglip2(folder: Path, seed: int = 0) -> Path:
    """Saves a SigLIP2 that keeps aspect ratios (NaFlex), of some thousand weights, with its processors."""
    import torch
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    _save_word_tokenizer(folder, ["input_ids", "attention_mask"])
    torch.manual_seed(seed)
    vision = {**TOWER, "patch_size": 8, "num_patches": 16}
    Siglip2Model(Siglip2Config(text_config=TEXT_TOWER, vision_config=vision)).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def save_lightglue(folder: Path, seed: int = 0) -> Path:
    """Saves a LightGlue with a SuperPoint of some ten thousand weights, and its image processor."""
    import torch
    from transformers import LightGlueConfig, LightGlueForKeypointMatching, LightGlueImageProcessor, SuperPointConfig

    torch.manual_seed(seed)
    points = SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=16, descriptor_decoder_dim=16, keypoint_threshold=0.0,
        max_keypoints=64,
    )  # fmt: skip
    config = LightGlueConfig(
        keypoint_detector_config=points, descriptor_dim=16, num_hidden_layers=2, num_attention_heads=2,
        filter_threshold=0.0,
    )  # fmt: skip
    model = LightGlueForKeypointMatching(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # the library's own start matches hardly a point, even with itself
            torch.nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5)
    model.save_pretrained(folder)
    LightGlueImageProcessor(size={"height": 96, "width": 128}).save_pretrained(folder)
    return folder


def save_classifier(folder: Path, seed: int = 0, problem_type: str | None = None) -> Path:
    """Saves a ViT of some thousand weights that tells three labels apart, with its image processor."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        id2label={0: "photograph", 1: "drawing", 2: "watermark"}, problem_type=problem_type,
    )  # fmt: skip
    model = ViTForImageClassification(config)
    torch.nn.init.normal_(model.classifier.weight)  # the library's own start makes all labels equally likely
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_linear_head(path: Path, size: int, seed: int = 0) -> Path:
    """Saves a linear layer from `size` numbers to one as safetensors."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(torch.nn.Linear(size, 1).state_dict(), path)
    return path


def annotation_options(name: str, folder: Path) -> dict[str, Any]:
    """Returns the options with which the conformance suite runs the annotation `name`: weights that fit in a test.

    Empty for those that bring what they need. Small things are saved into `folder`.
    """
    if name == "depth":
        return {"model": f"hf:{save_depth_model(folder / name)}"}
    if name == "image_text":
        return {"model": f"open_clip:{save_open_clip_model(folder / name)}"}
    if name == "classifier":
        return {"model": f"hf:{save_classifier(folder / name)}", "labels": ["watermark", "drawing"]}
    if name == "embedding_head":
        from x2i.models.classic.hog_color import HogColor

        return {"file": str(save_linear_head(folder / "head.safetensors", HogColor.dimensions))}
    if name == "blocklist":
        (folder / "known.txt").write_text("ab" * 32 + "\n")
        return {"sha256": [str(folder / "known.txt")], "pdq": [str(folder / "known.txt")]}
    if name in ("normals", "segmentation", "matting", "pose"):
        from tests.support import tiny_maps

        save = {"normals": tiny_maps.save_normals, "segmentation": tiny_maps.save_segformer}
        save |= {"matting": tiny_maps.save_vitmatte, "pose": tiny_maps.save_vitpose}
        people = {"detector": "classic:saliency", "least_box": 0} if name == "pose" else {}
        return {"model": f"hf:{save[name](folder / name)}", **people}
    if name == "repaints":
        from tests.support.tiny_editors import save_pix2pix

        small = {"side": 64, "steps": 1, "device": "cpu"}
        loose = {"similarity": [-1.0, 1.01], "share": [0.001, 1.0], "least_score": 0.0}
        return {"model": f"diffusers:{save_pix2pix(folder / name)}", "set": small, "side": 64, **loose}
    if name == "text":
        return {"set": {"short_side": 256}}  # its own 736 takes seconds for each image
    return {}

"""Architectures of the models that the guides name, as data: their configurations, and the input of one picture.

Inputs have the size to which each model's own processor brings a picture of 640 x 480.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

ANSWER_TOKENS = 40
"""A short caption."""

Inputs = Callable[[nn.Module], dict[str, Any]]


@dataclass(frozen=True)
class Architecture:
    """One model. millions: of parameters, as the guides state them. given: its input, in words.

    kind, config: transformers' class and the fields of its configuration, `model_type` among them. kind "open_clip":
    config is {"name": ARCHITECTURE}. call: the method that is called with `inputs(model)`, "" for the model itself.
    """

    name: str
    millions: float
    kind: str
    config: Mapping[str, Any]
    given: str
    inputs: Inputs
    call: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Returns the model with random weights in fp32, in eval mode."""
        model = _open_clip(self.config) if self.kind == "open_clip" else _transformers(self)
        return model.eval().requires_grad_(False)

    def run(self, model: nn.Module, inputs: Mapping[str, Any]) -> Any:
        return (getattr(model, self.call) if self.call else model)(**inputs, **self.options)


def _transformers(architecture: Architecture) -> nn.Module:
    import transformers

    config = transformers.AutoConfig.for_model(**architecture.config)
    kind = getattr(transformers, architecture.kind)
    made: nn.Module = kind.from_config(config)
    return made


def _open_clip(config: Mapping[str, Any]) -> nn.Module:
    import open_clip

    made: nn.Module = open_clip.create_model(config["name"], force_quick_gelu=True)
    return made


def pixels(height: int, width: int, name: str = "pixel_values", channels: int = 3) -> Inputs:
    return lambda model: {name: torch.randn(1, channels, height, width)}


def words(count: int, name: str = "input_ids", mask: bool = False) -> Inputs:
    def made(model: nn.Module) -> dict[str, Tensor]:
        tokens = {name: torch.arange(1000, 1000 + count)[None]}
        return {**tokens, "attention_mask": torch.ones(1, count, dtype=torch.long)} if mask else tokens

    return made


def joined(*parts: Inputs) -> Inputs:
    return lambda model: {name: value for part in parts for name, value in part(model).items()}


def boxed(side: int) -> Inputs:
    """Returns a square picture and one box in it."""
    box = torch.tensor([[[side / 4, side / 4, side / 2, side / 2]]])
    return joined(pixels(side, side), lambda model: {"input_boxes": box})


def patches(count: int) -> Inputs:
    """Returns a picture as SigLIP2 NaFlex takes it: `count` square patches of 16 pixels."""
    side = round(count**0.5)
    return lambda model: {
        "pixel_values": torch.randn(1, count, 16 * 16 * 3),
        "pixel_attention_mask": torch.ones(1, count, dtype=torch.long),
        "spatial_shapes": torch.tensor([[side, side]]),
    }


def pair(height: int, width: int) -> Inputs:
    return lambda model: {"pixel_values": torch.rand(1, 2, 3, height, width)}


def question(tiles: int, side: int, tokens_a_tile: int, words: int) -> Inputs:
    """Returns a picture in tiles and a question about it, as Idefics3's processor makes them."""

    def made(model: nn.Module) -> dict[str, Tensor]:
        config: Any = model.config
        ids = torch.arange(1000, 1000 + words).tolist() + [config.image_token_id] * (tiles * tokens_a_tile)
        return {
            "pixel_values": torch.randn(1, tiles, 3, side, side),
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        }

    return made


def depth_anything(hidden: int, layers: int, heads: int, taken: list[int], neck: list[int], fusion: int) -> dict:
    backbone = _dinov2(hidden, layers, heads) | {"out_indices": taken, "reshape_hidden_states": False}
    return {
        "model_type": "depth_anything",
        "backbone_config": backbone,
        "reassemble_hidden_size": hidden,
        "neck_hidden_sizes": neck,
        "fusion_hidden_size": fusion,
    }


def _dinov2(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {"model_type": "dinov2", "image_size": 518, "patch_size": 14, **sizes}


def _smolvlm(hidden: int, mlp: int, layers: int, heads: int) -> dict[str, Any]:
    text = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers}
    heads_of = {"num_attention_heads": heads, "num_key_value_heads": heads // 3, "head_dim": 64}
    tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    return {
        "model_type": "idefics3",
        "text_config": {**text, **heads_of, "vocab_size": 49280, "pad_token_id": 2, "tie_word_embeddings": False},
        "vision_config": {"model_type": "idefics3_vision", **tower, "patch_size": 16, "image_size": 512},
        "scale_factor": 4,
        "image_token_id": 49190,
        "tie_word_embeddings": False,
    }


def _hiera(width: int, heads: int, blocks: list[int], whole: list[int], windows: list[int]) -> dict[str, Any]:
    widths = [width * 2**stage for stage in range(4)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": width,
        "num_attention_heads": heads,
        "blocks_per_stage": blocks,
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads * 2**stage for stage in range(4)],
        "window_size_per_stage": windows,
        "global_attention_blocks": whole,
    }
    vision = {"model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": widths[::-1]}
    return {"model_type": "sam2", "vision_config": vision}


SIGLIP2 = {"model_type": "siglip", "text_config": {"model_type": "siglip_text_model", "vocab_size": 256000}}
NAFLEX = {"model_type": "siglip2", "text_config": {"model_type": "siglip2_text_model", "vocab_size": 256000}}
VITDET = {
    "model_type": "vitdet",
    "num_channels": 4,
    "image_size": 512,
    "hidden_size": 384,
    "num_attention_heads": 6,
    "use_relative_position_embeddings": True,
    "window_size": 14,
    "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10],
    "residual_block_indices": [2, 5, 8, 11],
    "out_features": ["stage12"],
}
VITMATTE = {"model_type": "vitmatte", "hidden_size": 384, "fusion_hidden_sizes": [256, 128, 64, 32]}
VITPOSE = {
    "model_type": "vitpose",
    "backbone_config": {"model_type": "vitpose_backbone", "out_indices": [12]},
    "num_labels": 17,
    "use_simple_decoder": True,
}
SEGFORMER = {
    "model_type": "segformer",
    "depths": [3, 6, 40, 3],
    "hidden_sizes": [64, 128, 320, 512],
    "decoder_hidden_size": 768,
    "num_labels": 150,
}
SAPIENS2_HEAD = {
    "upsample_out_channels": [768, 512, 256, 128],
    "upsample_kernel_size": 3,
    "use_pixel_shuffle": True,
    "conv_out_channels": [64, 32, 16],
    "conv_kernel_size": 3,
}
"""Widths as the authors configure the head for normals; that all its kernels are 3 wide is an assumption."""
SAPIENS2 = {"model_type": "sapiens2", "image_size": [1024, 768], "head_config": SAPIENS2_HEAD, "num_labels": 3}
SWIN_TINY = {"model_type": "swin", "depths": [2, 2, 6, 2], "out_features": ["stage1", "stage2", "stage3", "stage4"]}
MASK2FORMER = {"model_type": "mask2former", "backbone_config": SWIN_TINY, "num_labels": 80}
SUPERPOINT = {"model_type": "superpoint", "keypoint_threshold": 0.0, "max_keypoints": 1024}
SAM_HUGE = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120}

DEPTH, MASKS, DETECTION = (
    f"AutoModelFor{task}" for task in ("DepthEstimation", "MaskGeneration", "ZeroShotObjectDetection")
)
CLIP_B, CLIP_L = {"name": "ViT-B-32"}, {"name": "ViT-L-14"}
CAPTIONED = {"max_new_tokens": ANSWER_TOKENS, "min_new_tokens": ANSWER_TOKENS, "do_sample": False}

ARCHITECTURES = (
    Architecture(
        "hf:depth-anything/Depth-Anything-V2-Small-hf",
        25,
        DEPTH,
        depth_anything(384, 12, 6, [3, 6, 9, 12], [48, 96, 192, 384], 64),
        "518 x 686",
        pixels(518, 686),
    ),
    Architecture(
        "hf:depth-anything/Depth-Anything-V2-Base-hf",
        97,
        DEPTH,
        depth_anything(768, 12, 12, [3, 6, 9, 12], [96, 192, 384, 768], 128),
        "518 x 686",
        pixels(518, 686),
    ),
    Architecture(
        "hf:depth-anything/Depth-Anything-V2-Large-hf",
        335,
        DEPTH,
        depth_anything(1024, 24, 16, [5, 12, 18, 24], [256, 512, 1024, 1024], 256),
        "518 x 686",
        pixels(518, 686),
    ),
    Architecture(
        "hf:facebook/sapiens2-normal-0.4b",
        453,
        "AutoModelForNormalEstimation",
        SAPIENS2,
        "1024 x 768",
        pixels(1024, 768),
    ),
    Architecture(
        "hf:nvidia/segformer-b5-finetuned-ade-640-640",
        85,
        "AutoModelForSemanticSegmentation",
        SEGFORMER,
        "640 x 640",
        pixels(640, 640),
    ),
    Architecture(
        "hf:usyd-community/vitpose-base-simple",
        86,
        "AutoModelForPoseEstimation",
        VITPOSE,
        "256 x 192, one person",
        pixels(256, 192),
    ),
    Architecture(
        "hf:hustvl/vitmatte-small-composition-1k",
        26,
        "AutoModelForImageMatting",
        VITMATTE | {"backbone_config": VITDET},
        "480 x 640, one object",
        pixels(480, 640, channels=4),
    ),
    Architecture(
        "hf:IDEA-Research/grounding-dino-tiny",
        172,
        DETECTION,
        {"model_type": "grounding-dino"},
        "800 x 1066, 16 tokens",
        joined(pixels(800, 1066), words(16, mask=True)),
    ),
    Architecture(
        "hf:openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
        172,
        DETECTION,
        {"model_type": "mm-grounding-dino"},
        "800 x 1066, 16 tokens",
        joined(pixels(800, 1066), words(16, mask=True)),
    ),
    Architecture(
        "hf:google/owlv2-base-patch16-ensemble",
        155,
        DETECTION,
        {"model_type": "owlv2", "vision_config": {"image_size": 960, "patch_size": 16}},
        "960 x 960, one phrase",
        joined(pixels(960, 960), words(16, mask=True)),
    ),
    Architecture(
        "hf:facebook/sam3",
        840,
        "AutoModel",
        {"model_type": "sam3"},
        "1008 x 1008, one phrase",
        joined(pixels(1008, 1008), words(32, mask=True)),
    ),
    Architecture(
        "hf-instances:facebook/mask2former-swin-tiny-coco-instance",
        47,
        "AutoModelForUniversalSegmentation",
        MASK2FORMER,
        "800 x 1088",
        pixels(800, 1088),
    ),
    Architecture(
        "hf:facebook/sam2.1-hiera-tiny",
        31,
        MASKS,
        _hiera(96, 1, [1, 2, 7, 2], [5, 7, 9], [8, 4, 14, 7]),
        "1024 x 1024, one box",
        boxed(1024),
    ),
    Architecture(
        "hf:facebook/sam2.1-hiera-large",
        217,
        MASKS,
        _hiera(144, 2, [2, 6, 36, 4], [23, 33, 43], [8, 4, 16, 8]),
        "1024 x 1024, one box",
        boxed(1024),
    ),
    Architecture(
        "hf:facebook/sam-vit-huge",
        641,
        MASKS,
        {"model_type": "sam", "vision_config": SAM_HUGE | {"global_attn_indexes": [7, 15, 23, 31]}},
        "1024 x 1024, one box",
        boxed(1024),
    ),
    Architecture("hf:facebook/dinov2-small", 22, "AutoModel", _dinov2(384, 12, 6), "224 x 224", pixels(224, 224)),
    Architecture("hf:facebook/dinov2-base", 87, "AutoModel", _dinov2(768, 12, 12), "224 x 224", pixels(224, 224)),
    Architecture(
        "hf:facebook/dinov3-vits16-pretrain-lvd1689m",
        22,
        "AutoModel",
        {"model_type": "dinov3_vit"},
        "224 x 224",
        pixels(224, 224),
    ),
    Architecture(
        "open_clip:ViT-B-32/openai", 151, "open_clip", CLIP_B, "224 x 224", pixels(224, 224, "image"), "encode_image"
    ),
    Architecture(
        "open_clip:ViT-L-14/openai", 428, "open_clip", CLIP_L, "224 x 224", pixels(224, 224, "image"), "encode_image"
    ),
    Architecture(
        "hf:google/siglip2-base-patch16-224",
        375,
        "AutoModel",
        SIGLIP2,
        "224 x 224",
        pixels(224, 224),
        "get_image_features",
    ),
    Architecture(
        "open_clip:ViT-B-32/openai, image and words",
        151,
        "open_clip",
        CLIP_B,
        "224 x 224, 77 tokens",
        joined(pixels(224, 224, "image"), words(77, "text")),
    ),
    Architecture(
        "open_clip:ViT-L-14/openai, image and words",
        428,
        "open_clip",
        CLIP_L,
        "224 x 224, 77 tokens",
        joined(pixels(224, 224, "image"), words(77, "text")),
    ),
    Architecture(
        "hf:google/siglip2-base-patch16-224, image and words",
        375,
        "AutoModel",
        SIGLIP2,
        "224 x 224, 64 tokens",
        joined(pixels(224, 224), words(64)),
    ),
    Architecture(
        "hf:google/siglip2-base-patch16-naflex, image and words",
        375,
        "AutoModel",
        NAFLEX,
        "256 patches, 64 tokens",
        joined(patches(256), words(64)),
    ),
    Architecture(
        "hf:ETH-CVG/lightglue_superpoint",
        14,
        "AutoModelForKeypointMatching",
        {"model_type": "lightglue", "keypoint_detector_config": SUPERPOINT},
        "a pair of 480 x 640, 1,024 keypoints each",
        pair(480, 640),
    ),
    Architecture(
        "hf:zju-community/efficientloftr",
        16,
        "AutoModelForKeypointMatching",
        {"model_type": "efficientloftr"},
        "a pair of 480 x 640",
        pair(480, 640),
    ),
    Architecture(
        "hf:HuggingFaceTB/SmolVLM-256M-Instruct",
        256,
        "AutoModelForImageTextToText",
        _smolvlm(576, 1536, 30, 9),
        f"13 tiles of 512 x 512, {ANSWER_TOKENS} tokens written",
        question(13, 512, 64, 100),
        "generate",
        CAPTIONED,
    ),
    Architecture(
        "hf:HuggingFaceTB/SmolVLM-500M-Instruct",
        508,
        "AutoModelForImageTextToText",
        _smolvlm(960, 2560, 32, 15),
        f"13 tiles of 512 x 512, {ANSWER_TOKENS} tokens written",
        question(13, 512, 64, 100),
        "generate",
        CAPTIONED,
    ),
)

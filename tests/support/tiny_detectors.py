"""Tiny detectors and segmenters of real architectures with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "cat", "cup", "of", "coffee", "table", "astronaut"),
    *("red", "car", "##s", "suit", "flag", "person"),
)


def _bert_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return BertTokenizer(vocab=str(folder / "vocab.txt"))


def save_grounding_dino(folder: Path, seed: int = 0, kind: str = "GroundingDino") -> Path:
    """Saves a Grounding DINO, or with "MMGroundingDino" the other one, of some ten thousand weights."""
    import torch
    import transformers

    torch.manual_seed(seed)
    backbone = transformers.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=4,
        out_features=["stage2", "stage3"], out_indices=[2, 3],
    )  # fmt: skip
    text = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        backbone_config=backbone, text_config=text, num_queries=12, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        num_feature_levels=3, max_text_len=64, encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForObjectDetection")(config)
    for name, parameter in model.named_parameters():
        if "bbox_embed" in name or "reference" in name:  # the library's own start puts every box in one place
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    transformers.GroundingDinoProcessor(images, _bert_tokenizer(folder)).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path, seed: int = 0) -> Path:
    """Saves an OWLv2 of some ten thousand weights with a byte-level CLIP tokenizer."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=16)
    torch.manual_seed(seed)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 16, "pad_token_id": len(words) - 1,
            "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}  # fmt: skip
    vision = {**tower, "image_size": 32, "patch_size": 8}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return folder


def save_sam(folder: Path, seed: int = 0) -> Path:
    """Saves a SAM of some ten thousand weights."""
    import torch
    from transformers import (
        SamConfig,
        SamImageProcessor,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )  # fmt: skip

    torch.manual_seed(seed)
    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=8,
        mlp_dim=16, window_size=4, global_attn_indexes=[0], num_pos_feats=8,
    )  # fmt: skip
    prompts = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16, iou_head_depth=2
    )
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    SamModel(config).save_pretrained(folder)
    square = {"height": 64, "width": 64}
    images = SamImageProcessor(size={"longest_edge": 64}, pad_size=square, mask_size={"longest_edge": 32})
    SamProcessor(images).save_pretrained(folder)
    return folder


def save_sam2(folder: Path, seed: int = 0) -> Path:
    """Saves a SAM2 of some ten thousand weights."""
    import torch
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    torch.manual_seed(seed)
    Sam2Model(Sam2Config(**_sam2_parts(16))).save_pretrained(folder)
    images = Sam2ImageProcessor(size=SAM2_SQUARE, mask_size={"height": 32, "width": 32})
    Sam2Processor(images).save_pretrained(folder)
    return folder


def save_sam2_video(folder: Path, seed: int = 0) -> Path:
    """Saves a SAM2 for films of some hundred thousand weights, which sees its objects in every frame."""
    import torch
    from transformers import (
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    torch.manual_seed(seed)
    hidden = 128  # twice the size of the memories, which the library fixes at 64
    memory = {
        "memory_attention_hidden_size": hidden, "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16, "memory_attention_rope_feat_sizes": [8, 8],
        "memory_encoder_hidden_size": hidden, "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": hidden, "memory_fuser_embed_dim": hidden, "memory_fuser_intermediate_dim": 16,
        "memory_fuser_num_layers": 1,
    }  # fmt: skip
    model = Sam2VideoModel(Sam2VideoConfig(image_size=128, **_sam2_parts(hidden), **memory))
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, 2.0)
    model.save_pretrained(folder)
    images = Sam2ImageProcessor(size=SAM2_SQUARE, mask_size={"height": 32, "width": 32})
    Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=SAM2_SQUARE)).save_pretrained(folder)
    return folder


SAM2_SQUARE = {"height": 128, "width": 128}


def _sam2_parts(hidden: int) -> dict[str, Any]:
    from transformers import Sam2HieraDetConfig, Sam2VisionConfig

    hiera = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[128, 128], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 24, 32], num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 2],
        window_positional_embedding_background_size=[4, 4], global_attention_blocks=[3],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=hiera, backbone_channel_list=[32, 24, 16, 8], fpn_hidden_size=hidden,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )  # fmt: skip
    decoder = {
        "hidden_size": hidden, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "iou_head_hidden_dim": 16, "iou_head_depth": 2,
    }  # fmt: skip
    prompts = {"hidden_size": hidden, "image_size": 128, "patch_size": 16, "mask_input_channels": 4}
    return {"vision_config": vision, "prompt_encoder_config": prompts, "mask_decoder_config": decoder}


def save_groundingdino(folder: Path, seed: int = 0) -> dict[str, str]:
    """Saves a network of groundingdino-py as its authors do, with few layers after its Swin-T.

    Returns the backend's options; they name the weights as `model`.
    """
    import torch
    import yaml
    from transformers import BertConfig

    from x2i.models.groundingdino.detector import GroundingDino

    bert = folder / "bert"
    _bert_tokenizer(bert).save_pretrained(bert)
    BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    ).save_pretrained(bert)  # fmt: skip
    small = {"enc_layers": 1, "dec_layers": 2, "dim_feedforward": 32, "nheads": 4, "num_queries": 12}
    fields = {**GroundingDino().fields(), **small, "enc_n_points": 2, "dec_n_points": 2}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(fields))
    torch.manual_seed(seed)
    model = GroundingDino(config=str(folder / "tiny.yaml"), text_encoder=str(bert)).network()
    for name, parameter in model.named_parameters():
        if "bbox_embed" in name:  # the library's own start puts every box in one place
            torch.nn.init.normal_(parameter, std=0.08)
    torch.save({"model": {f"module.{k}": v.half() for k, v in model.state_dict().items()}}, folder / "tiny.pth")
    return {"model": str(folder / "tiny.pth"), "config": str(folder / "tiny.yaml"), "text_encoder": str(bert)}

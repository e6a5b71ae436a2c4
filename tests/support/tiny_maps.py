"""Tiny networks of random weights that make maps: normals, poses, segmentations, mattes; saved as transformers does."""

from __future__ import annotations

from pathlib import Path

SQUARE = {"height": 64, "width": 64}


def save_normals(folder: Path, seed: int = 0) -> Path:
    """Saves a Sapiens2 that estimates normals, of some ten thousand weights, with a processor that pads."""
    import torch
    from transformers import Sapiens2Config, Sapiens2ForNormalEstimation, Sapiens2ImageProcessor

    torch.manual_seed(seed)
    head = {"upsample_out_channels": [8] * 4, "conv_out_channels": [8], "use_pixel_shuffle": False}  # 16 times as large
    config = Sapiens2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=16,
        image_size=[64, 64], patch_size=16, num_labels=3, head_config=head,
    )  # fmt: skip
    Sapiens2ForNormalEstimation(config).save_pretrained(folder)
    Sapiens2ImageProcessor(size=SQUARE, do_pad=True).save_pretrained(folder)
    return folder


def save_vitpose(folder: Path, seed: int = 0) -> Path:
    """Saves a ViTPose with COCO's 17 keypoints, of some ten thousand weights."""
    import torch
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessor

    torch.manual_seed(seed)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        out_indices=[2], mlp_ratio=1,
    )  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=17, edges=[[0, 1], [1, 2]])
    model = VitPoseForPoseEstimation(config)
    torch.nn.init.normal_(model.head.conv.weight, std=0.1)  # the library's own start makes all heatmaps nearly flat
    model.save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


def save_segformer(folder: Path, seed: int = 0, classes: int = 150) -> Path:
    """Saves a SegFormer with `classes` classes, of some ten thousand weights."""
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(seed)
    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], mlp_ratios=[1, 1, 1, 1],
        decoder_hidden_size=16, num_labels=classes,
    )  # fmt: skip
    model = SegformerForSemanticSegmentation(config)
    torch.nn.init.normal_(model.decode_head.classifier.weight)
    model.save_pretrained(folder)
    SegformerImageProcessor(size=SQUARE).save_pretrained(folder)
    return folder


def save_mask2former(folder: Path, seed: int = 0) -> Path:
    """Saves a Mask2Former with 5 classes, of some hundred thousand weights."""
    import torch
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )  # fmt: skip

    torch.manual_seed(seed)
    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=6, num_labels=5,
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config)
    for name, parameter in model.named_parameters():
        if "predictor" in name or "queries" in name:  # the library's own start gives every pixel one class
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    Mask2FormerImageProcessor(size=SQUARE, num_labels=5).save_pretrained(folder)
    return folder


def save_vitmatte(folder: Path, seed: int = 0) -> Path:
    """Saves a ViTMatte of some ten thousand weights."""
    import torch
    from transformers import VitDetConfig, VitMatteConfig, VitMatteForImageMatting, VitMatteImageProcessor

    torch.manual_seed(seed)
    backbone = VitDetConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, image_size=64, pretrain_image_size=64,
        patch_size=16, num_channels=4, out_features=["stage2"], use_relative_position_embeddings=False,
    )  # fmt: skip
    config = VitMatteConfig(
        backbone_config=backbone, hidden_size=16, convstream_hidden_sizes=[8, 8, 8], fusion_hidden_sizes=[16, 8, 8, 8]
    )
    model = VitMatteForImageMatting(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # the library's own start makes every alpha one half
            torch.nn.init.normal_(parameter, std=1.0)
    model.save_pretrained(folder)
    VitMatteImageProcessor().save_pretrained(folder)
    return folder


def save_oneformer(folder: Path, seed: int = 0) -> Path:
    """Saves a OneFormer with 5 classes, of some hundred thousand weights, with a byte-level CLIP tokenizer."""
    import json

    import torch
    from tokenizers import pre_tokenizers
    from transformers import (
        CLIPTokenizer,
        OneFormerConfig,
        OneFormerForUniversalSegmentation,
        OneFormerImageProcessor,
        OneFormerProcessor,
        SwinConfig,
    )

    torch.manual_seed(seed)
    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    config = OneFormerConfig(
        backbone_config=backbone, num_queries=6, hidden_dim=32, conv_dim=32, mask_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=2, query_dec_layers=1,
        text_encoder_width=16, text_encoder_context_length=24, text_encoder_num_layers=1,
        text_encoder_vocab_size=len(words), text_encoder_proj_layers=1, text_encoder_n_ctx=4, task_seq_len=24,
        max_seq_len=24, num_labels=5, is_training=False, common_stride=4,
    )  # fmt: skip
    model = OneFormerForUniversalSegmentation(config)
    for name, parameter in model.named_parameters():
        if "transformer_module" in name and parameter.dim() > 1:  # the library's own start gives every pixel one class
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=24)
    classes = {str(n): {"name": f"class {n}", "isthing": n % 2} for n in range(5)}
    (folder / "classes.json").write_text(json.dumps(classes))
    images = OneFormerImageProcessor(
        size=SQUARE, num_labels=5, repo_path=str(folder), class_info_file="classes.json", num_text=2
    )
    OneFormerProcessor(images, tokenizer, max_seq_length=24, task_seq_length=24).save_pretrained(folder)
    return folder

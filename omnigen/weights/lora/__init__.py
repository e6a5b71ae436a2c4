"""LoRA (arXiv 2106.09685): a low-rank change of some linear layers, trained and stored apart from the network."""

from omnigen.weights.lora.config import LoraConfig
from omnigen.weights.lora.delta import Adapter
from omnigen.weights.lora.files import load_adapter, read_adapters, save_adapter
from omnigen.weights.lora.layer import (
    add_lora,
    load_lora_state,
    lora_state,
    merge_adapter,
    merge_lora,
    unmerge_adapter,
)

__all__ = [
    "Adapter",
    "LoraConfig",
    "add_lora",
    "load_adapter",
    "load_lora_state",
    "lora_state",
    "merge_adapter",
    "merge_lora",
    "read_adapters",
    "save_adapter",
    "unmerge_adapter",
]

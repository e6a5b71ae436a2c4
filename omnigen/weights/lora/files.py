"""An adapter on disk, in the layout of the PEFT library: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnigen.weights.lora.config import LoraConfig
from omnigen.weights.lora.delta import DOWN, UP, Adapter, layers_of
from omnigen.weights.lora.from_diffusers import from_diffusers
from x2i.errors import UserError
from x2i.store.files.atomic import atomic_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
BASE_FINGERPRINT = "omnigen.base"
"""The key of the weights file's metadata under which the fingerprint of the base stands."""

# Of PEFT's configuration: what `load_adapter` reads, and what changes nothing once an adapter is trained.
READ = {"peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "layers_to_transform", "exclude_modules"}
WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config", "inference_mode",
    "init_lora_weights", "layers_pattern", "loftq_config", "lora_dropout", "lora_ga_config", "megatron_core",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type",
}  # fmt: skip
# Starts that leave the base weights as they are; others (pissa, olora, loftq...) put a part of what is learnt there.
STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


def save_adapter(
    folder: Path, config: LoraConfig, state: Mapping[str, Tensor], base: str, base_fingerprint: str = ""
) -> None:
    """Writes an adapter's folder: the weights, then the configuration, each whole or not at all.

    state: what `lora_state` returns (whole tensors). base: name or path of the network it was trained on, for readers.
    base_fingerprint: of that network's weights, by which it is known again.
    """
    from safetensors.torch import save

    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}
    with atomic_file(folder / WEIGHTS_FILE) as stream:
        known = {BASE_FINGERPRINT: base_fingerprint} if base_fingerprint else {}
        stream.write(save(tensors, metadata={"format": "pt", **known}))
    document = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.rank if config.alpha is None else config.alpha,
        "use_rslora": config.rslora,
        "target_modules": list(config.targets),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "task_type": None,
    }
    write_json(folder / CONFIG_FILE, document)


def load_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Reads an adapter that `save_adapter` or PEFT wrote; returns its configuration and `lora_state`'s tensors.

    One that was trained on diffusers' network comes under our names.

    Raises UserError for a kind of adapter that is more than a low-rank change of linear layers (DoRA, modules_to_save,
    ranks that differ by layer...), and for files that are missing, damaged or do not belong together.
    """
    document = _read_config(folder)
    _require_plain(folder / CONFIG_FILE, document)
    state = _read_state(folder / WEIGHTS_FILE)
    layers = layers_of(state)
    chosen = document.get("target_modules")
    narrowed = document.get("layers_to_transform") is not None or bool(document.get("exclude_modules"))
    targets = layers if narrowed or not isinstance(chosen, list) else sorted(chosen)
    try:
        config = LoraConfig(
            document["r"], document.get("lora_alpha", 8), tuple(targets), bool(document.get("use_rslora"))
        )
    except UserError as error:
        raise UserError(f"{folder / CONFIG_FILE}: {error}") from error
    _require_fit(folder, config, state)
    return from_diffusers(config, state)


def base_of(folder: Path) -> str:
    """Returns the path or name of the model that an adapter was trained beside. Raises UserError if it says none."""
    base = _read_config(folder).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(f"{folder / CONFIG_FILE}: base_model_name_or_path: missing; give the model with --model")
    return base


def read_adapters(folders: Iterable[Path], scale: float = 1.0, any_base: bool = False) -> list[Adapter]:
    """Reads the adapters in `folders`, to be added to a network with `scale`.

    any_base: to any network of their size, whatever weights they were trained beside.
    """
    return [
        Adapter(*load_adapter(folder), scale, str(folder), None if any_base else _base_fingerprint(folder))
        for folder in folders
    ]


def _base_fingerprint(folder: Path) -> str:
    """Returns the fingerprint of the weights that an adapter was trained beside; "" if its file tells none."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS_FILE, "pt") as file:
        return (file.metadata() or {}).get(BASE_FINGERPRINT, "")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror or error}; an adapter folder holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict) or "r" not in document:
        raise UserError(f"{path}: expected the configuration of a LoRA adapter, with its rank r")
    return document


def _require_plain(path: Path, document: Mapping[str, Any]) -> None:
    if document.get("peft_type") != "LORA":
        raise UserError(f"{path}: peft_type: found {document.get('peft_type')!r}, expected 'LORA'")
    if document.get("bias", "none") != "none":
        raise UserError(f"{path}: bias: found {document['bias']!r}, expected 'none': biases are not part of an adapter")
    start = document.get("init_lora_weights")
    if start not in STARTS:
        raise UserError(
            f"{path}: init_lora_weights: {start!r} changes the base weights at the start, so this file does not hold "
            f"all of the change; convert it with PEFT (path_initial_model_for_weight_conversion) first"
        )
    if not isinstance(document.get("use_rslora"), bool | None):
        raise UserError(f"{path}: use_rslora: found {document['use_rslora']!r}, expected true or false")
    chosen = document.get("target_modules")
    if isinstance(chosen, list) and not all(isinstance(name, str) for name in chosen):
        raise UserError(f"{path}: target_modules: found {chosen!r}, expected names of layers")
    for name, value in document.items():
        if name not in READ | WITHOUT_EFFECT | {"bias"} and value:
            raise UserError(
                f"{path}: {name}: found {value!r}; only plain LoRA on linear layers is read (no DoRA, no "
                f"modules_to_save, one rank and one alpha for all layers)"
            )


def _read_state(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    precisions = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

    if not path.is_file():
        raise UserError(f"{path}: no such file; an adapter folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); copy it again") from error
    state = {}
    for name, tensor in tensors.items():
        short = name.removeprefix(PREFIX)
        if short == name or not name.endswith((DOWN, UP)):
            raise UserError(f"{path}: {name}: expected names such as {PREFIX}llm.layers.0.self_attn.qkv_proj{DOWN}")
        if tensor.ndim != 2:
            raise UserError(f"{path}: {name}: found the shape {tuple(tensor.shape)}, expected a matrix")
        if tensor.dtype not in precisions:
            raise UserError(f"{path}: {name}: found {tensor.dtype}; quantized weights are not read")
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {name}: holds values that are not finite; this adapter is spoilt")
        state[short] = tensor
    for name in state:
        other = name.removesuffix(DOWN) + UP if name.endswith(DOWN) else name.removesuffix(UP) + DOWN
        if other not in state:
            raise UserError(f"{path}: {name} is there without {other}")
    if not state:
        raise UserError(f"{path}: holds no tensors")
    return state


def _require_fit(folder: Path, config: LoraConfig, state: Mapping[str, Tensor]) -> None:
    for layer in layers_of(state):
        ranks = state[layer + DOWN].shape[0], state[layer + UP].shape[1]
        if ranks != (config.rank, config.rank):
            raise UserError(
                f"{folder}: {layer}: A and B have the ranks {ranks[0]} and {ranks[1]}, {CONFIG_FILE} says {config.rank}"
            )
        if not config.is_target(layer):
            raise UserError(
                f"{folder}: {WEIGHTS_FILE} changes {layer}, which target_modules of {CONFIG_FILE} does not name"
            )

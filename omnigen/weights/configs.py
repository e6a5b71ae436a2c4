"""The config.json of each layout, and the `ModelConfig` that it means.

A field that our networks do not have is either without effect on what is computed, or refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from omnigen.network.config import ModelConfig
from x2i.errors import UserError

DIFFUSERS_CLASS = "OmniGenTransformer2DModel"
PUBLISHED_CHANNELS = 4

# Where a field of Phi-3's configuration can only have one value for the decoder to be ours.
PHI3_FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "quantization_config": None}
DIFFUSERS_FIXED = {
    "time_step_dim": 256, "flip_sin_to_cos": True, "downscale_freq_shift": 0, "timestep_activation_fn": "silu"
}  # fmt: skip


def parse_phi3(document: Mapping[str, Any], origin: object, in_channels: int = PUBLISHED_CHANNELS) -> ModelConfig:
    """Returns the network of a Phi-3 configuration, OmniGen's published one or a language model's.

    Reads `rope_scaling` with `rope_theta`, and transformers 5's `rope_parameters`. origin: named in errors. Raises
    UserError for a missing field, and for what our decoder does not have: grouped keys and values, partial rotary
    embeddings, other kinds of scaling.
    """
    required = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    _require_present(document, required, origin)
    for name in required:
        count = document[name]
        _require_value(isinstance(count, int) and count > 0, origin, name, count, "a whole number above zero")
    for name, value in PHI3_FIXED.items():
        _require_value(document.get(name, value) == value, origin, name, document.get(name), repr(value))
    heads, hidden = document["num_attention_heads"], document["hidden_size"]
    groups = document.get("num_key_value_heads")
    expected = f"{heads}, as num_attention_heads: OmniGen's attention has no grouped keys and values"
    _require_value(groups in (None, heads), origin, "num_key_value_heads", groups, expected)
    width = document.get("head_dim")
    _require_value(width in (None, hidden // heads), origin, "head_dim", width, f"{hidden // heads}, width over heads")
    rope = {**_mapping(document, "rope_scaling", origin), **_mapping(document, "rope_parameters", origin)}
    partial = rope.get("partial_rotary_factor", document.get("partial_rotary_factor"))
    expected = "1: OmniGen turns all dimensions of a head"
    _require_value(partial in (None, 1), origin, "partial_rotary_factor", partial, expected)
    short, long = _factors(rope, origin)
    fields = {
        "hidden_size": hidden,
        "num_layers": document["num_hidden_layers"],
        "num_heads": heads,
        "intermediate_size": document["intermediate_size"],
        "vocab_size": document["vocab_size"],
        "in_channels": in_channels,
        "rms_norm_eps": document.get("rms_norm_eps", 1e-5),
        "rope_theta": _number(_first("rope_theta", rope, document, 10000.0)),
        "max_position_embeddings": document.get("max_position_embeddings", 4096),
        "original_max_position_embeddings": _first("original_max_position_embeddings", document, rope, 4096),
        "rope_short_factors": short,
        "rope_long_factors": long,
    }
    config = _config(fields, origin)
    if short is not None:
        _require_usual_scaling(rope, config, origin)
    return config


def write_phi3(config: ModelConfig) -> dict[str, Any]:
    """Returns the published layout's configuration: Phi-3's, with `rope_scaling`, as every version of it reads."""
    scaling = None
    if config.rope_short_factors is not None and config.rope_long_factors is not None:
        factors = {"short_factor": list(config.rope_short_factors), "long_factor": list(config.rope_long_factors)}
        scaling = {"type": "longrope", **factors}
    return {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_heads,
        "original_max_position_embeddings": config.original_max_position_embeddings,
        "pad_token_id": _padding(config),
        "resid_pdrop": 0.0,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_scaling": scaling,
        "rope_theta": config.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def parse_diffusers(document: Mapping[str, Any], origin: object) -> ModelConfig:
    """Returns the network of diffusers' configuration of `OmniGenTransformer2DModel`; what it leaves out is default."""
    for name, value in DIFFUSERS_FIXED.items():
        _require_value(document.get(name, value) == value, origin, name, document.get(name), repr(value))
    heads = document.get("num_attention_heads", 32)
    groups = document.get("num_key_value_heads", 32)
    expected = f"{heads}, as num_attention_heads: our attention has no grouped keys and values"
    _require_value(groups == heads, origin, "num_key_value_heads", groups, expected)
    rope = _mapping(document, "rope_scaling", origin)
    _require_present(rope, ("short_factor", "long_factor"), f"{origin}: rope_scaling")
    fields = {
        "hidden_size": document.get("hidden_size", 3072),
        "num_layers": document.get("num_layers", 32),
        "num_heads": heads,
        "intermediate_size": document.get("intermediate_size", 8192),
        "vocab_size": document.get("vocab_size", 32064),
        "in_channels": document.get("in_channels", 4),
        "patch_size": document.get("patch_size", 2),
        "rms_norm_eps": document.get("rms_norm_eps", 1e-5),
        "rope_theta": _number(document.get("rope_base", 10000)),
        "max_position_embeddings": document.get("max_position_embeddings", 131072),
        "original_max_position_embeddings": document.get("original_max_position_embeddings", 4096),
        "rope_short_factors": rope["short_factor"],
        "rope_long_factors": rope["long_factor"],
        "pos_embed_max_size": document.get("pos_embed_max_size", 192),
    }
    return _config(fields, origin)


def write_diffusers(config: ModelConfig) -> dict[str, Any]:
    """Returns diffusers' configuration. Plain RoPE becomes factors of 1 without scaling: diffusers knows no other."""
    plain = [1.0] * (config.head_dim // 2)
    longest, original = config.max_position_embeddings, config.original_max_position_embeddings
    theta = config.rope_theta
    return {
        "_class_name": DIFFUSERS_CLASS,
        "downscale_freq_shift": 0,
        "flip_sin_to_cos": True,
        "hidden_size": config.hidden_size,
        "in_channels": config.in_channels,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": longest,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "num_layers": config.num_layers,
        "original_max_position_embeddings": longest if config.rope_short_factors is None else original,
        "pad_token_id": _padding(config),
        "patch_size": config.patch_size,
        "pos_embed_max_size": config.pos_embed_max_size,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_base": int(theta) if float(theta).is_integer() else theta,
        "rope_scaling": {
            "short_factor": list(config.rope_short_factors or plain),
            "long_factor": list(config.rope_long_factors or plain),
        },
        "time_step_dim": 256,
        "timestep_activation_fn": "silu",
        "vocab_size": config.vocab_size,
    }


def differences(one: ModelConfig, other: ModelConfig) -> dict[str, tuple[str, str]]:
    """Returns, by name, the fields in which two networks differ: both values as a message shows them."""

    def shown(value: object) -> str:
        return f"[{value[0]}, {value[1]}... {value[-1]}]" if isinstance(value, list) else f"{value}"

    first, second = one.to_dict(), other.to_dict()
    return {name: (shown(first[name]), shown(second[name])) for name in first if first[name] != second[name]}


PARSERS: Mapping[str, Callable[[Mapping[str, Any], object], ModelConfig]] = {
    "official": parse_phi3,
    "diffusers": parse_diffusers,
}
WRITERS: Mapping[str, Callable[[ModelConfig], dict[str, Any]]] = {
    "official": write_phi3,
    "diffusers": write_diffusers,
}


def _factors(rope: Mapping[str, Any], origin: object) -> tuple[Any, Any]:
    """Returns the short and long factors of LongRoPE, or None twice for plain RoPE; refuses other kinds by name."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None, None
    expected = "'longrope' (once called 'su'), or none"
    _require_value(kind in ("longrope", "su"), origin, "rope_scaling.type", kind, expected)
    _require_present(rope, ("short_factor", "long_factor"), f"{origin}: rope_scaling")
    return rope["short_factor"], rope["long_factor"]


def _require_usual_scaling(rope: Mapping[str, Any], config: ModelConfig, origin: object) -> None:
    """Refuses a factor, or a scaling of cos and sin, other than what the two context lengths give."""
    from omnigen.network.rope import attention_scaling

    ratio = config.max_position_embeddings / config.original_max_position_embeddings
    scaling = attention_scaling(config)
    for name, usual in (("factor", ratio), ("attention_factor", scaling)):
        found = rope.get(name)
        number = _number(found)
        fits = found is None or (isinstance(number, float) and math.isclose(number, usual, rel_tol=1e-6))
        _require_value(fits, origin, f"rope_scaling.{name}", found, f"{usual:g}, which the context lengths give")


def _mapping(document: Mapping[str, Any], name: str, origin: object) -> dict[str, Any]:
    found = document.get(name)
    _require_value(found is None or isinstance(found, dict), origin, name, found, "a JSON object, or null")
    return found or {}


def _first(name: str, one: Mapping[str, Any], other: Mapping[str, Any], usual: object) -> Any:
    """Returns the field of the first that has it, not null, or what is usual."""
    return next((found for found in (one.get(name), other.get(name)) if found is not None), usual)


def _number(value: Any) -> Any:
    """Returns a number as a float; anything else, a number beyond every float too, as it is for others to refuse."""
    try:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    except OverflowError:
        return value


def _config(fields: Mapping[str, Any], origin: object) -> ModelConfig:
    try:
        return ModelConfig.from_dict(fields)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error


def _padding(config: ModelConfig) -> int:
    """Phi-3's padding id, or 0 where the vocabulary does not reach it; nothing is ever padded with it here."""
    return 32000 if config.vocab_size > 32000 else 0


def _require_present(document: Mapping[str, Any], names: tuple[str, ...], origin: object) -> None:
    missing = [name for name in names if name not in document]
    if missing:
        raise UserError(f"{origin}: missing {', '.join(missing)}")


def _require_value(holds: bool, origin: object, name: str, found: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{origin}: {name}: found {found!r}, expected {expected}")

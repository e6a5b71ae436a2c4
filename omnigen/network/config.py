"""The shape of an OmniGen network: one frozen dataclass, and presets from a laptop's to the authors' 3.8 billion."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from x2i.errors import UserError

# Of the published checkpoint's configuration (Phi-3, 128k context), one factor per pair of a 96-dimensional head.
PHI3_SHORT_FACTORS: tuple[float, ...] = (
    (1.05,) * 3 + (1.1,) * 3 + (1.25, 1.25, 1.4, 1.45, 1.55, 1.85, 1.9) + (2.0,) * 19 + (2.1, 2.1, 2.2)
    + (2.35,) * 4 + (2.4, 2.4, 2.65, 2.7, 2.9, 2.95, 3.05, 3.05, 3.05)
)  # fmt: skip
PHI3_LONG_FACTORS: tuple[float, ...] = (
    1.0299999713897705, 1.0499999523162842, 1.0499999523162842, 1.0799999237060547, 1.2299998998641968,
    1.2299998998641968, 1.2999999523162842, 1.4499999284744263, 1.5999999046325684, 1.6499998569488525,
    1.8999998569488525, 2.859999895095825, 3.68999981880188, 5.419999599456787, 5.489999771118164,
    5.489999771118164, 9.09000015258789, 11.579999923706055, 15.65999984741211, 15.769999504089355,
    15.789999961853027, 18.360000610351562, 21.989999771118164, 23.079999923706055, 30.009998321533203,
    32.35000228881836, 32.590003967285156, 35.56000518798828, 39.95000457763672, 53.840003967285156,
    56.20000457763672, 57.95000457763672, 59.29000473022461, 59.77000427246094, 59.920005798339844,
    61.190006256103516, 61.96000671386719, 62.50000762939453, 63.3700065612793, 63.48000717163086,
    63.48000717163086, 63.66000747680664, 63.850006103515625, 64.08000946044922, 64.760009765625,
    64.80001068115234, 64.81001281738281, 64.81001281738281,
)  # fmt: skip

CUSTOM = "custom"
# Far beyond any network. A mistyped number would be built for hours, or overflow, before it is found to fit no weights.
MOST: Mapping[str, int] = {
    "hidden_size": 1 << 24, "num_layers": 1000, "num_heads": 1 << 12, "intermediate_size": 1 << 26,
    "vocab_size": 1 << 24, "in_channels": 1 << 12, "patch_size": 1 << 8, "pos_embed_max_size": 1 << 11,
}  # fmt: skip


@dataclass(frozen=True)
class ModelConfig:
    """The numbers that fix an OmniGen network's parameters. Raises UserError on construction if they do not fit.

    vocab_size, in_channels: those of the tokenizer and of the codec that feed the network.
    rope_short_factors, rope_long_factors: LongRoPE divisors, one per pair of head dimensions; None: plain RoPE.
        The long ones apply to a sample of more than `original_max_position_embeddings` tokens.
    pos_embed_max_size: side, in tokens, of the fixed 2-D position table, and so of the largest image.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    in_channels: int
    patch_size: int = 2
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    max_position_embeddings: int = 131072
    original_max_position_embeddings: int = 4096
    rope_short_factors: tuple[float, ...] | None = None
    rope_long_factors: tuple[float, ...] | None = None
    pos_embed_max_size: int = 192

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, list | tuple) else [value]:
                fits = not isinstance(number, int | float) or _is_positive(number)
                _require(fits, field.name, number, "a finite number above zero")
        for name in ("rope_short_factors", "rope_long_factors"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(float(factor) for factor in value))
        for name, most in MOST.items():
            _require(getattr(self, name) <= most, name, getattr(self, name), f"at most {most}")
        _require(self.hidden_size % self.num_heads == 0, "hidden_size", self.hidden_size, "a multiple of num_heads")
        _require(self.head_dim % 2 == 0, "hidden_size", self.hidden_size, "an even number of dimensions per head")
        _require(self.hidden_size % 4 == 0, "hidden_size", self.hidden_size, "a multiple of 4")
        short, long = self.rope_short_factors, self.rope_long_factors
        _require((short is None) == (long is None), "rope_short_factors", short, "both factor lists, or neither")
        for name, factors in (("rope_short_factors", short), ("rope_long_factors", long)):
            fits = factors is None or len(factors) == self.head_dim // 2
            _require(fits, name, factors, f"{self.head_dim // 2} factors, one per pair of head dimensions")
        original = self.original_max_position_embeddings
        # Its logarithm divides LongRoPE's scaling.
        fits = short is None or original > 1
        _require(fits, "original_max_position_embeddings", original, "more than 1, as there are rope_short_factors")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form: every field, tuples as lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ModelConfig:
        """Reads what `to_dict` wrote. Raises UserError for an unknown or missing field or a value of a wrong type."""
        known = {field.name: field for field in fields(cls)}
        for name, value in document.items():
            if name not in known:
                raise UserError(f"model.{name}: no such field{_nearest(name, known)}; fields: {', '.join(known)}")
            _require_type(name, value, str(known[name].type))
        required = ("hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size", "in_channels")
        missing = [name for name in required if name not in document]
        if missing:
            raise UserError(f"model: missing {', '.join(missing)}; give them, or start from a preset ({_names()})")
        return cls(**document)


def preset(name: str, **overrides: Any) -> ModelConfig:
    """Returns the preset `name` with fields replaced. Raises UserError for an unknown preset or field.

    Replace `vocab_size` and `in_channels` by those of the tokenizer and the codec in use. `custom` has no fields of its
    own: `overrides` give all of them.
    """
    if name == CUSTOM:
        return ModelConfig.from_dict(overrides)
    if name not in PRESETS:
        raise UserError(f"model preset {name!r}: no such preset{_nearest(name, PRESETS)}; presets: {_names()}")
    return ModelConfig.from_dict({**PRESETS[name].to_dict(), **overrides})


def _names() -> str:
    return ", ".join(PRESETS)


def _nearest(name: str, valid: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, valid, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise UserError(f"model.{name}: found {found!r}, expected {expected}")


def _is_positive(number: int | float) -> bool:
    try:
        return not isinstance(number, bool) and math.isfinite(number) and number > 0
    except OverflowError:  # a whole number beyond every float
        return False


def _require_type(name: str, value: object, annotation: str) -> None:
    if annotation == "int":
        _require(isinstance(value, int), name, value, "a whole number")
    elif annotation == "float":
        _require(isinstance(value, int | float), name, value, "a number")
    else:
        numbers = isinstance(value, list | tuple) and all(isinstance(factor, int | float) for factor in value)
        _require(value is None or numbers, name, value, "a list of numbers, or null")


def _scaled(hidden_size: int, num_layers: int, num_heads: int, pos_embed_max_size: int) -> ModelConfig:
    """A small network in Phi-3's proportions (feed-forward 8/3 of the width), for the embedded codec and tokenizer."""
    return ModelConfig(
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_size=hidden_size * 8 // 3,
        vocab_size=BYTE_VOCABULARY,
        in_channels=DCT_CHANNELS,
        pos_embed_max_size=pos_embed_max_size,
    )


# The sizes of the embedded defaults; the tokenizer and the codec hold the meaning, a test holds the agreement.
BYTE_VOCABULARY = 272
DCT_CHANNELS = 48

PRESETS: dict[str, ModelConfig] = {
    "tiny": _scaled(256, 4, 4, 64),
    "small": _scaled(384, 6, 6, 64),
    "base": _scaled(768, 12, 8, 128),
    "large": replace(
        _scaled(1536, 24, 16, 192), rope_short_factors=PHI3_SHORT_FACTORS, rope_long_factors=PHI3_LONG_FACTORS
    ),
    "phi3-mini": ModelConfig(
        hidden_size=3072,
        num_layers=32,
        num_heads=32,
        intermediate_size=8192,
        vocab_size=32064,
        in_channels=4,
        rope_short_factors=PHI3_SHORT_FACTORS,
        rope_long_factors=PHI3_LONG_FACTORS,
    ),
}

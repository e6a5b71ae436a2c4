"""The model's configuration: presets, JSON, and errors that name the field."""

from __future__ import annotations

import json
import math

import pytest

from omnigen.network.config import PHI3_LONG_FACTORS, PHI3_SHORT_FACTORS, PRESETS, ModelConfig, preset
from omnigen.network.rope import attention_scaling
from x2i.errors import UserError


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == PRESETS[name]


def test_the_full_size_preset_is_the_published_one() -> None:
    config = PRESETS["phi3-mini"]
    assert config.head_dim == 96
    assert len(PHI3_SHORT_FACTORS) == len(PHI3_LONG_FACTORS) == 48
    assert attention_scaling(config) == pytest.approx(1.1902, abs=1e-4)


def test_a_preset_takes_overrides() -> None:
    assert preset("tiny", in_channels=4, vocab_size=32064).in_channels == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hiden_size": 4}, "did you mean 'hidden_size'"),
        ({"num_heads": 5}, "multiple of num_heads"),
        ({"num_layers": "four"}, "expected a whole number"),
        ({"num_layers": 0}, "above zero"),
        ({"rope_short_factors": [1.0]}, "both factor lists"),
        ({"rope_short_factors": [1.0], "rope_long_factors": [1.0]}, "32 factors"),
        ({"num_layers": 10_000_000}, "model.num_layers: found 10000000, expected at most 1000"),
        ({"hidden_size": 2**40}, "model.hidden_size: found 1099511627776, expected at most 16777216"),
        ({"rope_theta": 10**400}, "model.rope_theta: .*expected a finite number above zero"),
        ({"rope_theta": math.inf}, "model.rope_theta: found inf"),
        *(
            ({"rope_short_factors": [1.0] * 32, "rope_long_factors": [1.0] * 31 + [wrong]}, f"factors: found {wrong},")
            for wrong in (0.0, -1.5, math.nan, math.inf, True)
        ),
        (
            {"rope_short_factors": [1.0] * 32, "rope_long_factors": [1.0] * 32, "original_max_position_embeddings": 1},
            "model.original_max_position_embeddings: found 1, expected more than 1",
        ),
    ],
)
def test_a_wrong_value_names_the_field_and_the_remedy(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelConfig.from_dict({**PRESETS["tiny"].to_dict(), **change})


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        preset("tinny")


def test_missing_fields_are_named() -> None:
    with pytest.raises(UserError, match="missing hidden_size"):
        ModelConfig.from_dict({"num_layers": 2})

"""The budgets of models that the guides give: what is counted follows from the architecture."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from benchmarks.model_architectures import ARCHITECTURES
from benchmarks.model_budgets import budget


@pytest.mark.parametrize("name", ["hf:facebook/dinov2-small"])
def test_parameters_and_operations_of_a_vision_transformer_follow_from_its_sizes(name: str):
    [architecture] = [model for model in ARCHITECTURES if model.name == name]
    found, width, layers, tokens = budget(architecture), 384, 12, 1 + (224 // 14) ** 2
    a_layer = 12 * width**2
    assert found["parameters"] == pytest.approx(layers * a_layer, rel=0.05)
    products, attention = 2 * tokens * layers * a_layer, 4 * tokens**2 * width * layers
    assert found["operations"] == pytest.approx(products + attention, rel=0.02)
    hidden = 4 * tokens * width * 4  # bytes of what the widest matrix product writes
    assert hidden < found["memory"] < 10 * hidden
    assert found["seconds"] is None

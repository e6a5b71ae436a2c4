"""The budgets of models that the guides give: what is counted follows from the architecture."""

from __future__ import annotations

import pytest

from tests.support import REPOSITORY


def test_parameters_and_operations_of_a_vision_transformer_follow_from_its_sizes(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import model_budgets

    [architecture] = [model for model in model_budgets.ARCHITECTURES if model.name == "hf:facebook/dinov2-small"]
    found, width, layers, tokens = model_budgets.budget(architecture), 384, 12, 1 + (224 // 14) ** 2
    a_layer = 12 * width**2
    assert found["parameters"] == pytest.approx(layers * a_layer, rel=0.05)
    products, attention = 2 * tokens * layers * a_layer, 4 * tokens**2 * width * layers
    assert found["operations"] == pytest.approx(products + attention, rel=0.02)
    hidden = tokens * 4 * width * 4  # bytes of the widest activations, in fp32
    assert hidden < found["memory"] < 10 * hidden
    assert found["seconds"] is None

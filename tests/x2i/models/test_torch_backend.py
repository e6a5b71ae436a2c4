"""What networks of transformers share: they are loaded whole or not at all."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file, save_file

from tests.support.tiny_models import save_classifier
from x2i.errors import UserError
from x2i.models.registry import Ability, load


def test_files_that_lack_a_weight_are_refused_by_its_name(tmp_path):
    file = save_classifier(tmp_path / "vit") / "model.safetensors"
    state = load_file(file)
    del state["classifier.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"vit: cannot be loaded as \w+: 1 of its weights .* such as classifier\.weight"
    ):
        load(Ability.IMAGE_CLASSIFIER, f"hf:{tmp_path / 'vit'}")

"""Imported groups of images become samples: each image in its role, only groups that fill every role."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.command_line import typed
from tests.support.photos import photo
from x2i.errors import UserError
from x2i.image import decode, encode
from x2i.recipes import make_recipe
from x2i.recipes.plan import plan_samples
from x2i.store import Dataset
from x2i.store.query.views import Selection

LEVELS = {"person": 40, "garment": 90, "output": 140, "before": 190, "after": 230}


@pytest.fixture(scope="module")
def outfits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three rows of triples, one without its garment, and one row of a frame and a later one."""
    folder = tmp_path_factory.mktemp("outfits")
    rows = []
    for number in range(4):
        roles = ("person", "garment", "output") if number < 3 else ("before", "after")
        for role in roles:
            shade = photo("coffee", 64) // 16 + np.uint8(LEVELS[role] + number)
            (folder / f"{role}-{number}.png").write_bytes(encode(shade, "png"))
        named = [role for role in roles if (number, role) != (1, "garment")]
        row = {f"{role}_file_name": f"{role}-{number}.png" for role in named}
        rows.append({**row, "text": "Opening [a box]." if number == 3 else ""})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    root = tmp_path_factory.mktemp("data")
    assert typed("import", "hf-images", folder, "--out", root, "--executor", "inline") == 0
    return Dataset.open(root)


def test_a_sample_has_the_images_of_one_group_in_the_order_of_the_roles(outfits: Dataset) -> None:
    options = ("--executor", "inline", "--max-side", 64)
    assert typed("materialize", outfits.root, "--recipe", "try_on", "--recipe", "motion", *options) == 0
    tried = list(outfits.samples("try_on"))
    assert len(tried) == 2
    for sample, images in tried:
        levels = [decode(image).astype(int).mean() - photo("coffee", 64).astype(int).mean() / 16 for image in images]
        assert np.allclose(np.diff(levels), 50, atol=4)
        assert sample.recipe.parameters["roles"] == ["person", "garment", "output"]
    ((moved, images),) = outfits.samples("motion")
    assert "opening [a box]" in moved.instruction
    assert decode(images[0]).mean() < decode(images[1]).mean()


def test_roles_of_other_names_are_chosen_and_counted(outfits: Dataset) -> None:
    turned = make_recipe("style_transfer", {"roles": ["garment", "person", "output"]})
    assert plan_samples(outfits, turned, Selection({})).rows.num_rows == 2
    odd = make_recipe("style_transfer", {"roles": ["o'clock", "person", "output"]})
    assert plan_samples(outfits, odd, Selection({})).rows.num_rows == 0
    with pytest.raises(UserError, match="roles: expected 3, found"):
        plan_samples(outfits, make_recipe("try_on", {"roles": ["person", "output"]}), Selection({}))

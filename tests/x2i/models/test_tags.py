"""Tags of a list, as a vision-language model answers the prompt `tags`."""

from __future__ import annotations

import pytest

from x2i.models.registry import Ability, load


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("Red car, street; Tree", ["red car", "street", "tree"]),
        ("- cup\n- spoon\n* saucer\n", ["cup", "spoon", "saucer"]),
        ("1. cat\n2) whiskers, cat", ["cat", "whiskers"]),
        ('"blue sky", clouds.', ["blue sky", "clouds"]),
        ("This is a picture of a cat on a sofa, cat", ["cat"]),
        ("4x4 truck, 35 mm film", ["4x4 truck", "35 mm film"]),
        ("", []),
    ],
)
def test_the_parts_of_a_list_are_its_tags(caption, tags):
    assert load(Ability.PHRASE_EXTRACTOR, "classic:tags").phrases([caption]) == [tags]

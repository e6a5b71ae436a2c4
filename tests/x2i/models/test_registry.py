"""A backend is named by a string; what does not exist is refused with what does."""

from __future__ import annotations

import pytest

from x2i.errors import UserError
from x2i.models import registry
from x2i.models.registry import Ability, ModelName


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alt-text", ("alt-text", "", "")),
        ("classic:sift", ("classic", "sift", "")),
        ("hf:facebook/dinov2-base@abc123", ("hf", "facebook/dinov2-base", "abc123")),
        ("openai:http://host:8000/v1#model", ("openai", "http://host:8000/v1#model", "")),
    ],
)
def test_names_are_parsed_and_written_back(text, parts):
    name = ModelName.parse(text)
    assert (name.family, name.model, name.revision) == parts
    assert str(name) == text


@pytest.mark.parametrize("text", ["", ":sift", "classic:", "classic:sift@", "classic: sift", "Classic:sift"])
def test_malformed_names_are_refused(text):
    with pytest.raises(UserError, match=r"expected family:model\[@revision\]"):
        ModelName.parse(text)


def test_column_names_hold_only_plain_characters():
    assert ModelName.parse("open_clip:ViT-L-14/openai").column_suffix == "vit-l-14-openai"
    assert ModelName.parse("classic:hog-color").column_suffix == "hog-color"


@pytest.mark.parametrize(("ability", "family"), registry.BACKENDS)
def test_every_row_of_the_table_loads(ability, family):
    for name in registry.available(ability):
        if name.split(":")[0] == family:
            assert registry._load(ability, name) is not None


def test_a_family_of_a_later_version_is_named_with_what_exists():
    with pytest.raises(UserError, match="family 'hf' for captioner is not in this version; available: alt-text"):
        registry.captioner("hf:some/model")


def test_a_misspelt_model_gets_the_nearest_name():
    with pytest.raises(UserError, match=r"'classic:hog-color' does not exist.*did you mean classic:hog-color\?"):
        registry.image_embedder("classic:hog-color")
    with pytest.raises(UserError, match=r"family 'classik'.*did you mean classic:sift\?"):
        registry.instance_matcher("classik:sift")


def test_an_ability_without_a_backend_says_so():
    assert registry.available(Ability.DEPTH_ESTIMATOR) == []
    with pytest.raises(UserError, match="depth estimator 'hf:depth': this version has no backend for that ability"):
        registry.check(Ability.DEPTH_ESTIMATOR, "hf:depth")


def test_a_revision_of_a_backend_without_revisions_is_refused():
    with pytest.raises(UserError, match="classic has no revisions; write classic:sift"):
        registry.check(Ability.INSTANCE_MATCHER, "classic:sift@v2")

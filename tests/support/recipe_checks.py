"""What every recipe must fulfill, whoever wrote it: checks that take a recipe's class and use its own example."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, get_origin, get_type_hints

import numpy as np

from tests.support.photos import photo
from x2i.options import Option, as_config, check, option_fields
from x2i.reasons import Dropped
from x2i.recipes.base import PairRecipe, Recipe, Rendered
from x2i.recipes.phrasings import MINIMUM_PHRASINGS, read_pool
from x2i.recipes.restoration.base import Restoration
from x2i.sample import KEY_PATTERN, PLACEHOLDER_PATTERN, TASK_PATTERN, canonical_json, placeholder, wrong_marks
from x2i.seeding import generator
from x2i.settings import from_mapping

Check = Callable[[type[Recipe]], None]
PHOTOS = ("astronaut", "coffee", "motorcycle_left", "chelsea")


def render(recipe: Recipe, key: str = "k", photo_name: str = "astronaut", side: int = 256) -> Rendered | Dropped:
    """Renders the recipe's example on a photograph, as the renderer would."""
    others = [name for name in PHOTOS if name != photo_name]
    example = recipe.example([photo(photo_name, side), photo(others[0], side)])
    return recipe.make(example.sources, example.metadata, generator(key, recipe.name, recipe.version))


def made(kind: type[Recipe], key: str = "k", photo_name: str = "astronaut", side: int = 256) -> Rendered:
    result = render(kind(), key, photo_name, side)
    assert isinstance(result, Rendered), result
    return result


def it_says_what_it_is(kind: type[Recipe]) -> None:
    assert TASK_PATTERN.fullmatch(kind.name)
    # samples of more images have names of their own: the column `sample_name` of `combine`
    assert KEY_PATTERN.fullmatch("-".join([kind.name, *["00000-00000"] * min(3, max(1, len(kind.image_slots)))]))
    assert kind.title
    assert kind.title[0].isupper()
    assert len(kind.title) <= 70
    assert kind.family
    assert kind.version >= 1
    assert any(inspect.getdoc(cls) for cls in kind.__mro__ if cls.__module__ == kind.__module__)
    names = {f"input_{number}" for number in range(1, len(kind.image_slots) + 1)} | {"output"}
    assert set(kind.lossless) <= names
    if issubclass(kind, PairRecipe):
        assert kind.operation[0].islower()


def its_fields_are_options_within_their_bounds(kind: type[Recipe]) -> None:
    assert is_dataclass(kind)
    hints = get_type_hints(kind, include_extras=True)
    annotated = {name for name, hint in hints.items() if get_origin(hint) is Annotated}
    assert annotated == {field.name for field in fields(kind)}, "a field without @dataclass(frozen=True) or Option"
    for field in option_fields(kind):
        assert isinstance(field.option, Option)
        assert field.option.help.endswith("."), field.name
    recipe = kind()
    check(recipe)
    told = json.loads(canonical_json(as_config(recipe)))
    assert from_mapping(kind, told, kind.name) == recipe
    canonical_json(dict(recipe.config()))


def its_samples_are_images_of_a_size(kind: type[Recipe]) -> None:
    for name in PHOTOS:
        for side in (64, 256):
            sample = render(kind(), name, name, side)
            if isinstance(sample, Dropped):
                assert sample.detail
                continue
            assert len(sample.inputs) == len(kind.image_slots)
            for image in (*sample.inputs, sample.output):
                assert image.dtype == np.uint8
                assert image.ndim == 3
                assert image.shape[2] == 3
                assert image.shape[:2] in {photo(other, side).shape[:2] for other in PHOTOS}


def equal_arguments_make_equal_samples(kind: type[Recipe]) -> None:
    first, again = made(kind), made(kind)
    assert (first.slots, first.parameters, first.scores) == (again.slots, again.parameters, again.scores)
    for a, b in zip((*first.inputs, first.output), (*again.inputs, again.output)):
        assert np.array_equal(a, b)


def it_leaves_its_sources_alone(kind: type[Recipe]) -> None:
    before = [photo(name).copy() for name in PHOTOS[:2]]
    made(kind)
    assert all(np.array_equal(photo(name), image) for name, image in zip(PHOTOS[:2], before))


def parameters_and_scores_are_json(kind: type[Recipe]) -> None:
    sample = made(kind)
    for document in (sample.parameters, sample.scores):
        assert json.loads(canonical_json(dict(document))) == dict(document)
    assert all(isinstance(value, int | float) for value in sample.scores.values())


def every_instruction_marks_its_images_and_fills_its_slots(kind: type[Recipe]) -> None:
    sample = made(kind)
    count = len(kind.image_slots)
    for number in range(60):
        text = kind().instruction(f"key-{number}", sample)
        assert not wrong_marks(text, count)
        assert len(PLACEHOLDER_PATTERN.findall(text)) == count
        assert "{" not in text
        assert "None" not in text


def it_has_words_enough(kind: type[Recipe]) -> None:
    """Also without each of the texts that a sample may lack."""
    pool, sample = read_pool(kind), made(kind)
    assert len(pool.phrasings) >= MINIMUM_PHRASINGS
    images = {name: placeholder(number) for number, name in enumerate(kind.image_slots, start=1)}
    given = frozenset({name for name, text in {**images, **sample.slots}.items() if text is not None})
    assert sum(phrasing.fits(given) for phrasing in pool.phrasings) >= 20
    for group in {group for phrasing in pool.phrasings for group in phrasing.prefers}:
        assert sum(phrasing.fits(given - group) for phrasing in pool.phrasings) >= 10


def its_phrasings_are_written_like_a_person_writes(kind: type[Recipe]) -> None:
    for phrasing in read_pool(kind).phrasings:
        words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\{[a-z0-9_]+\}", " ", phrasing.text))
        assert not [word for word in words if word.isupper() and word not in ("JPEG", "RGB")], phrasing.text
        assert "  " not in phrasing.text
        assert phrasing.text[0].isupper() or phrasing.text[0] == "{", phrasing.text
        assert not re.search(r"coloris|\bgrey|colour|centre|licence", phrasing.text, re.IGNORECASE), phrasing.text


def images_stand_before_and_after_other_words(kind: type[Recipe]) -> None:
    if kind.image_slots != ("image",):
        return
    texts = [phrasing.text for phrasing in read_pool(kind).phrasings if "{image}" in phrasing.text]
    halves = [text.index("{image}") < len(text) / 2 for text in texts]
    assert 3 <= sum(halves) <= len(texts) - 3


def no_strength_is_no_damage(kind: type[Recipe]) -> None:
    if not issubclass(kind, Restoration) or kind.no_damage is None:
        return
    recipe = replace(kind(), **kind.no_damage)
    example = recipe.example([photo("coffee"), photo("chelsea")])
    damaged = recipe.damage(example.sources[0], example.metadata, generator("none"))
    assert not isinstance(damaged, Dropped)
    assert np.array_equal(damaged.pixels, photo("coffee"))
    assert isinstance(recipe.pair(example.sources[0], example.metadata, generator("none")), Dropped)


def a_restoration_gives_the_photograph_back(kind: type[Recipe]) -> None:
    if not issubclass(kind, Restoration):
        return
    sample = made(kind)
    assert np.array_equal(sample.output, photo("astronaut"))
    assert sample.inputs[0].shape == sample.output.shape
    assert 3 < sample.scores["input_psnr"] <= kind().max_psnr


CHECKS: tuple[Check, ...] = (
    it_says_what_it_is,
    its_fields_are_options_within_their_bounds,
    its_samples_are_images_of_a_size,
    equal_arguments_make_equal_samples,
    it_leaves_its_sources_alone,
    parameters_and_scores_are_json,
    every_instruction_marks_its_images_and_fills_its_slots,
    it_has_words_enough,
    its_phrasings_are_written_like_a_person_writes,
    images_stand_before_and_after_other_words,
    no_strength_is_no_damage,
    a_restoration_gives_the_photograph_back,
)

"""Sample and ImageRecord: what is refused, and a JSON round trip that loses nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2i.image_record import ImageRecord
from x2i.reasons import Reason, Status
from x2i.sample import (
    PLACEHOLDER_PATTERN,
    InvalidSampleError,
    Lineage,
    RecipeStamp,
    Sample,
    canonical_json,
    placeholder,
)

GOOD: dict[str, Any] = {
    "key": "deblur-00000-00001",
    "task": "deblur",
    "instruction": f"Sharpen {placeholder(1)}, please.",
    "sizes": ((64, 48), (64, 48)),
    "source": Lineage(("u1",), ("https://a.example/x.jpg",), ("CC0-1.0",)),
    "recipe": RecipeStamp("deblur", 1, {"sigma": 2.5}),
    "scores": {"quality.sharpness": 0.5},
}

words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="<|"), min_size=1, max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    inputs = draw(st.integers(0, 4))
    marked = [*range(1, inputs + 1), *draw(st.lists(st.integers(1, max(1, inputs)), max_size=2 if inputs else 0))]
    pieces = [draw(words) + placeholder(number) for number in draw(st.permutations(marked))]
    sources = draw(st.lists(st.tuples(words, words, words), min_size=1, max_size=3))
    return Sample(
        key=draw(st.from_regex(r"[a-z0-9_-]{1,80}", fullmatch=True)),
        task=draw(st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True)),
        instruction="".join(pieces) + draw(words) + "x",
        sizes=tuple(draw(st.tuples(st.integers(1, 9999), st.integers(1, 9999))) for _ in range(inputs + 1)),
        source=Lineage(*(tuple(column) for column in zip(*sources))),
        recipe=RecipeStamp(
            draw(words), draw(st.integers(0, 99)), draw(st.dictionaries(words, json_values, max_size=3))
        ),
        scores=draw(st.dictionaries(words, numbers, max_size=3)),
        mirrorable=draw(st.booleans()),
    )


@given(samples())
def test_a_sample_comes_back_from_its_json_unchanged(sample: Sample) -> None:
    text = sample.to_json()
    again = Sample.from_json(text)
    assert again == sample
    assert again.to_json() == text


@given(samples())
def test_every_sample_has_the_same_json_keys_with_the_same_types(sample: Sample) -> None:
    document = json.loads(sample.to_json())
    kinds = {name: type(value) for name, value in document.items()}
    assert kinds == {
        "key": str, "task": str, "instruction": str, "num_inputs": int, "sizes": list, "source": dict, "recipe": dict,
        "scores": str, "mirrorable": bool,
    }  # fmt: skip
    assert {name: type(value) for name, value in document["recipe"].items()} == {
        "name": str,
        "version": int,
        "parameters": str,
    }
    assert set(document["source"]) == {"uids", "urls", "licenses"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("key", "has space", "key"),
        ("key", "Upper", "key"),
        ("key", "a.b", "key"),
        ("key", "../x", "key"),
        ("key", "", "key"),
        ("key", "k" * 81, "key"),
        ("task", "de-blur", "task"),
        ("sizes", (), "sizes"),
        ("sizes", ((0, 5), (5, 5)), "at least 1 pixel"),
        ("instruction", "  ", "some text"),
        ("instruction", "no marker", "marks images"),
        ("instruction", placeholder(2), "without a gap"),
        ("instruction", placeholder(1) + placeholder(3), "without a gap"),
        ("instruction", f"{placeholder(1)} and <|image_1|>", "marker whole"),
        ("instruction", "<img><|image_01|></img>", r"images \[01\]"),
        ("instruction", "<img><|image_\u0661|></img>", r"images \[\]"),  # an Arabic one
        ("source", Lineage((), (), ()), "at least one source"),
        ("source", Lineage(("a",), ("b", "c"), ("d",)), "of one length"),
    ],
)
def test_a_sample_that_breaks_the_format_is_refused(field: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidSampleError, match=words):
        Sample(**{**GOOD, field: value})


def test_an_image_may_be_marked_twice_and_out_of_order() -> None:
    instruction = f"{placeholder(2)} like {placeholder(1)} but {placeholder(2)}"
    sample = Sample(**{**GOOD, "instruction": instruction, "sizes": ((1, 1), (2, 2), (3, 3))})
    assert PLACEHOLDER_PATTERN.findall(sample.instruction) == ["2", "1", "2"]
    assert sample.num_inputs == 2


@pytest.mark.parametrize(
    "change",
    [
        {"key": None},
        {"sizes": "many"},
        {"sizes": [[1, 2, 3]]},
        {"num_inputs": 3},
        {"recipe": {"name": "deblur"}},
        {"source": {"uids": ["a"]}},
        {"scores": "{"},
        {"recipe": {"name": "x", "version": 1, "parameters": "["}},
    ],
)
def test_json_of_another_form_is_refused(change: dict[str, Any]) -> None:
    document = {**json.loads(Sample(**GOOD).to_json()), **change}
    with pytest.raises(InvalidSampleError):
        Sample.from_json(json.dumps(document))


@pytest.mark.parametrize("said", [None, "yes", 1, False])
def test_a_sample_that_does_not_plainly_say_so_is_not_mirrorable(said: Any) -> None:
    document = json.loads(Sample(**GOOD, mirrorable=True).to_json())
    assert Sample.from_json(json.dumps(document)).mirrorable
    assert not Sample.from_json(json.dumps({**document, "mirrorable": said})).mirrorable
    del document["mirrorable"]
    assert not Sample.from_json(json.dumps(document)).mirrorable


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "{}", b"\xff"])
def test_text_that_is_no_sample_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidSampleError):
        Sample.from_json(text)


def test_a_score_that_is_no_number_cannot_be_written() -> None:
    with pytest.raises(ValueError):
        Sample(**{**GOOD, "scores": {"clip": float("nan")}}).to_json()


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'


KEPT = ImageRecord("00000-00001", "u", "https://a.example/x", Status.OK, width=4, height=3, format="jpeg", sha256="00")


@pytest.mark.parametrize(
    "change",
    [
        {"key": "A"},
        {"uid": ""},
        {"reason": Reason.TIMEOUT},
        {"width": 0},
        {"sha256": ""},
        {"format": ""},
        {"status": Status.FAILED},
    ],
)
def test_an_image_record_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSampleError):
        dataclasses.replace(KEPT, **change)


def test_a_dropped_image_needs_a_reason_and_no_pixels() -> None:
    assert ImageRecord("00000-00002", "u", "https://a.example/y", Status.FAILED, Reason.TIMEOUT).width == 0

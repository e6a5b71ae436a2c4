"""Gates: words on pictures are read back by a real reader, and a judge's yes and no count, anything else does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_server import ChatServer
from tests.support.photos import photo
from x2i.image import encode
from x2i.pairs.gates import Gates, yes_or_no
from x2i.reasons import DroppedError, Reason
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered, Source
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.seeding import generator
from x2i.store.shards import EncodedImage


def sample(name: str, parameters: dict[str, Any] | None = None, swapped: bool = False) -> tuple[Any, Any, Any]:
    """Returns a sample of a text edit. swapped: its images are in the wrong order."""
    made = make_recipe(name, {"size": [0.16, 0.16]}).make([Source(photo("coffee", 256))], {}, generator("k"))
    assert isinstance(made, Rendered)
    before, after = (EncodedImage(encode(image, "png"), "png") for image in (made.inputs[0], made.output))
    first, second = (after, before) if swapped else (before, after)
    stamp = RecipeStamp(name, 1, {**made.parameters, **(parameters or {})})
    sizes = ((256, 171), (256, 171))
    words = f"{placeholder(1)} {made.parameters['request']}"
    return Sample("k", name, words, sizes, Lineage(("a",), ("",), ("",)), stamp), [first], second


def test_words_that_can_be_read_pass_and_words_that_are_not_there_do_not() -> None:
    gates = Gates(text="drop").loaded()
    for name in ("add_text", "erase_text"):
        scores = gates.check(*sample(name)).scores
        shown, gone = ("output", "input") if name == "add_text" else ("input", "output")
        assert scores[f"text.{shown}"] > 0.8
        assert scores[f"text.{gone}"] < 0.5
        with pytest.raises(DroppedError) as error:
            gates.check(*sample(name, swapped=True))
        assert error.value.verdict.reason is Reason.TEXT_UNREADABLE
    wrong = {"text_after": {"text": "Something else"}}
    assert Gates(text="flag").loaded().check(*sample("add_text", wrong)).scores["text.output"] < 0.6


def test_a_judge_is_asked_with_the_words_of_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X2I_ANSWERS", str(tmp_path))
    script = [("Yes.", "stop"), ("No, the rest changed.", "stop"), ("Hard to say.", "stop")]
    with ChatServer(script) as server:
        name = f"openai:{server.url}#m"
        gates = Gates(judge=name, judged="drop").loaded()
        assert gates.check(*sample("add_text")).scores["judge.yes"] == 1.0
        with pytest.raises(DroppedError) as error:
            gates.check(*sample("erase_text"))
        assert error.value.verdict.reason is Reason.JUDGED_WRONG
        undecided = gates.check(*sample("recolor_text"))
    assert "judge.yes" not in undecided.scores
    assert undecided.recipe.parameters["judge_said"] == "Hard to say."
    asked = [request["messages"][0]["content"][1]["text"] for request in server.seen]
    assert sample("add_text")[0].recipe.parameters["request"] in asked[0]
    assert len(set(asked)) == 3


def test_samples_without_text_or_with_two_inputs_are_left_alone() -> None:
    plain, inputs, output = sample("add_text")
    bare = Sample("k", "edit", plain.instruction, plain.sizes, plain.source, RecipeStamp("x", 1))
    assert Gates(text="drop", reader="no:such").loaded().check(bare, inputs, output) is bare
    assert Gates().loaded().check(plain, inputs, output) is plain


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("Yes", True), ('"yes", it is', True), ("NO!", False), ("No: it is blue", False), ("Perhaps", None), ("", None)],
)
def test_only_a_first_word_of_yes_or_no_is_an_answer(answer: str, verdict: bool | None) -> None:
    assert yes_or_no(answer) is verdict

"""The judge of subject rows, on a server that compares colors, on one that misbehaves, and on a tiny network."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tests.support.chat_server import ChatServer
from tests.support.tiny_models import save_vision_language_model
from x2i.image import decode
from x2i.models.abilities import Captioner
from x2i.models.registry import Ability, load
from x2i.reasons import Reason
from x2i.relate.subject_judge import HEIGHT, PROMPT, JudgeRule, judged_rows
from x2i.relate.subject_rows import SubjectInput, SubjectRow

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 180, 30)
PERSONS = {"ann1": RED, "ann2": RED, "ann3": RED, "bob1": BLUE, "bob2": BLUE, "eve": GREEN}


def picture(*colors: tuple[int, int, int]) -> np.ndarray:
    """A picture with a person of each color, side by side."""
    return np.hstack([np.full((64, 48, 3), color, np.uint8) for color in colors])


IMAGES = {
    **{key: picture(color) for key, color in PERSONS.items()},
    "ann+bob": picture(RED, BLUE),
    "ann+eve": picture(RED, GREEN),
}


class ColorJudge(ChatServer):
    """Says yes if the color of the left half is somewhere in the right half of the picture that it is sent."""

    async def _answer(self, request: web.Request, document: dict[str, Any], what: Any) -> web.StreamResponse:
        data = document["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
        sheet = decode(base64.b64decode(data)).astype(int)
        gap = int(np.flatnonzero((sheet.min(axis=2) > 240).all(axis=0))[0])
        wanted = sheet[:, : gap - 2].mean(axis=(0, 1))
        seen = np.abs(sheet[:, gap + 20 :] - wanted).max(axis=2) < 40
        return await super()._answer(request, document, what or ("Yes." if seen.mean() > 0.2 else "No.", "stop"))


def person(key: str, box: tuple[int, ...] = ()) -> SubjectInput:
    return SubjectInput(key, box, "", IMAGES[key].shape[:2], "the person", 0)


def row(target: str, *inputs: SubjectInput) -> SubjectRow:
    return SubjectRow(target, inputs, "person")


def judge(server: ChatServer, folder: Path) -> Captioner:
    options = {"prompt": PROMPT, "cache": str(folder), "concurrency": 1, "retries": 0}
    return load(Ability.JUDGE, f"openai:{server.url}#judge", options)


def kept_keys(rows: list[SubjectRow]) -> set[tuple[str, ...]]:
    return {(row.target, *(one.key for one in row.inputs)) for row in rows}


def test_pairs_that_the_judge_denies_are_lost_and_no_question_is_asked_twice(tmp_path: Path) -> None:
    rows = [row("ann2", person("ann1")), row("bob1", person("ann1")), row("ann2", person("ann1"))]
    with ColorJudge() as server:
        kept, lost = judged_rows(rows, IMAGES.__getitem__, judge(server, tmp_path), JudgeRule())
        assert len(server.seen) == 2
        assert kept_keys(kept) == {("ann2", "ann1")}
        assert [(row.target, reason) for row, reason in lost] == [("bob1", Reason.JUDGED_DIFFERENT)]
        assert all(row.scores["yes_rate"] == 1 and row.evidence["judge"]["asked"] == [1] for row in kept)
        again, _ = judged_rows(rows, IMAGES.__getitem__, judge(server, tmp_path), JudgeRule())
        assert len(server.seen) == 2  # the answers are kept on disk
    assert again == kept


@pytest.mark.parametrize(("group", "shown"), [("ann+bob", True), ("ann+eve", False)])
def test_both_persons_of_a_group_photo_are_asked_about_with_several_references(
    tmp_path: Path, group: str, shown: bool
) -> None:
    ann, bob = person(group, (20, 20, 28, 28)), person(group, (68, 20, 76, 28))
    joined = [row(group, person("ann1"), person("bob1"))]
    joined += [row(key, ann) for key in ("ann1", "ann2", "ann3")] + [row(key, bob) for key in ("bob1", "bob2")]
    joined += [row("ann1", person("ann2")), row("ann1", person("ann3")), row("bob1", person("bob2"))]
    with ColorJudge() as server:
        kept, lost = judged_rows(joined, IMAGES.__getitem__, judge(server, tmp_path), JudgeRule(references=3))
    asked_group = [row for row in kept if row.target == group]
    assert bool(asked_group) is shown
    if shown:
        assert asked_group[0].evidence["judge"] == {"yes": [3, 2], "asked": [3, 2]}
        assert lost == []
    else:
        assert ({row.target for row, _ in lost}) == {group, "bob1", "bob2"}
        assert {reason for _, reason in lost} == {Reason.JUDGED_DIFFERENT}


def test_a_share_of_the_references_is_enough(tmp_path: Path) -> None:
    rows = [row("ann1", person("ann2")), row("ann1", person("ann3")), row("ann2", person("ann3"))]
    answers = [("yes", "stop"), ("no", "stop"), ("yes", "stop")]
    for share, count in ((0.5, 2), (0.6, 1)):
        with ColorJudge(list(answers)) as server:
            rule = JudgeRule(references=2, yes_rate=share)
            kept, _ = judged_rows(rows, IMAGES.__getitem__, judge(server, tmp_path / str(share)), rule)
        assert [row for row in kept if row.target == "ann1"] == kept[: len(kept) - 1]
        assert len(kept) == count


@pytest.mark.parametrize("answer", [("Perhaps.", "stop"), ("", "stop"), ("Yes, both", "length"), 400])
def test_what_is_neither_yes_nor_no_confirms_nothing(tmp_path: Path, answer: Any) -> None:
    with ColorJudge([answer]) as server:
        rows = [row("ann2", person("ann1")), row("ann3", person("ann1"))]
        kept, lost = judged_rows(rows, IMAGES.__getitem__, judge(server, tmp_path), JudgeRule(references=1))
    assert kept_keys(kept) == {("ann3", "ann1")}
    assert [reason for _, reason in lost] == [Reason.ANSWER_INVALID]


def test_a_network_is_asked_through_real_loading_code_and_in_batches(tmp_path: Path, monkeypatch: Any) -> None:
    sheets: list[tuple[int, ...]] = []
    name = f"hf:{save_vision_language_model(tmp_path / 'tiny')}"
    network = load(Ability.JUDGE, name, {"prompt": PROMPT, "max_tokens": 3, "device": "cpu"})
    real = type(network).caption

    def seen(self: Any, images: Any, texts: Any) -> Any:
        sheets.extend(image.shape for image in images)
        return real(self, images, texts)

    monkeypatch.setattr(type(network), "caption", seen)
    rows = [row("ann2", person("ann1")), row("ann3", person("ann1")), row("bob1", person("bob2"))]
    kept, lost = judged_rows(rows, IMAGES.__getitem__, network, JudgeRule(batch=2))
    assert kept == []  # random weights say nothing of use
    assert {reason for _, reason in lost} == {Reason.ANSWER_INVALID}
    assert len(sheets) == 3
    assert {shape[0] for shape in sheets} == {HEIGHT}

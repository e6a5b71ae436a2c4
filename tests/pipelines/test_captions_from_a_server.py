"""Captions by a chat server, in runs that are killed, and in runs that find the server down."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest

from tests.support.chat_server import ChatServer
from tests.support.command_line import kill_when, typed
from tests.support.photos import photo
from tests.support.stored_images import Given, store
from x2i.models.openai import client
from x2i.models.prompts import PROMPTS
from x2i.store import Dataset

IMAGES = 12
AT_ONCE = 2


@pytest.fixture
def dataset(tmp_path, monkeypatch) -> Dataset:
    monkeypatch.setenv("X2I_ANSWERS", str(tmp_path / "answers"))
    picture = photo("coffee", 64)
    return store(tmp_path / "d", [Given(np.roll(picture, 5 * number, axis=1)) for number in range(IMAGES)])


def captions(dataset: Dataset) -> list[str]:
    return [row[0] for row in dataset.query("SELECT caption FROM captions ORDER BY key").fetchall()]


def command(dataset: Dataset, url: str, *more: object) -> list[object]:
    options = "--executor", "inline", "--set", f"concurrency={AT_ONCE}"
    return ["caption", dataset.root, "--model", f"openai:{url}#tiny", *options, *more]


def test_a_run_that_was_killed_does_not_ask_for_an_answer_again(dataset):
    with ChatServer(seconds=0.15) as server:
        assert kill_when(lambda: len(server.answered) >= 5, *command(dataset, server.url))
        before = len(server.answered)
        assert typed(*command(dataset, server.url)) == 0
        asked = Counter(json.dumps(request) for request in server.answered)
    assert len(asked) == len(captions(dataset)) == IMAGES
    assert before < IMAGES
    assert sum(asked.values()) <= IMAGES + AT_ONCE  # an answer on its way when the run dies is lost


def test_the_end_of_a_run_says_how_many_tokens_were_read_and_written(dataset, capsys):
    with ChatServer() as server:
        assert typed(*command(dataset, server.url)) == 0
        rows = dataset.column("captions").to_pylist()
        assert {(row["source"], row["prompt"], row["finish"]) for row in rows} == {("model", PROMPTS["short"], "stop")}
        assert re.search(r"480 tokens read, 60 written, [\d.,]+/s", " ".join(capsys.readouterr().err.split()))
        assert typed(*command(dataset, server.url)) == 0
    assert "tokens" not in capsys.readouterr().err


def test_a_server_that_is_down_is_named_and_a_later_run_goes_on(dataset, monkeypatch, capsys):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    server = ChatServer()
    with server:
        url = server.url
        server.script = [None] * 5 + [503] * 500
        assert typed(*command(dataset, url, "--set", "retries=1")) == 1
        shown = "".join(capsys.readouterr())
        assert f"{url}: no answer after 2 attempts" in shown.replace("\n", "")
        server.script = []
        answered = len(server.answered)
        assert typed(*command(dataset, url)) == 0
    assert answered >= 4
    assert captions(dataset) == ["A picture of something"] * IMAGES
    assert len(server.answered) == IMAGES

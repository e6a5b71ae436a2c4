"""Captions by a chat server, which may stall, hang up, refuse, be busy, or be gone."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

from tests.support.chat_server import ChatServer
from tests.support.photographs import photograph
from x2i.annotate.captions import Captions
from x2i.errors import RunError, UserError
from x2i.models.abilities import Caption, PageText
from x2i.models.openai import client
from x2i.models.openai.client import seconds_to_wait
from x2i.models.registry import Ability, backend, load
from x2i.reasons import Dropped, Reason


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)


def pictures(count: int) -> list[np.ndarray]:
    photo = photograph("coffee.png")[:64, :64]
    return [np.ascontiguousarray(np.roll(photo, shift, axis=1)) for shift in range(count)]


def ask(server_or_url, folder, count=1, **options):
    url = server_or_url.url if isinstance(server_or_url, ChatServer) else server_or_url
    captioner = load(Ability.CAPTIONER, f"openai:{url}#tiny", {"cache": str(folder), **options})
    return captioner.caption(pictures(count), [PageText()] * count)


def test_every_image_gets_its_own_answer_and_its_tokens(tmp_path):
    answers = [(f"answer {number}", "stop") for number in range(6)]
    with ChatServer(answers) as server:
        found = ask(server, tmp_path, 6, concurrency=1)
    assert [one.text for one in found] == [text for text, _ in answers]
    assert {(one.prompt_tokens, one.answer_tokens) for one in found} == {(40, 5)}
    assert len({json.dumps(request) for request in server.seen}) == 6


@pytest.mark.parametrize("trouble", [429, 500, 503, "hang up", "cut off", "no json"])
def test_a_passing_failure_is_tried_again(tmp_path, trouble):
    with ChatServer([trouble, trouble]) as server:
        (found,) = ask(server, tmp_path)
    assert isinstance(found, Caption)
    assert server.statuses[trouble] == 2


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(tmp_path):
    with ChatServer([("busy", "1")]) as server:
        started = time.monotonic()
        (found,) = ask(server, tmp_path)
    assert isinstance(found, Caption)
    assert 1 <= time.monotonic() - started < 5


def test_the_time_to_wait_is_a_number_of_seconds_or_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < seconds_to_wait(in_a_minute) <= 60
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_to_wait("7") == 7
    assert seconds_to_wait("86400") == 600
    assert seconds_to_wait("") == seconds_to_wait("soon") == 0


def test_a_server_that_stalls_is_given_up_after_the_timeout(tmp_path):
    with ChatServer(["stall"]) as server:
        (found,) = ask(server, tmp_path, timeout=0.3)
    assert isinstance(found, Caption)


def test_a_server_that_is_down_is_named_after_its_attempts(tmp_path):
    with pytest.raises(RunError, match=r"http://127.0.0.1:9/v1: no answer after 3 attempts; the last one: Client"):
        ask("http://127.0.0.1:9/v1", tmp_path, retries=2)


def test_a_server_that_knows_no_such_model_is_not_asked_again(tmp_path):
    with ChatServer([404]) as server, pytest.raises(RunError, match="HTTP 404"):
        ask(server, tmp_path)
    assert len(server.seen) == 1


def test_a_request_that_the_server_calls_faulty_costs_its_image(tmp_path):
    with ChatServer([422]) as server:
        first, second = ask(server, tmp_path, 2, concurrency=1)
    assert isinstance(first, Dropped)
    assert first.reason is Reason.BACKEND_ERROR
    assert isinstance(second, Caption)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (("A man stands in front of a", "length"), Reason.ANSWER_TRUNCATED),
        (("I'm sorry, but I can't help with identifying people.", "stop"), Reason.ANSWER_REFUSED),
        (("", "stop"), Reason.NO_CAPTION),
    ],
)
def test_an_answer_of_no_use_is_a_verdict(tmp_path, answer, reason):
    with ChatServer([answer]) as server:
        (found,) = ask(server, tmp_path)
    assert isinstance(found, Dropped)
    assert found.reason is reason


def test_answers_as_json_are_held_against_the_schema(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["caption"], "additionalProperties": False,
                                  "properties": {"caption": {"type": "string"}}}))  # fmt: skip
    answers = [('```json\n{"caption": "A cup"}\n```', "stop"), ('{"caption": 3}', "stop"), ("A cup", "stop")]
    with ChatServer(answers) as server:
        found = ask(server, tmp_path, 3, concurrency=1, schema=str(schema))
    assert found[0].text == "A cup"
    assert [one.reason for one in found[1:]] == [Reason.ANSWER_INVALID] * 2


def test_a_prompt_and_a_schema_are_part_of_the_fingerprint_and_are_read_before_anything_is_asked(tmp_path):
    def config(**options):
        return Captions(model="openai:http://127.0.0.1:9/v1#tiny", set=options).config()

    prompt, schema = tmp_path / "prompt.txt", tmp_path / "schema.json"
    for name, file in {"prompt": prompt, "schema": schema}.items():
        with pytest.raises(UserError, match=rf"{name} {file}: cannot be read"):
            config(**{name: str(file)})
    prompt.write_text("What is this?")
    schema.write_text('{"type": "object"}')
    before = config(prompt=str(prompt), schema=str(schema))
    assert before == config(prompt=str(prompt), schema=str(schema))
    prompt.write_text("What else is this?")
    assert before != config(prompt=str(prompt), schema=str(schema))


def test_what_was_answered_is_never_asked_again(tmp_path):
    with ChatServer() as server:
        ask(server, tmp_path, 4)
        ask(server, tmp_path, 6)
    assert len(server.seen) == 6
    with ChatServer() as other:
        ask(other, tmp_path, 6, prompt="tags")
    assert len(other.seen) == 6


def test_the_servers_are_kept_busy_up_to_the_limit_and_take_turns(tmp_path):
    with ChatServer(seconds=0.05) as one, ChatServer(seconds=0.05) as two:
        ask(f"{one.url},{two.url}", tmp_path, 40, concurrency=8)
    assert one.most_under_way + two.most_under_way >= 8
    assert one.most_under_way <= 8
    assert len(one.seen) == len(two.seen) == 20


def test_a_name_without_a_model_is_refused():
    with pytest.raises(UserError, match="expected openai:http://host:8000/v1#MODEL"):
        backend(Ability.CAPTIONER, "openai:http://host:8000/v1").resolve()

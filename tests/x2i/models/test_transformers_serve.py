"""Captions by `transformers serve`, a real server, with a tiny vision-language model of random weights."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from tests.support.photos import photo
from tests.support.stored_images import Given, store
from tests.support.tiny_models import save_vision_language_model
from x2i.annotate.captions import Captions
from x2i.image import decode, encode
from x2i.models.abilities import Caption, PageText
from x2i.models.registry import Ability, load
from x2i.reasons import Reason

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("openai")
pytestmark = pytest.mark.slow  # the server takes 15 to 30 seconds to come up

PICTURES = [photo(name, 84) for name in ("coffee", "chelsea", "rocket")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_vision_language_model(tmp_path_factory.mktemp("vlm") / "tiny")


@pytest.fixture(scope="module")
def url(folder) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--device", "cpu"]
    log = folder.parent / "serve.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _wait_until_up(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text())


def said(found):
    """Returns an answer whether or not it was cut: the tiny model seldom comes to an end.

    The server leaves some marks of the chat template in its text.
    """
    text = found.text if isinstance(found, Caption) else found.detail
    return re.sub(r"<\|\w+\|>", "", text), getattr(found, "reason", None)


def test_the_server_says_what_the_model_says_here(url, folder, tmp_path):
    options = {"max_tokens": 10, "prompt": "What is this?"}
    served = load(Ability.CAPTIONER, f"openai:{url}#{folder}", {**options, "cache": str(tmp_path), "retries": 0})
    texts = [PageText()] * len(PICTURES)
    found = served.caption(PICTURES, texts)
    received = [decode(encode(picture, "jpeg", 95)) for picture in PICTURES]
    expected = load(Ability.CAPTIONER, f"hf:{folder}", options).caption(received, texts)
    assert [said(one) for one in found] == [said(one) for one in expected]


def test_captions_of_a_dataset_name_the_served_model(url, folder, tmp_path):
    dataset = store(tmp_path / "d", [Given(picture) for picture in PICTURES])
    captions = Captions(
        model=f"openai:{url}#{folder}", set={"max_tokens": 4, "cache": str(tmp_path / "answers"), "retries": 0}
    )
    (summary,) = execute([AnnotateStage(captions)], dataset, RunOptions(executor=Executor.INLINE))
    assert set(summary.failed) <= {str(Reason.ANSWER_TRUNCATED)}
    rows = dataset.query("SELECT model, revision FROM captions").fetchall()
    assert len(rows) == len(PICTURES)
    assert {row[1] for row in rows} <= {f"served:{folder}", None}
    assert len(list((tmp_path / "answers").rglob("*.json"))) == len(PICTURES)

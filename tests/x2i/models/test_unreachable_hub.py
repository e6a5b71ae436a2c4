"""A model that cannot be fetched ends the command with one line that says what to do."""

from __future__ import annotations

from tests.support.pages import typed
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store


def test_an_unreachable_hub_is_no_traceback(tmp_path, monkeypatch):
    store(tmp_path / "data", [Given(photograph("rocket.jpg", 64), alt="A rocket")])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    done = typed(["x2i", "annotate", "depth", "data", "--model", "hf:someone/depth"], tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "someone/depth" in done.stderr

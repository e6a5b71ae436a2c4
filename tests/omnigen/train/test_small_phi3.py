"""The small language model of `benchmarks/small_phi3.py` is a Phi-3 from which a network of the same shape starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omnigen.codecs.base import load_codec
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.config import load_config
from omnigen.train.setup import network_config
from omnigen.weights import load_initial_weights
from tests.omnigen.weights.test_convert_phi3 import hidden_states
from tests.support.training_runs import REPOSITORY, environment, write_config

transformers = pytest.importorskip("transformers")


def small_phi3(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/small_phi3.py", *options]
    variables = {**environment(), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)


def test_a_small_phi3_learns_and_a_network_of_its_shape_computes_what_it_does(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", tmp_path)
    text = tmp_path / "texts" / "deep" / "text.md"
    text.parent.mkdir(parents=True)
    text.write_text("The cat sat on the mat, and the dog lay down beside it.\n" * 200)
    (tmp_path / "texts" / "photo.txt").write_bytes(b"\xff\xd8\xff\xe0")
    folder = tmp_path / "phi3"
    options = ("--config", str(config), "--out", str(folder), "--steps", "2", "--shuffled", str(tmp_path / "shuffled"))
    done = small_phi3("--text", str(tmp_path / "texts"), *options)
    assert done.returncode == 0, done.stderr
    assert "photo.txt: no UTF-8" in done.stderr
    before, *_, after, control = map(float, re.findall(r"held-out loss ([\d.]+)", done.stdout))
    assert 5.4 < after < before < 5.8
    assert control > after
    learnt, mixed = (transformers.Phi3ForCausalLM.from_pretrained(path) for path in (folder, tmp_path / "shuffled"))
    for one, other in zip(learnt.parameters(), mixed.parameters()):
        assert one.flatten().sort().values.equal(other.flatten().sort().values)

    settings, tokenizer = load_config(config), ByteTokenizer()
    wanted = network_config(settings, tokenizer, load_codec(settings.model.codec))
    network = load_initial_weights(folder, wanted, seed=0).eval()
    theirs = transformers.Phi3ForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer.encode("The dog sat on the mat.")
    with torch.no_grad():
        ours = hidden_states(network, ids)
        expected = theirs.model(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_too_little_text_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("A cat.")
    done = small_phi3("--text", str(tmp_path / "short.txt"), "--out", str(tmp_path / "phi3"))
    assert done.returncode == 2
    assert "found 6 bytes" in done.stderr
    assert not (tmp_path / "phi3").exists()

"""One dataset for every test here that only looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.datasets import build_dataset
from x2i.store import Dataset

HOSTILE = '</p><script>document.title="ran"</script><img src=x onerror="document.title=1">'


@pytest.fixture(scope="package")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=96)


@pytest.fixture(scope="package")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset whose captions try to break out of whatever shows them."""
    captions = {"astronaut.png": HOSTILE, "chelsea.png": f"{HOSTILE} [bold]rich[/] \u2028 </script> <!-- ${{x}} $title"}
    return build_dataset(tmp_path_factory.mktemp("hostile") / "small", side=48, captions=captions)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """What a training run of two records leaves, in the trainer's own form."""
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    losses = {"tasks": {"deblur": 1.0}, "timesteps": {"0.00-0.25": 2.0}}
    mean = {"loss": 1.25, "tasks": {"deblur": 1.2}, "timesteps": {"0.00-0.25": 1.3}}
    validation = [
        {"step": 0, "loss": 1.5, **losses, "mean_predictor": mean},
        {"step": 20, "loss": 0.75, **losses},
    ]
    metrics = [{"step": 10, "loss": 1.4, "grad_norm": 1.0}, {"step": 20, "loss": 0.8, "grad_norm": 1.0}]
    for name, lines in (("validation", validation), ("metrics", metrics)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run / f"{name}.jsonl").write_text(text + '{"step": 30, "lo')  # a line that is being written
    (run / "summary.json").write_text(json.dumps({"parameters": 4_200_000, "steps": 20, "training_samples": 200}))
    return run

"""Small training runs for tests: a configuration, and the command line as a user would start it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from omnigen.cli import main
from tests.support import REPOSITORY
from tests.support.forked import ForkedCommand, run_forked

TASKS = ("text_to_image", "colorize", "denoise", "few_shot")


def write_config(path: Path, shards: Path, phases: Sequence[object] = (), **sections: dict[str, object]) -> Path:
    """Writes the configuration of a network of some thousand weights on pictures of 32 pixels; `sections` replace."""
    document: dict[str, Any] = {
        "data": {"shards": [str(shards)], "validation_fraction": 0.2, "max_side": 32},
        "model": {
            "preset": "tiny",
            "codec": "dct:6",
            "overrides": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64},
        },
        "train": {
            "steps": 12,
            "packs_per_step": 2,
            "pack_tokens": 400,
            "lr": 0.003,
            "warmup": 2,
            "ema_decay": 0.9,
            "threads": 1,
        },
        "log": {"every": 1, "validate_every": 5, "validation_samples": 4, "sample_every": 0, "sample_steps": 2},
        "checkpoint": {"every": 3},
    }
    for name, values in sections.items():
        document.setdefault(name, {}).update(values)
    document["phases"] = list(phases)
    path.write_text(yaml.safe_dump(document))
    return path


def command(config: Path, run: Path, *options: str) -> list[str]:
    """Returns the command line that trains `config` in `run`."""
    return ["omnigen", "train", str(config), "--out", str(run), *options]


def environment() -> dict[str, str]:
    """One thread, before torch is imported: several test runs at a time share few cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(config: Path, run: Path, *options: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """Trains to the end by the command line and keeps what it prints: one rank in this process, several forked."""
    line = command(config, run, *options)
    if ranks > 1:
        return run_forked(line, environment=environment(), ranks=ranks)
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        try:
            main(line[1:])
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(line, status, printed.getvalue(), complained.getvalue())


def train_apart(config: Path, run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Trains to the end in a process of its own, and keeps what it prints."""
    return run_forked(command(config, run, *options), environment=environment())


def start(config: Path, run: Path, *options: str, output: Path | None = None) -> ForkedCommand:
    """Begins to train in a process group of its own, and returns at once. What it says goes to `output`, if given."""
    return ForkedCommand(command(config, run, *options), environment=environment(), output=output)


def start_torchrun(config: Path, run: Path, ranks: int) -> subprocess.Popen[bytes]:
    """Begins to train by torchrun in a process group of its own; its ranks have their own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    line = [*launcher, "-m", "omnigen.cli", *command(config, run)[1:]]
    return subprocess.Popen(line, cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True)


def steps_written(run: Path) -> int:
    """Returns how many steps the run has told of."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0

"""Small training runs for tests: a configuration, and the command line as a user would start it."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from omnigen.cli import main
from tests.support import REPOSITORY

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


def command(config: Path, run: Path, *options: str, ranks: int = 1) -> list[str]:
    """Returns the command line that trains `config` in `run`, by torchrun if on several ranks."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    return [sys.executable, *launcher, "-m", "omnigen.cli", "train", str(config), "--out", str(run), *options]


def environment() -> dict[str, str]:
    """One thread, before torch is imported: several test runs at a time share few cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(config: Path, run: Path, *options: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """Trains to the end by the command line and keeps what it prints: one rank in this process, several by torchrun.

    A process of its own would import PyTorch anew, which takes ten times as long as six steps of these networks.
    """
    if ranks > 1:
        return train_apart(config, run, *options, ranks=ranks)
    line = command(config, run, *options)
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        try:
            main(line[3:])
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(line, status, printed.getvalue(), complained.getvalue())


def train_apart(config: Path, run: Path, *options: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """Trains to the end in processes of their own."""
    line = command(config, run, *options, ranks=ranks)
    return subprocess.run(
        line, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )


def start(
    config: Path, run: Path, *options: str, ranks: int = 1, output: Path | None = None
) -> TrainingProcess | subprocess.Popen[bytes]:
    """Begins to train in a process group of its own (torchrun's, whose ranks have their own), and returns at once.

    What it says goes to `output`, if given.
    """
    line = command(config, run, *options, ranks=ranks)
    if ranks == 1:
        return TrainingProcess(line[3:], output)
    with open(output or os.devnull, "wb") as stream:
        return subprocess.Popen(line, cwd=REPOSITORY, env=environment(), stdout=stream, start_new_session=True)


class TrainingProcess:
    """A process that runs `omnigen`, forked from one that has imported PyTorch; as much of a Popen as tests use."""

    def __init__(self, line: Sequence[str], output: Path | None) -> None:
        if output is not None:
            output.write_bytes(b"")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch._dynamo", "torch.utils.tensorboard", "omnigen.train.run", __name__])
        with patched_environment():
            self._process = context.Process(target=_run, args=(list(line), output))
            self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)


@contextlib.contextmanager
def patched_environment() -> Iterator[None]:
    """One thread for the fork server, should it begin here; its processes have its environment."""
    before = dict(os.environ)
    os.environ.update(environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(line: Sequence[str], output: Path | None) -> None:
    os.setsid()
    os.chdir(REPOSITORY)
    stream = os.open(output or os.devnull, os.O_WRONLY)
    os.dup2(stream, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    main(line)


def steps_written(run: Path) -> int:
    """Returns how many steps the run has told of."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0

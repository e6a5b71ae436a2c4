"""Commands in processes of their own, forked from one that has imported the packages: a start takes no ten seconds.

What a process of its own is wanted for stays: signals, a memory and a working folder that are not the test's, output
as it is written. That the commands start without such help is tested by tests/architecture.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import REPOSITORY

PROGRAMS = {"x2i": "pipelines.cli", "omnigen": "omnigen.cli"}
PRELOADED = (
    "torch._dynamo",
    "torch.utils.tensorboard",
    "omnigen.train.run",
    "omnigen.generate.pipeline",
    "omnigen.cli",
    "pipelines.cli",
    "pipelines.commands.build",
    "x2i.store",
    "aiohttp",
    "transformers",
)


class ForkedCommand:
    """`x2i ...` or `omnigen ...` in a process group of its own; as much of a Popen as tests use.

    output, errors: the files that get what it prints; without them it is not kept. `environment` replaces that of this
    process; its OMP_NUM_THREADS is 1, since several processes share few cores.
    """

    def __init__(
        self,
        words: Sequence[object],
        *,
        folder: Path = REPOSITORY,
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
        errors: Path | None = None,
    ) -> None:
        self.args = [str(word) for word in words]
        for path in (output, errors):
            if path is not None:
                path.touch()
        variables = {**(os.environ if environment is None else environment), "OMP_NUM_THREADS": "1"}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"  # of the fork server, should it begin here
        try:
            self._process = context.Process(target=_run, args=(self.args, folder, variables, output, errors))
            self._process.start()
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before
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


def run_forked(
    words: Sequence[object],
    *more: object,
    folder: Path = REPOSITORY,
    environment: Mapping[str, str] | None = None,
    timeout: float = 280,
    ranks: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and keeps what it prints; with `ranks`, in so many processes that know each other.

    Their environment is the one that torchrun gives, and as under torchrun the first to fail ends the others.
    """
    variables = dict(os.environ if environment is None else environment)
    with tempfile.TemporaryDirectory() as kept:
        output, errors = Path(kept, "output"), Path(kept, "errors")
        processes = [
            ForkedCommand([*words, *more], folder=folder, environment=variables | own, output=output, errors=errors)
            for own in _ranks(ranks)
        ]
        deadline = time.monotonic() + timeout
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            if any(process.poll() for process in processes):
                break
            processes[0].wait(0.02)
        failed = next((code for code in (process.poll() for process in processes) if code), None)
        for process in processes:
            if failed is not None:
                process.wait(20 if ranks > 1 else None)  # the others come to the same end, or wait for one that has
            process.send_signal(signal.SIGKILL)
            process.wait()
        status = failed if failed is not None else max(process.returncode or 0 for process in processes)
        if time.monotonic() >= deadline:
            raise subprocess.TimeoutExpired([str(word) for word in words], timeout, output.read_bytes())
        return subprocess.CompletedProcess(processes[0].args, status, output.read_text(), errors.read_text())


def _ranks(count: int) -> list[dict[str, str]]:
    if count == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared["LOCAL_WORLD_SIZE"] = str(count)
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _run(
    words: Sequence[str], folder: Path, environment: dict[str, str], output: Path | None, errors: Path | None
) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    for number, path in ((1, output), (2, errors)):
        if path is not None or number == 1:
            os.dup2(os.open(path or os.devnull, os.O_WRONLY | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    sys.argv = [words[0], *words[1:]]
    importlib.import_module(PROGRAMS[words[0]]).main(list(words[1:]))

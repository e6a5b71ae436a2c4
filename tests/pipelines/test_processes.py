"""Worker processes of this machine: they end with their driver, compute in one thread, and are started in good time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import fork_server
from pipelines.interrupt import descendants
from pipelines.options import Executor, RunOptions
from pipelines.run import execute
from tests.pipelines.killing import worker_processes
from tests.pipelines.toy_stage import SquareStage, SquareWorker
from x2i.errors import UserError
from x2i.store import Dataset

REPOSITORY = Path(__file__).parents[2]


def test_workers_do_not_outlive_a_driver_that_was_killed(tmp_path):
    code = (
        "from pathlib import Path; from pipelines.options import Executor, RunOptions; "
        "from pipelines.run import execute; from tests.pipelines.toy_stage import SquareStage; "
        f"from x2i.store import Dataset; dataset = Dataset.create(Path({str(tmp_path)!r})); "
        "execute([SquareStage(seconds=60)], dataset, RunOptions(executor=Executor.PROCESSES, workers=2))"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    deadline = time.monotonic() + 30
    while len(worker_processes(driver.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    below = descendants(driver.pid)
    assert len(worker_processes(driver.pid)) == 2
    time.sleep(0.5)  # they are at work
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


class TellsThreads(SquareStage):
    """Fails with the number of threads that a worker is to compute in."""

    def worker(self, root: Path) -> SquareWorker:
        raise UserError(f"{os.environ.get('OMP_NUM_THREADS')} threads")


def test_workers_compute_in_one_thread_and_the_driver_as_before(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from pipelines.options import Executor, RunOptions; "
        "from pipelines.run import execute; from tests.pipelines.test_processes import TellsThreads; "
        f"from x2i.store import Dataset; dataset = Dataset.create(Path({str(tmp_path)!r})); "
        "summary = execute([TellsThreads(partitions=2)], dataset, RunOptions(executor=Executor.PROCESSES))[0]; "
        "print(set(summary.failed.values()), os.environ.get('OMP_NUM_THREADS'), "
        "signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.strip() == "{'UserError: 1 threads'} None False"


def test_no_process_is_left_when_a_run_is_over(tmp_path):
    options = RunOptions(executor=Executor.PROCESSES, workers=2)
    execute([SquareStage(raise_on="00001", die_on="00002")], Dataset.create(tmp_path), options)
    assert not worker_processes(os.getpid())


@pytest.mark.parametrize(
    ("command", "arguments", "is_started"),
    [
        ("crawl", ["{large}", "--out", "data"], True),
        ("crawl", ["{small}", "{large}", "--executor", "auto"], True),
        ("crawl", ["{small}", "--out", "data"], False),
        ("crawl", ["https://example.org/", "--out", "data"], False),
        ("crawl", ["{folder}", "--out", "data"], False),
        ("crawl", ["{large}", "--executor", "inline"], False),
        ("crawl", ["{large}", "--executor=ray"], False),
        ("crawl", ["{large}", "--dry-run"], False),
        ("crawl", ["a\0b", "x" * 5000], False),
        ("filter", ["{large}"], False),
    ],
)
def test_the_server_is_started_early_for_crawls_of_large_tables_alone(
    tmp_path, monkeypatch, command, arguments, is_started
):
    (tmp_path / "large.csv").write_text("url\n" + "https://example.org/a.jpg\n" * 5000)
    (tmp_path / "small.csv").write_text("url\nhttps://example.org/a.jpg\n")
    names = {"large": tmp_path / "large.csv", "small": tmp_path / "small.csv", "folder": tmp_path}
    started = []
    monkeypatch.setattr(fork_server, "start", started.append)
    fork_server.start_early(command, [argument.format(**names) for argument in arguments])
    assert bool(started) == is_started

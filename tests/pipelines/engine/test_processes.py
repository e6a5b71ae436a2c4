"""Worker processes of this machine: they end with their driver, compute in one thread, and are started in good time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.engine.executors import fork_server
from pipelines.engine.interrupt import MESSAGE, descendants
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.pipelines.engine.test_interrupt import is_alive
from tests.support import REPOSITORY
from tests.support.hostile_server import photograph
from tests.support.killing import worker_processes
from tests.support.toy_stage import SquareStage, SquareWorker
from x2i.errors import UserError
from x2i.store import Dataset

X2I = Path(sys.executable).with_name("x2i")


RUN = """
import sys
from pathlib import Path
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.pipelines.{module} import {stage} as Stage
from x2i.store import Dataset
dataset = Dataset.create(Path({root!r}))
[summary] = execute([Stage(**{options})], dataset, RunOptions(executor=Executor.PROCESSES, workers=2))
print(sorted(set(summary.failed.values())), summary.ran)
"""


def script(root: Path, stage: str = "toy_stage.SquareStage", **options: object) -> str:
    """The code of a script without `if __name__ == "__main__"`, as people write them, that runs a stage."""
    module, _, name = stage.partition(".")
    return RUN.format(module=module, stage=name, root=str(root), options=options)


def start(code: str, **options: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, text=True, stdout=pipe, stderr=pipe, **options
    )


def wait_for_workers(driver: int, count: int) -> list[int]:
    deadline = time.monotonic() + 30
    while len(found := worker_processes(driver)) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(found) >= count
    return found


def left_over(processes: list[int]) -> list[int]:
    """Returns which of `processes` are there still, a while later."""
    deadline = time.monotonic() + 10
    while (there := [pid for pid in processes if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return there


def test_workers_do_not_outlive_a_driver_that_was_killed(tmp_path):
    driver = start(script(tmp_path, seconds=60))
    wait_for_workers(driver.pid, 2)
    time.sleep(0.5)  # they are at work
    below = descendants(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not left_over(below)


@pytest.mark.parametrize("seconds", [0.05, 0.4, 1.0])
def test_ctrl_c_in_a_terminal_shows_no_traceback_of_server_or_workers(tmp_path, seconds):
    driver = start(script(tmp_path, seconds=60), start_new_session=True, preexec_fn=ctrl_c_is_heard)
    deadline = time.monotonic() + 30
    while not descendants(driver.pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    below = descendants(driver.pid)
    os.killpg(driver.pid, signal.SIGINT)
    _, error = driver.communicate(timeout=30)
    assert "Traceback" not in error
    assert MESSAGE in error
    assert not left_over(below)


def ctrl_c_is_heard() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.3])
def test_a_server_that_dies_is_replaced(tmp_path, seconds):
    driver = start(script(tmp_path, partitions=6, seconds=0.3))
    deadline = time.monotonic() + 30
    while not (below := descendants(driver.pid)) and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(below[0], signal.SIGKILL)
    output, error = driver.communicate(timeout=60)
    assert (output.strip(), driver.returncode) == ("[] 6", 0), error


def test_where_no_process_can_be_started_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    fork_server.stop()
    with pytest.raises(UserError, match=r"no worker process can be started \(.*nothing.*--executor inline"):
        execute([SquareStage()], Dataset.create(tmp_path), RunOptions(executor=Executor.PROCESSES, workers=2))


def test_scripts_from_stdin_run_in_worker_processes_too(tmp_path):
    result = subprocess.run(
        [sys.executable, "-"], input=script(tmp_path), cwd=REPOSITORY, text=True, capture_output=True, check=True
    )
    assert result.stdout.strip() == "[] 4"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(tmp_path, closed):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        (tmp_path / f"photos/{number}.jpg").write_bytes(photograph(32, number))
    arguments = "--partition-size 1 --executor processes --workers 2"
    command = f"{X2I} crawl {tmp_path}/photos --out {tmp_path}/data {arguments} {closed}"
    subprocess.run(["bash", "-c", command], check=True, timeout=60)
    assert len(list((tmp_path / "data/commits/crawl").glob("*.json"))) == 4


class TellsThreads(SquareStage):
    """Fails with the number of threads that a worker is to compute in."""

    def worker(self, root: Path) -> SquareWorker:
        raise UserError(f"{os.environ.get('OMP_NUM_THREADS')} threads")


def test_workers_compute_in_one_thread_and_the_driver_as_before(tmp_path):
    code = script(tmp_path, "test_processes.TellsThreads") + (
        "import os, signal\n"
        "print(os.environ.get('OMP_NUM_THREADS'), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    output, error = start(code, env=environment).communicate(timeout=60)
    assert output.split("\n")[:2] == ["['UserError: 1 threads'] 0", "None False"], error


def test_the_server_has_no_thread_that_a_fork_would_lose(tmp_path):
    driver = start(script(tmp_path, seconds=60), env={**os.environ, "OMP_NUM_THREADS": "1"})
    wait_for_workers(driver.pid, 2)
    server = descendants(driver.pid)[0]
    threads = [(task / "comm").read_text().strip() for task in Path(f"/proc/{server}/task").iterdir()]
    driver.kill()
    driver.communicate()
    assert threads[0].startswith("python")
    assert set(threads[1:]) <= {"jemalloc_bg_thd"}  # of Arrow's allocator, which starts it anew after a fork


def test_no_process_is_left_when_a_run_is_over(tmp_path):
    options = RunOptions(executor=Executor.PROCESSES, workers=2)
    before = {*worker_processes(os.getpid())}  # Ray's, of other tests
    execute([SquareStage(raise_on="00001", die_on="00002")], Dataset.create(tmp_path), options)
    assert not left_over([pid for pid in worker_processes(os.getpid()) if pid not in before])


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

"""Worker processes of this machine: they end with their driver, compute in one thread, and are started in good time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.engine.interrupt import MESSAGE, descendants
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.pipelines.engine.test_interrupt import is_alive
from tests.support import REPOSITORY
from tests.support.killing import worker_processes
from tests.support.toy_stage import DeviceStage, SquareStage, SquareWorker
from x2i.errors import UserError
from x2i.resources import Resources
from x2i.store import Dataset
from x2i.store.columns import read_column

RUN = """
import sys
from pathlib import Path
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from {module} import {stage} as Stage
from x2i.store import Dataset
dataset = Dataset.create(Path({root!r}))
[summary] = execute([Stage(**{options})], dataset, RunOptions(executor=Executor.PROCESSES, workers=2))
print(sorted(set(summary.failed.values())), summary.ran)
"""


def script(root: Path, stage: str = "support.toy_stage.SquareStage", **options: object) -> str:
    """The code of a script without `if __name__ == "__main__"`, as people write them, that runs a stage."""
    module, _, name = f"tests.{stage}".rpartition(".")
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


def fork_server(driver: int) -> int:
    """Returns the process that workers of `driver` are forked from, as soon as there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pid in descendants(driver):
            with suppress(OSError):
                if b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        time.sleep(0.002)
    raise AssertionError("no fork server")


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
def test_a_fork_server_that_dies_is_replaced(tmp_path, seconds):
    driver = start(script(tmp_path, partitions=6, seconds=0.3, die_on="00001"))
    server = fork_server(driver.pid)
    time.sleep(seconds)
    os.kill(server, signal.SIGKILL)
    output, error = driver.communicate(timeout=60)
    wanted = "['the worker process died 3 times on this partition'] 5"
    assert (output.strip(), driver.returncode) == (wanted, 0), error


def test_where_no_process_can_be_started_it_says_so(tmp_path):
    code = f"import multiprocessing; multiprocessing.set_executable({str(tmp_path / 'nothing')!r})\n{script(tmp_path)}"
    _, error = start(code).communicate(timeout=60)
    assert "RunError: no worker process can be started" in error
    assert "--executor inline needs none" in error


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_workers_that_are_killed_from_outside_cost_nothing(tmp_path, number):
    driver = start(script(tmp_path, partitions=8, seconds=0.3))
    for _ in range(3):
        os.kill(wait_for_workers(driver.pid, 2)[0], number)
        time.sleep(0.2)
    output, error = driver.communicate(timeout=60)
    assert (output.strip(), driver.returncode) == ("[] 8", 0), error


def test_scripts_from_stdin_run_in_worker_processes_too(tmp_path):
    result = subprocess.run(
        [sys.executable, "-"], input=script(tmp_path), cwd=REPOSITORY, text=True, capture_output=True, check=True
    )
    assert result.stdout.strip() == "[] 4"


def test_a_script_without_a_main_guard_is_not_run_again_by_workers(tmp_path):
    path = tmp_path / "users_script.py"
    path.write_text(f"open({str(tmp_path / 'runs')!r}, 'a').write('run ')\n{script(tmp_path / 'data')}")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run([sys.executable, path], env=environment, text=True, capture_output=True, check=True)
    assert result.stdout.strip() == "[] 4"
    assert (tmp_path / "runs").read_text() == "run "


class Prints(SquareStage):
    """Prints to stdout, as a library may, where it makes its worker."""

    def worker(self, root: Path) -> SquareWorker:
        print("a progress bar of a library", flush=True)
        return super().worker(root)


def test_what_workers_print_does_not_reach_stdout_of_the_driver(tmp_path):
    output, error = start(script(tmp_path, "pipelines.engine.test_processes.Prints")).communicate(timeout=60)
    assert output.strip() == "[] 4"
    assert "a progress bar of a library" in error


class TellsVariable(SquareStage):
    """Fails with a variable of the worker's environment."""

    def worker(self, root: Path) -> SquareWorker:
        raise UserError(f"found {os.environ.get('X2I_TEST_VARIABLE')}")


def test_workers_have_the_environment_that_the_driver_has_now(tmp_path, monkeypatch):
    options = RunOptions(executor=Executor.PROCESSES, workers=2)
    execute([SquareStage()], Dataset.create(tmp_path / "a"), options)  # the fork server runs from here on
    monkeypatch.setenv("X2I_TEST_VARIABLE", "this")
    summary = execute([TellsVariable()], Dataset.create(tmp_path / "b"), options)[0]
    assert set(summary.failed.values()) == {"UserError: found this"}


@pytest.mark.parametrize(
    ("resources", "workers", "seen"),
    [
        (Resources(gpus=1), 2, {"3", "5"}),
        (Resources(gpus=2), 1, {"3,5"}),
        (Resources(gpus=0.5), 2, {"3", "5"}),
        (Resources(gpus=3), 1, {"3,5"}),
        (Resources(), 2, {"3,5"}),
    ],
)
def test_each_process_sees_its_own_gpus(tmp_path, monkeypatch, resources, workers, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    dataset = Dataset.create(tmp_path)
    options = RunOptions(executor=Executor.PROCESSES, workers=2)
    assert execute([DeviceStage(resources=resources)], dataset, options)[0].failed == {}
    rows = [read_column(tmp_path, "device", f"{number:05d}").to_pylist()[0] for number in range(6)]
    assert len({row["pid"] for row in rows}) == workers
    assert {row["device"] for row in rows} == seen


def test_a_worker_that_replaces_a_dead_one_has_its_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    stage = DeviceStage(resources=Resources(gpus=1), partitions=10, die_on="00004")
    summary = execute([stage], Dataset.create(tmp_path), RunOptions(executor=Executor.PROCESSES, workers=2))[0]
    assert list(summary.failed) == ["00004"]
    rows = [read_column(tmp_path, "device", f"{n:05d}").to_pylist()[0] for n in range(10) if n != 4]
    assert {row["device"] for row in rows} == {"3", "5"}
    assert len({row["pid"] for row in rows}) > 2


class TellsThreads(SquareStage):
    """Fails with the number of threads that a worker is to compute in."""

    def worker(self, root: Path) -> SquareWorker:
        raise UserError(f"{os.environ.get('OMP_NUM_THREADS')} threads")


def test_workers_compute_in_one_thread_and_the_driver_as_before(tmp_path):
    code = script(tmp_path, "pipelines.engine.test_processes.TellsThreads") + (
        "import os, signal\n"
        "print(os.environ.get('OMP_NUM_THREADS'), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    output, error = start(code, env=environment).communicate(timeout=60)
    assert output.split("\n")[:2] == ["['UserError: 1 threads'] 0", "None False"], error


def test_the_fork_server_has_no_thread_that_a_fork_would_lose(tmp_path):
    driver = start(script(tmp_path, seconds=60), env={**os.environ, "OMP_NUM_THREADS": "1"})
    wait_for_workers(driver.pid, 2)
    server = fork_server(driver.pid)
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

"""Ctrl-C ends a build at once, in words, with every process it started; the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.engine.interrupt import MESSAGE, descendants
from tests.pipelines.engine.test_engine import file_sums
from tests.support import REPOSITORY
from x2i.store.files.atomic import TEMPORARY_MARK


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes", "ray"])
def test_ctrl_c_stops_with_a_message_and_leaves_no_process(tmp_path, executor):
    command = [str(Path(sys.executable)), "-m", "tests.support.toy_stage", str(tmp_path / "data"), executor]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "data").glob("commits/square/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    below = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode != 0
    if executor != "inline":
        assert MESSAGE in error
        assert below
        assert "Traceback" not in error
    time.sleep(0.5)
    assert not [pid for pid in below if is_alive(pid)]
    begun = next(n for n in range(8) if not (tmp_path / f"data/commits/square/{n:05d}.json").exists())
    (tmp_path / f"data/columns/square/{begun:05d}.parquet.tmp-1-ab").write_bytes(b"half")
    done = {name: total for name, total in file_sums(tmp_path / "data").items() if TEMPORARY_MARK not in name}
    subprocess.run(command, env=environment, cwd=REPOSITORY, check=True)
    after = file_sums(tmp_path / "data")
    finished = [name for name in done if name.startswith(("columns", "commits"))]
    assert finished
    assert {name: after[name] for name in finished} == {name: done[name] for name in finished}
    assert not [name for name in after if TEMPORARY_MARK in name]
    assert len([name for name in after if name.startswith("commits")]) == 8


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False

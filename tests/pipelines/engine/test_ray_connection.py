"""A connection to Ray serves many runs and ends with its executor; a cluster that does not answer is named."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from pipelines.engine.interrupt import descendants
from pipelines.engine.options import RunOptions
from pipelines.engine.run import execute
from tests.pipelines.engine.test_processes import left_over
from tests.support import REPOSITORY
from tests.support.toy_stage import SquareStage
from x2i.errors import UserError
from x2i.store import Dataset


def test_one_session_serves_several_runs_and_ends_with_its_executor(tmp_path):
    code = f"""
import ray
from pathlib import Path
from pipelines.engine.executors.select import open_executor
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.support.toy_stage import SquareStage
from x2i.store import Dataset
options, sessions = RunOptions(executor=Executor.RAY, workers=1), set()
with open_executor(options) as executor:
    for name in ("a", "b"):
        [summary] = execute([SquareStage()], Dataset.create(Path({str(tmp_path)!r}) / name), options, None, executor)
        sessions.add(ray.get_runtime_context().get_job_id() + ray.nodes()[0]["NodeID"])
        print(summary.ran, ray.is_initialized())
print(len(sessions), ray.is_initialized())
input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    lines = [process.stdout.readline().strip() for _ in range(3)]
    left = left_over(descendants(process.pid))
    process.communicate("\n")
    assert lines == ["4 True", "4 True", "1 False"]
    assert not left


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_no_cluster_answers_is_named(tmp_path, scheme):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{address}: no Ray cluster answers"):
            execute([SquareStage()], Dataset.create(tmp_path), RunOptions(address=address))

"""A Ray that a run starts for itself has only the processes that run partitions; one that is not there is named."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pipelines.engine.executors.local_ray import connect_ray
from pipelines.engine.executors.select import RayExecutor
from pipelines.engine.interrupt import descendants
from pipelines.engine.ledger import stage_lock
from pipelines.engine.partition import Result, WorkItem
from pipelines.engine.plans import write_plan
from tests.support.toy_stage import SquareStage
from x2i.errors import UserError
from x2i.store import Dataset


def test_a_local_ray_starts_no_dashboard_no_autoscaler_and_no_log_copier(tmp_path):
    dataset, stage, seen = Dataset.create(tmp_path), SquareStage(partitions=1), list[str]()

    def look(result: Result) -> None:
        assert result.error is None
        seen.extend(_command(pid) for pid in descendants(os.getpid()))

    with stage_lock(dataset, stage.name):
        plan = write_plan(dataset, stage)
        RayExecutor(workers=1).run(tmp_path, {stage.name: stage}, [WorkItem(stage.name, plan.entries[0])], look)
    assert any("raylet/raylet" in command for command in seen)
    unwanted = ("dashboard/dashboard.py", "_private/monitor.py", "log_monitor.py")
    assert not [command for command in seen if any(name in command for name in unwanted)]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_no_cluster_answers_is_named(scheme):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{address}: no Ray cluster answers"):
            connect_ray(address)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it has ended meanwhile

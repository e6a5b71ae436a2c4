"""The GPU benchmark runs whole at toy size on the CPU, so that nothing but the GPU itself is new to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from omnigen.network.model import OmniGen
from tests.support import REPOSITORY


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_every_section_runs_at_toy_size_on_the_cpu() -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--toy"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    correctness = [row for row in rows if row["section"] == "correctness"]
    ran = {row["attention"] for row in correctness if row["result"] == "right"}
    assert ran == {"dense", "segment"}
    assert {row["result"] for row in correctness} == {"right", "not here"}
    timed = [row for row in rows if row["section"] == "attention"]
    assert {row["attention"] for row in timed if row.get("both_ms")} == {"segment"}
    assert all("CUDA" in row["note"] for row in timed if not row.get("both_ms"))
    steps = [row for row in rows if row["section"] == "step"]
    assert {(row["checkpointing"], row["compiled"]) for row in steps if row.get("tokens_per_second")} == {
        (mode, compiled) for mode in ("none", "selective", "full") for compiled in (False, True)
    }
    assert "attention: segment" in done.stdout


def test_it_starts_without_packages_that_a_lent_gpu_machine_lacks() -> None:
    lacking = ("pydantic", "annotated_types", "diffusers", "webdataset", "ray", "duckdb", "simplejpeg")
    script = f"import sys; sys.modules.update(dict.fromkeys({lacking})); import gpu"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "benchmarks")))}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_a_section_measured_before_it_failed_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import gpu

    def measure(device: torch.device, toy: bool) -> Iterator[dict[str, Any]]:
        yield {"attention": "segment", "variant": "flash", "tokens": 100, "both_ms": 3.0}
        raise RuntimeError("the device is gone")

    monkeypatch.setitem(gpu.SECTIONS, "attention", measure)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--section", "attention"])
    assert gpu.main() == 1
    printed = capsys.readouterr().out
    assert '"both_ms": 3.0' in printed
    assert "| segment | flash | 100 | 3.0 |" in printed
    assert "attention: segment (flash) at 100 tokens" in printed


def test_every_kind_of_step_is_measured_with_the_memory_of_the_last_one_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import gpu_step

    weights: list[weakref.ref[torch.nn.Parameter]] = []
    alive: list[int] = []

    def fitting(*arguments: Any) -> Any:
        alive.append(sum(each() is not None for each in weights))
        return plan_of(*arguments)

    def timed(model: OmniGen, *rest: Any) -> dict[str, Any]:
        weights.extend(weakref.ref(parameter) for parameter in model.parameters())
        return {}

    plan_of = gpu_step.fitting
    monkeypatch.setattr(gpu_step, "fitting", fitting)
    monkeypatch.setattr(gpu_step, "_timed", timed)
    rows = list(gpu_step.measure(torch.device("cpu"), True))
    assert len(rows) == 6
    assert len(weights) > 0
    assert alive == [0] * 6

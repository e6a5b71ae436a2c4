"""GPUs: which may be used, and how many workers share them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.engine.executors.gpus import deal, gpu_share, smallest_gpu_gb, visible_gpus
from x2i.resources import Resources


@pytest.mark.parametrize(
    ("named", "limit", "found"),
    [
        ("2,5", None, ["2", "5"]),
        ("2,5", 1, ["2"]),
        ("", 2, []),
        ("-1", None, []),
        ("GPU-8f4b,MIG-7a", None, ["GPU-8f4b", "MIG-7a"]),
        (None, 2, ["0", "1"]),
        (None, 0, []),
    ],
)
def test_gpus_are_those_that_the_environment_or_the_user_names(monkeypatch, named, limit, found):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus(limit) == found


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a program on PATH that answers as nvidia-smi does on a machine with two GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$1" in *=index) printf "0\\n1\\n";; *) printf "81559\\n40960\\n";; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_nvidia_smi_is_asked_where_nothing_is_said(nvidia_smi):
    assert visible_gpus() == ["0", "1"]
    assert smallest_gpu_gb() == 40.0


def test_without_nvidia_smi_there_are_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (visible_gpus(), smallest_gpu_gb()) == ([], None)


@pytest.mark.parametrize(
    ("resources", "gpu_gb", "share"),
    [
        (Resources(), 80, 0),
        (Resources(gpus=2), 80, 2),
        (Resources(gpus=1.5), 80, 2),
        (Resources(gpu_memory_gb=20), 80, 0.25),
        (Resources(gpu_memory_gb=100), 80, 1),
        (Resources(gpu_memory_gb=20), None, 1),
        (Resources(gpus=0.5, gpu_memory_gb=20), 80, 0.5),
    ],
)
def test_the_share_of_a_gpu_follows_from_its_memory(resources, gpu_gb, share):
    assert gpu_share(resources, gpu_gb) == share


@pytest.mark.parametrize(
    ("share", "dealt"),
    [
        (1, ["0", "1", "2"]),
        (0.5, ["0", "1", "2", "0", "1", "2"]),
        (0.6, ["0", "1", "2"]),
        (1 / 3, ["0", "1", "2"] * 3),
        (2, ["0,1"]),
        (4, []),
    ],
)
def test_gpus_are_dealt_to_as_many_workers_as_fit(share, dealt):
    assert deal(["0", "1", "2"], share) == dealt

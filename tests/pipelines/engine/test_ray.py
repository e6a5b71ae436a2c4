"""Ray actors: each has its own GPU, and modules of the user's are found."""

from __future__ import annotations

import textwrap

import pytest

from pipelines.engine.executors.ray_actors import RayExecutor
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.support.toy_stage import DeviceStage, SquareStage
from x2i.resources import Resources
from x2i.store import Dataset
from x2i.store.columns import read_column

RAY = RunOptions(executor=Executor.RAY)


def devices(dataset: Dataset, partitions: int) -> dict[int, str]:
    """Returns the CUDA_VISIBLE_DEVICES that each worker process had, by process id."""
    tables = [read_column(dataset.root, "device", f"{number:05d}").to_pylist() for number in range(partitions)]
    return {row["pid"]: row["device"] for [row] in tables}


@pytest.mark.parametrize(
    ("resources", "workers", "seen"),
    [
        (Resources(gpus=1), 2, {"0", "1"}),
        (Resources(gpus=2), 1, {"0,1"}),
        (Resources(gpus=5), 1, {"0,1"}),
        (
            Resources(gpu_memory_gb=10),
            2,
            {"0", "1"},
        ),  # of GPUs that nvidia-smi does not know
    ],
)
def test_each_actor_sees_its_own_gpus(tmp_path, local_ray, resources, workers, seen):
    dataset = Dataset.create(tmp_path)
    summary = execute([DeviceStage(resources=resources)], dataset, RAY)[0]
    assert (summary.ran, summary.failed) == (6, {})
    found = devices(dataset, 6)
    assert (len(found), set(found.values())) == (workers, seen)


def test_stages_that_ask_for_more_cores_than_there_are_still_run(tmp_path, local_ray):
    stage = DeviceStage(resources=Resources(cpus=64))
    assert execute([stage], Dataset.create(tmp_path), RAY)[0].ran == 6


def test_a_stage_of_a_package_that_only_the_driver_finds_runs_in_actors(tmp_path, local_ray, monkeypatch):
    package = tmp_path / "elsewhere" / "someones_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    source = """
        from dataclasses import dataclass
        from tests.support.toy_stage import SquareStage

        @dataclass(frozen=True)
        class TheirStage(SquareStage):
            name: str = "theirs"
    """
    (package / "stages.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(package.parent)
    from someones_package.stages import TheirStage

    for executor in (Executor.RAY, Executor.PROCESSES):
        dataset = Dataset.create(tmp_path / executor)
        summary = execute([TheirStage()], dataset, RunOptions(executor=executor, workers=2))[0]
        assert (summary.ran, summary.failed) == (4, {})


def test_a_connection_of_the_program_itself_is_used_and_left_open(tmp_path, local_ray):
    import ray

    with RayExecutor() as executor:
        execute([SquareStage()], Dataset.create(tmp_path), RAY, None, executor)
    assert ray.is_initialized()

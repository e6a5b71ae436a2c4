"""A Ray of this machine with two invented GPUs, which the tests of a module share: each start takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.engine.options import Executor, RunOptions


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(params=["inline", "processes", "ray"])
def options(request: pytest.FixtureRequest) -> RunOptions:
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    return RunOptions(executor=Executor(request.param), workers=None if request.param == "inline" else 2)

"""Workers that Ray starts as actors, on this machine or on a cluster, and the one connection that serves them all."""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.executors.gpus import fitting, gpu_share, smallest_gpu_gb
from pipelines.engine.executors.pool import WorkerDiedError, run_batches
from pipelines.engine.interrupt import end_children_on_signals
from pipelines.engine.partition import Batch, OnResult, PartitionRunner, Result
from pipelines.engine.stage import Stage, resources_of
from x2i.errors import RunError, UserError
from x2i.resources import Resources

CHECK_SECONDS = 10.0
"""Seconds without a result after which it is checked that Ray is still there."""
_ANSWER_SECONDS = 10.0
_OBJECT_STORE_BYTES = 80 * 2**20
"""Nothing large goes through the object store: partitions are read from, and written to, the dataset."""
_SETTINGS = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's core warns about every actor with constructor arguments; its own log files keep what it has to say.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


class RayExecutor:
    """Runs partitions in Ray actors. Connects to Ray at the first run and stays connected until it is closed.

    A connection that the program has made itself is used, and left open.

    address: an existing cluster, or None for a local one. workers, gpus: at most; None means as many as there are.
    """

    def __init__(self, address: str | None = None, workers: int | None = None, gpus: int | None = None) -> None:
        self._address = address
        self._workers = workers
        self._gpus = gpus
        self._is_connected = False

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_connected:
            import ray

            ray.shutdown()

    def prepare(self, stages: Sequence[Stage]) -> None:
        """Does nothing: Ray is started when there is something to run."""

    def run(self, root: Path, stages: Mapping[str, Stage], batches: Sequence[Batch], on_result: OnResult) -> None:
        guard = nullcontext if self._address else end_children_on_signals  # a local Ray's processes are our children
        with guard():
            needs = resources_of(stages.values())
            self._connect(needs)
            cpus, gpus, size = self._placement(needs)
            with guard():  # Ray has just set a handler of its own
                run_batches(RayPool(root, stages, cpus, gpus), size, batches, on_result)

    def _placement(self, needs: Resources) -> tuple[float, float, int]:
        """Returns the CPUs and GPUs of a worker, and how many workers fit the cluster.

        In a cluster without GPUs, stages that want one get one worker without.
        """
        import ray

        total = ray.cluster_resources()
        cpus = min(needs.cpus, total.get("CPU", 1))
        available = total.get("GPU", 0) if self._gpus is None else min(self._gpus, total.get("GPU", 0))
        gpu_gb = None
        if available and needs.gpu_memory_gb and not needs.gpus:
            gpu_gb = ray.get(ray.remote(num_gpus=0.01)(smallest_gpu_gb).remote())
        gpus = min(gpu_share(needs, gpu_gb), available)
        if not gpus and (needs.gpus or needs.gpu_memory_gb):
            return cpus, 0, 1
        limits = [self._workers] if self._workers else []
        limits += [fitting(total.get("CPU", 1), cpus)] if cpus else []
        limits += [fitting(available, gpus)] if gpus else []
        return cpus, gpus, max(1, min(limits, default=1))

    def _connect(self, needs: Resources) -> None:
        import ray

        if ray.is_initialized():
            return
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        with _native_messages_hidden():
            if self._address:
                _connect_to_cluster(self._address, quiet)
            else:
                ray.init(
                    address="local",
                    num_cpus=math.ceil(self._workers * needs.cpus) if self._workers else os.cpu_count(),
                    num_gpus=self._gpus,
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    **quiet,
                )
        self._is_connected = True


class RayPool:
    """A `WorkerPool` of actors. Placement, devices, and noticing the death of processes and machines are Ray's work.

    cpus, gpus: what each actor takes. Ray must be connected.
    """

    def __init__(self, root: Path, stages: Mapping[str, Stage], cpus: float, gpus: float) -> None:
        import ray

        self._actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(PartitionActor)
        self._arguments = str(root), ray.put(ray.cloudpickle.dumps(dict(stages))), sys.path

    def start(self) -> RayWorker:
        actor = self._actor.remote(*self._arguments)
        return RayWorker(actor, actor.ready.remote())

    def wait(self, workers: Sequence[RayWorker]) -> RayWorker:
        """Raises RunError if Ray itself is gone: it would wait for ever for a worker that nobody can replace."""
        import ray

        by_result = {worker.pending: worker for worker in workers}
        while True:
            done, _ = ray.wait(list(by_result), num_returns=1, timeout=CHECK_SECONDS)
            if done:
                return by_result[done[0]]
            if not any(node["Alive"] for node in ray.nodes()):
                raise RunError("Ray's own process has died; what is committed stays: run the same command again")

    def kill(self, worker: RayWorker) -> None:
        import ray

        ray.kill(worker.actor)


@dataclass(eq=False)
class RayWorker:
    """An actor, and the reference to what it is working on."""

    actor: Any
    pending: Any

    def submit(self, batch: Batch) -> None:
        self.pending = self.actor.run.remote(batch)

    def result(self) -> list[Result] | None:
        import ray

        try:
            results: list[Result] | None = ray.get(self.pending)
        except ray.exceptions.RayError as error:
            raise WorkerDiedError(str(error)) from error
        return results


class PartitionActor:
    """What Ray keeps alive in each worker process.

    modules: the driver's `sys.path`. What is found there and not here, such as a user's own package, is added.
    """

    def __init__(self, root: str, stages: bytes, modules: list[str]) -> None:
        sys.path += [folder for folder in modules if folder not in sys.path]
        self._runner = PartitionRunner(root, stages)

    def ready(self) -> None:
        """Returns when the actor has been placed and started."""

    def run(self, batch: Batch) -> list[Result]:
        return self._runner.run(batch)


def _connect_to_cluster(address: str, options: Mapping[str, Any]) -> None:
    """Raises UserError if no cluster answers; Ray itself would try for minutes."""
    import ray

    host, colon, port = address.rpartition("//")[2].rpartition(":")
    try:
        if colon and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        ray.init(address=address, **options)
    except (OSError, OverflowError) as error:  # ConnectionError among them
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({error}); expected one that runs, such as "
            "ray://head:10001, head:6379 or auto. One that asks for a token, as Ray's do since 2.60, is reached with "
            "RAY_AUTH_MODE=token and the file ~/.ray/auth_token"
        ) from error


@contextmanager
def _native_messages_hidden() -> Iterator[None]:
    """Keeps what Ray's C++ core prints while it starts off the screen; what goes wrong there is raised in Python."""
    sys.stderr.flush()
    screen = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(nowhere)
        os.close(screen)

"""Worker processes that Ray starts, as actors, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.executors.pool import WorkerDiedError, WorkerFailedError
from pipelines.engine.partition import Result, StageWorkers, WorkItem
from pipelines.engine.stage import Stage
from x2i.errors import UserError
from x2i.store.files.remote import dataset_path

LOOK_AROUND = 10.0
"""Seconds without a result after which it is asked whether Ray is still there."""


@dataclass(eq=False)
class _Member:
    actor: Any
    result: Any = None


class RayCrew:
    """A `Crew` of actors. Placement, and noticing the death of processes and machines, are Ray's work.

    cpus: what Ray counts an actor as. root, stages: as for StageWorkers. Ray must be connected.
    """

    def __init__(self, root: Path, stages: Mapping[str, Stage], cpus: int) -> None:
        import ray

        self._actor = ray.remote(num_cpus=cpus, max_restarts=0)(PartitionActor)
        self._root = str(root)
        self._stages = ray.put(dict(stages))

    def hire(self) -> _Member:
        return _Member(self._actor.remote(self._root, self._stages))

    def give(self, member: _Member, item: WorkItem) -> None:
        member.result = member.actor.run.remote(item.as_json())

    def wait(self, members: Sequence[_Member]) -> _Member:
        """Raises UserError if no machine is left to give a result: Ray itself would wait for ever, since without the
        process that starts its workers it cannot replace one.
        """
        import ray

        by_result = {member.result: member for member in members}
        while True:
            done, _ = ray.wait(list(by_result), num_returns=1, timeout=LOOK_AROUND)
            if done:
                return by_result[done[0]]
            if not any(node["Alive"] for node in ray.nodes()):
                raise UserError("Ray's own process has died; what is committed stays: run the same command again")

    def take(self, member: _Member) -> Result:
        import ray

        try:
            return Result.from_json(ray.get(member.result))
        except ray.exceptions.RayActorError as error:
            raise WorkerDiedError from error
        except ray.exceptions.RayTaskError as error:
            raise WorkerFailedError(f"{type(error.cause).__name__}: {error.cause}", str(error)) from error

    def dismiss(self, member: _Member) -> None:
        import ray

        ray.kill(member.actor)


def cluster_cpus() -> int:
    """Returns how many CPUs the cluster counts."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


class PartitionActor:
    """What Ray keeps alive in each worker process."""

    def __init__(self, root: str, stages: dict[str, Stage]) -> None:
        self._workers = StageWorkers(dataset_path(root), stages)

    def run(self, item: str) -> str:
        """Runs a work item, and returns its result; both are JSON, so that Ray has no class of ours to know."""
        return self._workers.run(WorkItem.from_json(item)).as_json()

"""`x2i train`: `omnigen train` on the workers of a Ray cluster, by Ray Train; a worker that dies is replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from x2i.errors import RunError, UserError

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

MARKS = {"omnigen user error: ": UserError, "omnigen run error: ": RunError}
"""How a worker tells which error it raised: Ray hands over its text alone."""


def command(
    config: Annotated[
        Path, typer.Argument(help="YAML file of the run, or the name of one of ours: see omnigen train.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder, on a file system that every worker sees.")],
    workers: Annotated[int, typer.Option(min=1, help="Training processes; each is a rank, with a GPU of its own.")] = 1,
    gpu: Annotated[bool, typer.Option("--gpu/--cpu", help="Give each worker a GPU, or train on CPUs.")] = True,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace one value of the file, as section.key=value; may be repeated."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="An existing Ray cluster, such as auto. Default: a local one.")
    ] = None,
    max_failures: Annotated[
        int, typer.Option(min=0, help="How often to start the workers again after one has died.")
    ] = 3,
) -> None:
    """Train on shards with one process per GPU of a Ray cluster.

    The same run as `torchrun -m omnigen.cli train`, with the same numbers: it resumes what the folder holds, on any
    number of workers. When a worker dies, all begin again at the last checkpoint.

        x2i train x2i --out /shared/run --workers 16 --address auto --set parallel.mode=fsdp
    """
    trainer_class = _trainer_class()

    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    from omnigen.configurations import find_configuration
    from omnigen.train.config import load_config

    config = find_configuration(config)
    load_config(config, set_ or [])  # mistakes are told before a cluster is asked for anything
    # Ray would wait for ever for CPUs that this machine has not.
    ray.init(address=address, num_cpus=None if address else max(workers + 1, os.cpu_count() or 1))
    trainer = trainer_class(
        _train_in_worker,
        train_loop_config={"config": str(config.resolve()), "set": set_ or [], "out": str(out.resolve())},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=RunConfig(
            name="ray", storage_path=str(out.resolve()), failure_config=FailureConfig(max_failures=max_failures)
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        # Ray wraps what a worker raised, and the user's own mistakes must read as everywhere else.
        message = str(error)
        for mark, kind in MARKS.items():
            if mark in message:
                raise kind(message.rpartition(mark)[2].splitlines()[0]) from error
        raise
    finally:
        ray.shutdown()


def _trainer_class() -> type[TorchTrainer]:
    try:
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise UserError(f"x2i train needs Ray Train ({error}): pip install 'x2i[train,ray]'") from error
    return TorchTrainer


def _train_in_worker(settings: dict[str, Any]) -> None:
    from omnigen.train.run import train

    try:
        train(Path(settings["config"]), settings["set"], "auto", Path(settings["out"]))
    except (UserError, RunError) as error:
        mark = next(mark for mark, kind in MARKS.items() if isinstance(error, kind))
        raise RuntimeError(f"{mark}{error}") from error

"""The options that every stage command shares: where it runs, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from x2i.options import Option

if TYPE_CHECKING:
    from pathlib import Path as StorePath
else:

    class StorePath:
        """What typer is told instead of Path, from which it would make a path of this machine, whatever the parser."""


def dataset_path(text: str) -> Path:
    """Returns the path that an argument names, on this machine or on a store; see `remote.dataset_path`."""
    from x2i.store.files import remote

    return remote.dataset_path(text)


DatasetArgument = Annotated[
    StorePath,
    typer.Argument(parser=dataset_path, metavar="DATASET", help="The dataset: a folder, or a URL such as s3://..."),
]
OutOption = Annotated[
    StorePath,
    typer.Option(parser=dataset_path, metavar="PATH", help="The dataset to write: a folder or s3://...; made if new."),
]


class Executor(StrEnum):
    AUTO = "auto"
    PROCESSES = "processes"
    RAY = "ray"
    INLINE = "inline"


@dataclass(frozen=True)
class RunOptions:
    """How to run a stage; none of these changes a byte of the output."""

    executor: Annotated[
        Executor,
        Option(
            "inline: this process. processes: worker processes of this machine. ray: Ray's, here or on a cluster "
            "(--address). auto: the cluster if one is named, else processes where there is work for several."
        ),
    ] = Executor.AUTO
    address: Annotated[
        str | None, Option("An existing Ray cluster, such as ray://head:10001 or auto. Default: a local one.")
    ] = None
    workers: Annotated[
        int | None, Option("Worker processes at most. Default: as many as CPUs and GPUs have room for.", ge=1)
    ] = None
    gpus: Annotated[int | None, Option("GPUs of this machine to use at most. Default: all that are there.", ge=0)] = (
        None
    )
    limit: Annotated[int | None, Option("Run only the first N partitions of the plan.", ge=1)] = None
    dry_run: Annotated[bool, Option("Print what would be done, do nothing.")] = False
    json: Annotated[bool, Option("Print a machine-readable summary on stdout.")] = False
    overwrite: Annotated[bool, Option("Delete this stage's earlier results where they do not match, redo.")] = False

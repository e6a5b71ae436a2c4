"""The options every stage command shares, and the decorator that gives them to a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

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
        typer.Option(
            help="inline: this process. processes: worker processes of this machine. ray: Ray's, here or on a cluster "
            "(--address). auto: the cluster if one is named, else processes where there is work for several."
        ),
    ] = Executor.AUTO
    address: Annotated[
        str | None,
        typer.Option(help="An existing Ray cluster, such as ray://head:10001 or auto. Default: a local one."),
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes at most. Default: as many as the CPUs have room for.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Run only the first N partitions of the plan.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, do nothing.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary on stdout.")] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete this stage's earlier results where they do not match, redo.")
    ] = False


def stage_command(function: Callable[..., None]) -> Callable[..., None]:
    """Replaces the parameter `run: RunOptions` of a typer command by one option per field of RunOptions."""
    hints = get_type_hints(function, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()]
    kept = [p for p in own if p.name != "run"]
    run_hints = get_type_hints(RunOptions, include_extras=True)
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=run_hints[f.name])
        for f in fields(RunOptions)
    ]

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        options = RunOptions(**{f.name: arguments.pop(f.name) for f in fields(RunOptions)})
        function(run=options, **arguments)

    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept]
    command.__signature__ = inspect.Signature([*keyword_only, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*keyword_only, *shared]}
    del command.__wrapped__  # type: ignore[attr-defined]
    return command

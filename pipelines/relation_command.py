"""Commands that relate images to each other: `x2i dedup`, `x2i subjects`, ... share this one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate import RELATION_STAGES
from x2i.command_options import with_options


def relation_command(name: str) -> Callable[..., None]:
    """Returns the command that runs the stage of a relation: its options are the flags, its docstring is the help."""
    kind = RELATION_STAGES.get(name)

    def command(dataset: DatasetArgument, stage: Any, run: RunOptions) -> None:
        from pipelines.engine.run import run_stages
        from x2i.store import Dataset

        stage.check_models()
        run_stages([stage], Dataset.open(dataset), run)

    command.__doc__ = kind.__doc__
    command.__annotations__["stage"] = kind
    return with_options(command)

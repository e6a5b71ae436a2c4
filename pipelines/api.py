"""Steps run from Python: what `x2i.Dataset.run` calls."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from pipelines.commands.build import runs_of
from pipelines.engine.console import StageSummary
from pipelines.engine.options import RunOptions
from pipelines.engine.run import execute
from pipelines.steps import stages_of
from x2i.errors import RunError, UserError
from x2i.settings import from_mapping
from x2i.store import Dataset


def run(dataset: Dataset, step: str | type, **options: Any) -> list[StageSummary]:
    """Runs a step of a manifest on `dataset` and returns a summary of each of its stages.

    step: as in a manifest: a command, an annotation, or mypackage.module:Class; or such a class.
    options: of the step, and those of RunOptions, by name; `executor` is "inline" unless it is given.
    Raises UserError for wrong options or missing input, RunError if a partition fails.
    """
    if isinstance(step, type):
        step = f"{step.__module__}:{step.__qualname__}"
    options = json.loads(json.dumps(options, default=_path_text))
    shared = {field.name for field in fields(RunOptions)}
    chosen = {name: value for name, value in options.items() if name in shared}
    settings = from_mapping(RunOptions, {"executor": "inline", **chosen}, step)
    stages = stages_of(step, {name: value for name, value in options.items() if name not in shared}, step)
    summaries = execute(runs_of(stages, dataset, settings), dataset, settings)
    failures = [f"{s.stage}, partition {name}: {error}" for s in summaries for name, error in s.failed.items()]
    if failures:
        raise RunError("\n".join(failures))
    return summaries


def _path_text(value: Any) -> str:
    if not isinstance(value, PurePath):
        raise UserError(f"options: expected numbers, texts, lists and mappings of them, found {value!r}")
    return str(value)

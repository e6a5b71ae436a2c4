"""A manifest: a dataset build as a list of steps, each with the options of its command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.engine.stage import Stage
from pipelines.steps import stages_of
from x2i.errors import UserError
from x2i.settings import apply_overrides, build_settings, named_file, read_yaml

MANIFESTS = Path(__file__).parent / "manifests"
"""The manifests that come along; in its folder train/, the training configurations."""
CONFIGURATIONS = MANIFESTS / "train"


@dataclass(frozen=True)
class InspectSettings:
    """What to draw of the finished dataset: `per_task` samples of each task on the contact sheet, and the gallery."""

    per_task: int = 3
    gallery: bool = True


@dataclass(frozen=True)
class TrainSettings:
    """Trains on the shards. config: a training configuration, relative to the manifest, or one that comes along, by its
    name; set: its overrides.
    """

    config: Path
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A manifest as it is written."""

    name: str
    steps: list[dict[str, dict[str, Any] | None]]
    inspect: InspectSettings | None = None
    train: TrainSettings | None = None


@dataclass(frozen=True)
class Manifest:
    """A dataset build. stages: in the order of the steps. The training configuration is a path of this machine."""

    name: str
    stages: tuple[Stage, ...]
    inspect: InspectSettings | None = None
    train: TrainSettings | None = None

    def stage_groups(self) -> list[list[Stage]]:
        """Returns the stages in an order in which each comes after those that write what it reads.

        Those of one group need nothing of each other and run side by side.
        """
        return levels(self.stages)


def levels(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Returns `stages` in groups: each stage one group after the last of those that write what it reads."""
    level: dict[int, int] = {}
    waiting = dict(enumerate(stages))
    while waiting:
        writers = {number: stage for number, stage in enumerate(stages) if stage.writes}
        ready = {}
        for number, stage in waiting.items():
            needed = [n for n, other in writers.items() if n != number and other.writes in stage.reads]
            if all(n in level for n in needed):
                ready[number] = 1 + max((level[n] for n in needed), default=-1)
        if not ready:
            names = ", ".join(stage.name for stage in waiting.values())
            raise UserError(f"manifest: steps that read each other's results in a circle: {names}")
        level |= ready
        waiting = {number: stage for number, stage in waiting.items() if number not in ready}
    groups: list[list[Stage]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for number, stage in enumerate(stages):
        groups[level[number]].append(stage)
    return groups


def find_manifest(name: Path) -> Path:
    """Returns the manifest that `name` stands for: a path, or the name of one that comes along."""
    return named_file(name, MANIFESTS, "manifest")


def load_manifest(path: Path, overrides: Sequence[str]) -> Manifest:
    """Reads and checks a manifest. Raises UserError that names file, key path, expectation and nearest valid name.

    overrides: "STEP.option=value" for every step of that name, or whose column has it, or for a score that `filter`
    names; "inspect.key", "train.key".
    """
    document = read_yaml(path)
    read = build_settings(Document, _overridden(document, overrides, str(path)), str(path))
    stages: list[Stage] = []
    mistakes: list[str] = []
    for number, step in enumerate(read.steps):
        try:
            stages += _stages(step, f"{path}: steps.{number}")
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))
    names = [stage.name for stage in stages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: two steps make {twice[0]!r}: name the column of one (column: {twice[0]}_2)")
    train = read.train
    if train is not None:
        try:
            found = named_file(train.config, CONFIGURATIONS, "training configuration", path.parent)
        except UserError as error:
            raise UserError(f"{path}: train.config: {error}") from error
        train = replace(train, config=found)
    return Manifest(read.name, tuple(stages), read.inspect, train)


def _stages(step: Mapping[str, Any], where: str) -> list[Stage]:
    if len(step) != 1:
        raise UserError(f"{where}: expected one step such as `- caption: {{model: alt-text}}`, found {step!r}")
    ((kind, options),) = step.items()
    return stages_of(kind, options or {}, f"{where}.{kind}")


def _overridden(document: Mapping[str, Any], overrides: Sequence[str], file: str) -> dict[str, Any]:
    steps = [dict(step) for step in document.get("steps") or [] if isinstance(step, Mapping)]
    result = {**document, "steps": steps}
    if len(steps) != len(document.get("steps") or []):
        raise UserError(f"{file}: steps: expected a list of steps such as `- caption: {{model: alt-text}}`")
    for override in overrides:
        target, _, rest = override.partition(".")
        if target in ("name", "inspect", "train") or target.startswith("name="):
            result = apply_overrides(result, [override])
            continue
        addressed = [(step, kind) for step in steps for kind in step if _is_called(target, kind, step[kind])]
        scoring = [] if addressed else [step for step in steps if target in (step.get("filter") or {})]
        if not (addressed or scoring) or not rest:
            names = ", ".join(kind for step in steps for kind in step)
            raise UserError(f"--set {override!r}: expected STEP.option=value; the steps of {file}: {names}")
        for step, kind in addressed:
            step[kind] = apply_overrides(step[kind] or {}, [rest])
        for step in scoring:
            step["filter"] = apply_overrides(step["filter"] or {}, [override])
    return result


def _is_called(target: str, kind: str, options: Mapping[str, Any] | None) -> bool:
    return target == kind or (options or {}).get("column") == target

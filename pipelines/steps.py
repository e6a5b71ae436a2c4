"""Steps: what a manifest's step of each name means, as stages made from its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.engine.stage import Stage
from pipelines.stages.relate import RELATION_STAGES
from x2i.annotate import ANNOTATIONS
from x2i.errors import UserError
from x2i.registry import IMPORT_PATH
from x2i.settings import from_mapping, nearest

Options = Mapping[str, Any]


def stages_of(kind: str, options: Options, where: str) -> list[Stage]:
    """Returns the stages of one step. where: file and key path, for messages.

    kind: a command, or an annotation by its name or import path. Raises UserError if there is no such step.
    """
    if kind in STEPS:
        return STEPS[kind](_mapping(options, where), where)
    if kind in ANNOTATIONS or IMPORT_PATH.fullmatch(kind):
        return [_annotation(kind, options, where)]
    raise UserError(f"{where}: no such step: {nearest(kind, [*STEPS, *ANNOTATIONS])}")


def _mapping(options: object, where: str) -> Options:
    if not isinstance(options, Mapping):
        raise UserError(f"{where}: expected options such as {{column: NAME}}, found {options!r}")
    return options


def _annotation(name: str, options: Options, where: str) -> Stage:
    from pipelines.stages.annotate import AnnotateStage

    rest = {key: value for key, value in _mapping(options, where).items() if key != "column"}
    return AnnotateStage(from_mapping(ANNOTATIONS.get(name), rest, where), str(options.get("column", "")))


def _filter(options: Options, where: str) -> list[Stage]:
    """`filter: {}` makes the scores that need no model; `filter: {quality: {}, image_text: {model: ...}}` those."""
    names = list(options) or [name for name in ANNOTATIONS if ANNOTATIONS.get(name).by_default]
    return [_annotation(name, options.get(name) or {}, f"{where}.{name}") for name in names]


def _crawl(options: Options, where: str) -> list[Stage]:
    from pipelines.stages.crawl.stage import CrawlStage

    return [from_mapping(CrawlStage, options, where)]


def _import(options: Options, where: str) -> list[Stage]:
    from pipelines.stages.imports import manifest_stage

    return [manifest_stage(options, where)]


def _materialize(options: Options, where: str) -> list[Stage]:
    from pipelines.stages.materialize import manifest_stages

    return manifest_stages(options, where)


def _relation(name: str) -> Callable[[Options, str], list[Stage]]:
    return lambda options, where: [from_mapping(RELATION_STAGES.get(name), options, where)]


STEPS: Mapping[str, Callable[[Options, str], list[Stage]]] = {
    "crawl": _crawl,
    "import": _import,
    "filter": _filter,
    "caption": lambda options, where: [_annotation("captions", options, where)],
    "detect": lambda options, where: [_annotation("entities", options, where)],
    "embed": lambda options, where: [_annotation("embeddings", options, where)],
    **{name: _relation(name) for name in RELATION_STAGES},
    "materialize": _materialize,
}

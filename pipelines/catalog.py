"""What the registries hold, as plain values: for `x2i list` and the reference pages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.options import defaults, option_fields
from x2i.registry import Registry
from x2i.settings import nearest


def entries(kind: str, name: str | None = None) -> list[dict[str, Any]]:
    """Returns the entries of a registry, or the one called `name`: {"name", "title", "extra", "options", ...}."""
    return list(CATALOGS[kind](name))


def described(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    """Returns what a registered class says of itself."""
    shown = defaults(kind) if is_dataclass(kind) else {}
    helped = {field.name: field.option.help for field in option_fields(kind)} if shown else {}
    options = {option: {"help": helped[option], "default": default} for option, default in shown.items()}
    return {
        "name": name,
        "title": getattr(kind, "title", ""),
        "extra": getattr(kind, "extra", ""),
        "license": getattr(kind, "license", ""),
        "options": options,
        **more,
    }


def _plain(registry: Registry[Any], name: str | None) -> Iterator[dict[str, Any]]:
    for one in [name] if name else registry:
        yield described(one, registry.get(one))


def _annotations(name: str | None, made_by: str | None = None) -> Iterator[dict[str, Any]]:
    from x2i.annotate import ANNOTATIONS

    for one in [name] if name else ANNOTATIONS:
        kind = ANNOTATIONS.get(one)
        if made_by is not None and kind.made_by != made_by:
            continue
        annotation = kind()
        reads = ["images", *annotation.image_fields, *annotation.columns]
        writes = f"columns/{kind.name} ({', '.join(annotation.spec().schema.names)})"
        yield described(one, kind, reads=", ".join(reads), writes=writes, made_by=kind.made_by)


def _relations(name: str | None) -> Iterator[dict[str, Any]]:
    from x2i.relate import RELATIONS

    for one in [name] if name else RELATIONS:
        kind = RELATIONS.get(one)
        title = (kind.__doc__ or "").partition(".")[0]
        writes = f"relations/{one} ({', '.join(kind.spec.schema.names)}), by `x2i {kind.spec.made_by}`"
        yield described(one, kind, title=title, writes=writes, made_by=kind.spec.made_by)


def _models(name: str | None) -> Iterator[dict[str, Any]]:
    from x2i.models.registry import BACKENDS, available

    for ability, table in BACKENDS.items():
        for row, shown in zip(table, available(ability)):
            if name in (None, row, shown):
                yield described(shown, table.get(row), group=str(ability))


def _recipes(name: str | None) -> Iterator[dict[str, Any]]:
    from x2i.recipes import RECIPES

    yield from _plain(RECIPES, name)


def _sources(name: str | None) -> Iterator[dict[str, Any]]:
    from x2i.crawl.sources import SOURCES

    for one in [name] if name else SOURCES:
        kind = SOURCES.get(one)
        yield described(one, kind.options_class, title=kind.title, reads=kind.looks_like)


def _importers(name: str | None) -> Iterator[dict[str, Any]]:
    from x2i.importers import IMPORTERS

    for one in [name] if name else IMPORTERS:
        kind = IMPORTERS.get(one)
        yield described(one, kind, writes=" or ".join(kind.makes), license=kind.license_note)


def _exporters(name: str | None) -> Iterator[dict[str, Any]]:
    from x2i.exporters import EXPORTERS

    yield from _plain(EXPORTERS, name)


def _codecs(name: str | None) -> Iterator[dict[str, Any]]:
    from omnigen.codecs.base import CODECS  # the command line names the extra if torch is not there

    yield from _plain(CODECS, name)


def _manifests(name: str | None) -> Iterator[dict[str, Any]]:
    from pipelines.manifest import MANIFESTS

    yield from _yaml_files(MANIFESTS, name)


def _configurations(name: str | None) -> Iterator[dict[str, Any]]:
    from pipelines.manifest import CONFIGURATIONS

    yield from _yaml_files(CONFIGURATIONS, name)


def _yaml_files(folder: Path, name: str | None) -> Iterator[dict[str, Any]]:
    """Yields the YAML files of a folder; the first sentence of its leading comment is a file's title."""
    files = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name is not None and name not in files:
        raise UserError(f"{name}: {nearest(name, list(files))}")
    for stem, path in files.items():
        if name in (None, stem):
            comment = itertools.takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
            text = " ".join(line.lstrip("# ") for line in comment)
            title = text.partition(". ")[0].rstrip(".") + "."
            yield {"name": stem, "title": title, "extra": "", "license": "", "options": {}, "path": str(path)}


CATALOGS: dict[str, Callable[[str | None], Iterator[dict[str, Any]]]] = {
    "annotations": _annotations,
    "scores": lambda name: _annotations(name, "filter"),
    "relations": _relations,
    "models": _models,
    "recipes": _recipes,
    "sources": _sources,
    "importers": _importers,
    "exporters": _exporters,
    "codecs": _codecs,
    "manifests": _manifests,
    "configurations": _configurations,
}

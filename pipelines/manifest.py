"""What a manifest may say: one section per stage, each with the fields of that stage's own dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.commands.caption import CaptionStage
from pipelines.commands.dedup import DedupStage
from pipelines.commands.detect import DetectStage
from pipelines.commands.embed import EmbedStage
from pipelines.commands.filter import FilterStage
from pipelines.commands.materialize import MaterializeStage
from pipelines.commands.subjects import SubjectsStage
from pipelines.engine.stage import Stage
from pipelines.stages.crawl.stage import CrawlStage
from x2i.errors import UserError
from x2i.recipes import RECIPES
from x2i.settings import apply_overrides, build_settings, nearest, read_yaml


@dataclass(frozen=True)
class RecipeSettings:
    """One recipe. select: predicates beside those of the section. max_samples: at most N, an even choice."""

    select: dict[str, str] = field(default_factory=dict)
    max_samples: int | None = None


@dataclass(frozen=True)
class MaterializeSettings:
    """Which shards to make. select: named SQL predicates that every image must fulfil, asked in this order."""

    recipes: dict[str, RecipeSettings]
    select: dict[str, str] = field(default_factory=dict)
    max_side: int = 1024
    quality: int = 95
    shard_size: int = 1000


@dataclass(frozen=True)
class InspectSettings:
    """What to draw of the finished dataset: `per_task` samples of each task on the contact sheet, and the gallery."""

    per_task: int = 3
    gallery: bool = True


@dataclass(frozen=True)
class TrainSettings:
    """Trains on the shards. config: a training configuration, relative to the manifest; set: its overrides."""

    config: Path
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A dataset build. A section that is left out is not run; the order is the order of the fields."""

    name: str
    crawl: CrawlStage | None = None
    filter: FilterStage | None = None
    dedup: DedupStage | None = None
    caption: CaptionStage | None = None
    detect: DetectStage | None = None
    embed: EmbedStage | None = None
    subjects: SubjectsStage | None = None
    materialize: MaterializeSettings | None = None
    inspect: InspectSettings | None = None
    train: TrainSettings | None = None

    def stage_groups(self) -> list[list[Stage]]:
        """Returns the stages in order; those of one group need nothing of each other and run side by side."""
        groups: list[list[Stage | None]] = [
            [self.crawl],
            [self.filter, self.caption, self.embed],
            [self.dedup, self.detect],
            [self.subjects],
            [*self.materialize_stages()],
        ]
        asked = [[stage for stage in group if stage is not None] for group in groups]
        return [group for group in asked if group]

    def materialize_stages(self) -> list[Stage]:
        """Returns one stage per recipe of the manifest."""
        section = self.materialize
        if section is None:
            return []
        return [
            MaterializeStage(
                recipe=name,
                select={**section.select, **settings.select},
                max_samples=settings.max_samples,
                max_side=section.max_side,
                quality=section.quality,
                shard_size=section.shard_size,
            )
            for name, settings in section.recipes.items()
        ]


def load_manifest(path: Path, overrides: list[str]) -> Manifest:
    """Reads and checks a manifest. Raises UserError that names file, key path, expectation and nearest valid name."""
    document = apply_overrides(read_yaml(path), overrides)
    manifest = build_settings(Manifest, document, str(path))
    for name in manifest.materialize.recipes if manifest.materialize else ():
        if name not in RECIPES:
            raise UserError(f"{path}: materialize.recipes.{name}: no such recipe: {nearest(name, list(RECIPES))}")
    if manifest.train is not None and not (path.parent / manifest.train.config).exists():
        raise UserError(f"{path}: train.config: no such file: {path.parent / manifest.train.config}")
    return manifest

"""The gallery's dataset: the demo's photographs with all that can be made of them without downloaded weights."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from pipelines.demo.photographs import PHOTOGRAPHS
from pipelines.demo.site import make_detail_shot
from pipelines.gallery.hed import write_hed
from pipelines.gallery.showcases import Showcase, showcases
from pipelines.stages.materialize import stage_of
from x2i.annotate import ANNOTATIONS
from x2i.annotate.base import ModelAnnotation
from x2i.errors import RunError, UserError
from x2i.options import option_fields
from x2i.recipes import RECIPES, family_of
from x2i.relate import RELATIONS
from x2i.store import Dataset

SIDE = 384
SAMPLES = 4
OF_TASKS = ("astronaut", "rocket", "chelsea", "coffee", "coins", "camera", "motorcycle_left")
"""Photographs on which a reader sees at a glance what a task does."""
DOWNLOADED = ("hf:", "open_clip:", "openai:")
"""Backends whose models are fetched or served: the gallery is built without a network."""


@dataclass(frozen=True)
class Built:
    """What the gallery shows: the photographs' dataset, that of drawn scenes, and the showcases with theirs.

    missing: what could not be made: the name of an annotation, relation or recipe -> why.
    """

    photographs: Dataset
    scenes: Dataset
    showcases: tuple[tuple[Showcase, Dataset], ...] = ()
    missing: dict[str, str] = field(default_factory=dict)


def build(root: Path) -> Built:
    """Builds the datasets in `root`, or goes on with them."""
    photographs = write_photographs(root / "photos")
    dataset = Dataset.create(root / "data")
    dataset.run("crawl", sources=[str(photographs)], max_side=512, partition_size=64)
    missing: dict[str, str] = {}
    pending = list(ANNOTATIONS)
    while pending:
        missing = {name: why for name in pending if (why := _made(dataset, name))}
        if len(missing) == len(pending):
            break
        pending = list(missing)  # an annotation may read the column of one that came after it
    for name in RELATIONS:
        if why := _tried(dataset, RELATIONS.get(name).spec.made_by):
            missing[name] = why
    scenes, lacks = _scenes(root / "scenes"), _samples(dataset, list(RECIPES))
    known = showcases(write_hed(root / "network-bsds500.pth"))
    shown = tuple((one, _showcase(root / "showcases", one, photographs, lacks)) for one in known)
    sets = [scenes, *(small for _, small in shown)]
    made = {name for name in RECIPES if any(small.shards(name) for small in sets)}
    made.update(one.annotation for one, _ in shown)
    missing = {name: why for name, why in {**missing, **lacks}.items() if name not in made}
    return Built(dataset, scenes, shown, missing)


def _showcase(root: Path, showcase: Showcase, photographs: Path, lacking: Collection[str]) -> Dataset:
    """Makes a showcase's columns, and samples of the recipes that lack them elsewhere."""
    dataset = Dataset.create(root / showcase.name)
    chosen = root / f"{showcase.name}-photos"
    chosen.mkdir(exist_ok=True)
    for path in (photographs / f"{name}{ending}" for name in showcase.photographs for ending in (".jpg", ".txt")):
        shutil.copy(path, chosen)
    dataset.run("crawl", sources=[str(chosen)], max_side=512)
    dataset.run("captions")
    for name, options in showcase.columns.items():
        dataset.run(showcase.annotation, column=name, **options)
    _samples(dataset, lacking)
    return dataset


def _scenes(root: Path) -> Dataset:
    """Makes samples of the tasks about drawn scenes."""
    dataset = Dataset.create(root)
    dataset.run("crawl", sources=["scenes:6?seed=1&size=192"])
    dataset.run("scenes")
    recipes: dict[str, dict[str, object]] = {name: {} for name in RECIPES if family_of(name) == "scenes"}
    dataset.run("materialize", max_side=SIDE, max_samples=SAMPLES, recipes=recipes)
    return dataset


def write_photographs(folder: Path) -> Path:
    """Writes the demo's photographs and their detail shots as JPEG files, each with its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for photograph in (photograph for photograph in PHOTOGRAPHS if photograph.topic != "medicine"):
        image = cv2.imread(str(photograph.path), cv2.IMREAD_COLOR)
        assert image is not None, photograph.path
        shots = [(photograph.stem, photograph.alt, image)]
        for number, shot in enumerate(photograph.details, start=1):
            shots.append((f"{photograph.stem}-{number}", shot.caption, make_detail_shot(image, shot)))
        half = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        if photograph is PHOTOGRAPHS[0]:
            shots.append((f"{photograph.stem}-small", photograph.alt, half))  # for the duplicates
        for name, caption, pixels in shots:
            cv2.imwrite(str(folder / f"{name}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
            (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
    return folder


def _made(dataset: Dataset, annotation: str) -> str | None:
    """Makes a column with the annotation's defaults; returns why not, None if it is there."""
    kind = ANNOTATIONS.get(annotation)
    defaults = {field.name: str(field.default) for field in option_fields(kind)}
    named = [defaults[option] for option in kind.uses] if issubclass(kind, ModelAnnotation) else []
    weights = [name for name in named if name.startswith(DOWNLOADED)]
    if weights:
        return f"needs the weights of {' and '.join(weights)}"
    return _tried(dataset, annotation)


def _tried(dataset: Dataset, step: str) -> str | None:
    try:
        dataset.run(step)
    except (UserError, RunError, ModuleNotFoundError) as error:
        return str(error).partition("\n")[0]
    return None


def _samples(dataset: Dataset, names: Collection[str]) -> dict[str, str]:
    """Makes a few samples of each of the recipes that has what it needs; returns what the others lack."""
    from pipelines.stages.materialize import ShardOptions
    from x2i.recipes.plan import missing_tables

    lacks = {name: missing_tables(dataset, stage_of(name, {}, ShardOptions()).made_recipe()) for name in names}
    made = [name for name, lack in lacks.items() if lack is None]
    lacking = {name: lack for name, lack in lacks.items() if lack is not None}
    if not made:
        return lacking
    wanted = " OR ".join(f"images.url LIKE '%/{name}%'" for name in OF_TASKS)
    recipes: dict[str, dict[str, object]] = {name: {} for name in made}
    dataset.run("materialize", max_side=SIDE, max_samples=SAMPLES, select={"shown": wanted}, recipes=recipes)
    return lacking

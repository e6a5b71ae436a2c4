"""`x2i materialize`: turns selected images and what is known about them into training shards, recipe by recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.command_options import with_options
from x2i.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.recipes import Recipe
    from x2i.recipes.plan import PlannedSamples
    from x2i.store import Dataset

SMALLEST_SIDE = 32
MEGABYTE = 1000**2


@dataclass(frozen=True)
class MaterializeStage:
    """Makes the shards of one recipe.

    select: predicates by name (x2i.store.query.views), asked in order after the recipe's own requirements.
    max_samples: at most so many samples, an even choice by hash. max_side: images are made to fit a square of so many
    pixels. quality: of JPEG images, 1 to 100. shard_size, shard_bytes: a shard ends at so many samples or at so many
    expected bytes, whichever comes first; the bytes are estimated from the sizes of the images, since what a shard
    holds is decided before any image is opened.
    """

    recipe: str
    select: Mapping[str, str] = field(default_factory=dict)
    max_samples: int | None = None
    shard_size: int = 1000
    shard_bytes: int = 256 * MEGABYTE
    max_side: int = 1024
    quality: int = 95

    def __post_init__(self) -> None:
        recipe_named(self.recipe)
        for name, least in (("max_samples", 1), ("shard_size", 1), ("shard_bytes", 1), ("max_side", SMALLEST_SIDE)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{self.name}: {name}: expected at least {least}, found {value}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"{self.name}: quality: expected 1 to 100, found {self.quality}")

    @property
    def name(self) -> str:
        return f"materialize-{self.recipe}"

    @property
    def format_version(self) -> int:
        return 1

    def config(self) -> Mapping[str, Any]:
        sharding = {"shard_size": self.shard_size, "shard_bytes": self.shard_bytes, "max_samples": self.max_samples}
        return {"select": [[name, text] for name, text in self.select.items()], **sharding, **self._partition_config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MaterializeStage:
        """Returns the stage that a plan record's config describes, for reports on what it selected."""
        options = {name: config[name] for name in ("max_samples", "shard_size", "shard_bytes", "max_side", "quality")}
        return cls(recipe=config["recipe"], select=dict(config["select"]), **options)

    def inputs(self, dataset: Dataset) -> Mapping[str, str]:
        from x2i.recipes.plan import used_views
        from x2i.store.query.views import Selection, list_views

        views = list_views(dataset)
        used = used_views(views, recipe_named(self.recipe), Selection(self.select))
        return {path: digest for name in used for path, digest in views[name].digests.items()}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        from x2i.store.shards import shard_name

        recipe = recipe_named(self.recipe)
        rows = self._planned(dataset).rows
        digests = {commit.partition: commit.outputs_digest for commit in dataset.image_commits()}
        bounds = shard_bounds(self._expected_bytes(rows, recipe), self.shard_size, self.shard_bytes)
        for number, (start, stop) in enumerate(bounds):
            part = rows.slice(start, stop - start).combine_chunks()
            partitions = sorted({key.split("-")[0] for keys in part["images"].to_pylist() for key in keys})
            yield PlannedPartition(
                id=shard_name(recipe.task, recipe.num_inputs, number),
                rows=part,
                config=self._partition_config(),
                inputs={f"images/{partition}": digests[partition] for partition in partitions},
            )

    def plan_summary(self, dataset: Dataset) -> dict[str, Any]:
        """Returns {"candidates": n, "selected": n, "not_selected": {predicate: n}}: what planning left out, and why."""
        return self._planned(dataset).summary()

    def worker(self, root: Path) -> MaterializeWorker:
        return MaterializeWorker(root, self.recipe, self.max_side, self.quality)

    def _planned(self, dataset: Dataset) -> PlannedSamples:
        from x2i.recipes.plan import plan_samples
        from x2i.store.query.views import Selection

        return plan_samples(dataset, recipe_named(self.recipe), Selection(self.select), self.max_samples)

    def _partition_config(self) -> dict[str, Any]:
        from x2i.recipes.phrasings import pool_digest

        recipe = recipe_named(self.recipe)
        return {
            "recipe": recipe.name,
            "recipe_version": recipe.version,
            "instructions": pool_digest(recipe.task),
            "max_side": self.max_side,
            "quality": self.quality,
        }

    def _expected_bytes(self, rows: pa.Table, recipe: Recipe) -> list[float]:
        """Returns the expected size of each sample's files."""
        expected = []
        for widths, heights in zip(rows["widths"].to_pylist(), rows["heights"].to_pylist()):
            scales = [min(1.0, self.max_side / max(size)) for size in zip(widths, heights)]
            pixels = sum(w * h * scale**2 for w, h, scale in zip(widths, heights, scales))
            expected.append(2048 + pixels * recipe.bytes_per_pixel)
        return expected


class MaterializeWorker:
    """Makes the samples of one shard in plan order and counts those that could not be made by reason."""

    def __init__(self, root: Path, recipe: str, max_side: int, quality: int) -> None:
        from x2i.recipes.render import SampleMaker

        self._root = root
        self._maker = SampleMaker(root, recipe_named(recipe), max_side, quality)

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        from x2i.reasons import Dropped, Status
        from x2i.store import paths
        from x2i.store.commits import Counts
        from x2i.store.shards import training_shard

        lost: dict[Status, Counter[str]] = {Status.FILTERED: Counter(), Status.FAILED: Counter()}
        shard = None
        with ExitStack() as stack:
            for row in rows.to_pylist():
                made = self._maker.make(row)
                if isinstance(made, Dropped):
                    lost[made.status][str(made.reason)] += 1
                    continue
                if shard is None:  # a shard without samples is not written: readers do not expect an empty tar
                    shard = stack.enter_context(training_shard(self._root, partition))
                shard.add(made.sample, made.inputs, made.output)
        counts = Counts(len(shard.rows) if shard else 0, dict(lost[Status.FILTERED]), dict(lost[Status.FAILED]))
        if shard is None:
            return Outcome((), counts)
        tar = paths.shard_tar(self._root, partition)
        return Outcome((tar, paths.shard_index(self._root, partition)), counts, {tar: shard.tar_sha256})


def recipe_named(name: str) -> Recipe:
    """Returns a recipe by its name. Raises UserError naming those that exist."""
    from x2i.recipes import RECIPES

    if name not in RECIPES:
        raise UserError(f"no recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def shard_bounds(sizes: Sequence[float], most_samples: int, most_bytes: float) -> Iterator[tuple[int, int]]:
    """Yields (start, stop) of consecutive shards: at most `most_samples` each, and `most_bytes` unless one has more."""
    start, held = 0, 0.0
    for number, size in enumerate(sizes):
        if number > start and (number - start >= most_samples or held + size > most_bytes):
            yield start, number
            start, held = number, 0.0
        held += size
    if start < len(sizes):
        yield start, len(sizes)


def stages_for(
    dataset: Dataset, recipes: Iterable[str], asked_for: bool, where: Sequence[str], options: Mapping[str, Any]
) -> tuple[list[MaterializeStage], dict[str, str]]:
    """Returns a stage per recipe, and why others are left out (recipe -> what it lacks).

    A recipe that lacks something is a UserError if it was `asked_for` by name, and so is a dataset for which nothing
    can be made. `where`: predicates as typed. options: further fields of MaterializeStage.
    """
    from x2i.recipes.plan import missing_needs
    from x2i.store.query.views import Selection

    select = Selection.parse(where).predicates
    stages, skipped = [], {}
    for name in dict.fromkeys(recipes):
        lack = missing_needs(dataset, recipe_named(name))
        if lack is None:
            stages.append(MaterializeStage(recipe=name, select=select, **options))
        elif asked_for:
            raise UserError(f"{dataset.root}: recipe {name}: {lack}")
        else:
            skipped[name] = lack
    if not stages:
        raise UserError(f"{dataset.root}: no recipe has what it needs: {next(iter(skipped.values()), 'none given')}")
    return stages, skipped


def materialize(
    root: Path, recipes: Iterable[str], asked_for: bool, where: Sequence[str], run: RunOptions, **options: Any
) -> None:
    """The body of both commands: says what is skipped and what was not selected, then runs the stages."""
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    dataset = Dataset.open(root)
    stages, skipped = stages_for(dataset, recipes, asked_for, where, options)
    for name, lack in skipped.items():
        typer.echo(f"materialize-{name}: skipped: {lack}", err=True)
    for stage in stages:
        typer.echo(f"{stage.name}: {describe_summary(stage.plan_summary(dataset))}", err=True)
    run_stages(stages, dataset, run)


def describe_summary(summary: Mapping[str, Any]) -> str:
    """Returns a plan summary as one line: "12 of 20 candidates selected; not selected: has_caption 8"."""
    left_out = ", ".join(f"{name} {count}" for name, count in summary["not_selected"].items())
    line = f"{summary['selected']} of {summary['candidates']} candidates selected"
    return f"{line}; not selected: {left_out}" if left_out else line


Recipes = Annotated[list[str] | None, typer.Option(help="A recipe to run; repeatable. Default: all that can be.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]PREDICATE",
        help="Use only images for which this SQL expression is true; repeatable. The name is for the counts.",
    ),
]
MaxSamples = Annotated[int | None, typer.Option(min=1, help="At most N samples per recipe.")]
MaxSide = Annotated[int, typer.Option(min=SMALLEST_SIDE, help="Longest side of the images in shards, in pixels.")]
Quality = Annotated[int, typer.Option(min=1, max=100, help="JPEG quality; maps and masks are PNG.")]
ShardSize = Annotated[int, typer.Option(min=1, help="Samples per shard at most.")]
ShardMegabytes = Annotated[int, typer.Option(min=1, help="Expected megabytes per shard at most.")]


@with_options
def command(
    dataset: DatasetArgument,
    run: RunOptions,
    recipe: Recipes = None,
    where: Where = None,
    max_samples: MaxSamples = None,
    max_side: MaxSide = 1024,
    quality: Quality = 95,
    shard_size: ShardSize = 1000,
    shard_megabytes: ShardMegabytes = 256,
) -> None:
    """Makes training shards from the images of a dataset and what the earlier stages found out about them.

    Each recipe makes the samples of one task. A recipe that needs a column nobody has made is skipped, unless it is
    asked for by name. Selections are SQL over the columns, for example:

        x2i materialize data --recipe text_to_image --where "quality.min_side >= 256 AND NOT duplicates.is_duplicate"
    """
    from x2i.recipes import RECIPES

    materialize(
        dataset,
        recipe or RECIPES,
        bool(recipe),
        where or (),
        run,
        max_samples=max_samples,
        max_side=max_side,
        quality=quality,
        shard_size=shard_size,
        shard_bytes=shard_megabytes * MEGABYTE,
    )

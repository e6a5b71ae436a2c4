"""Materialize: selected images and what is known about them become training shards, one stage a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engine.stage import Outcome, PlanCounts, PlanItem, PlannedPartition, Stage
from pipelines.stages.shard_options import Place, ShardOptions
from x2i.counting import counted
from x2i.errors import UserError
from x2i.options import check, option_fields
from x2i.recipes import RECIPES, make_recipe
from x2i.relate import RELATIONS
from x2i.settings import apply_overrides, from_mapping, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.recipes.base import Recipe
    from x2i.recipes.plan import PlannedSamples
    from x2i.store import Dataset

MEGABYTE = 1000**2
NOT_SELECTED = "not selected: "
"""Begins the names of the plan's counts of candidates that failed a predicate."""


@dataclass(frozen=True, kw_only=True)
class MaterializeStage(ShardOptions):
    """Makes the shards of one recipe. recipe: a registered name or `module:Class`. options: of the recipe, by name.

    weight, samples: its place in the mixture (x2i.recipes.mixture). others: the other recipes of the run, if the
    samples of all are drawn together.
    """

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    samples: int | None = None
    others: tuple[MaterializeStage, ...] = ()

    format_version = 2

    def __post_init__(self) -> None:
        check(self, self.name)
        self.made_recipe()

    writes = ""
    """The column or relation it writes: none."""

    @property
    def reads(self) -> frozenset[str]:
        """Images, and the columns and relations that it uses where they exist."""
        from x2i.store.query.views import Selection

        own = {table.name for table in self.made_recipe().reads()} | Selection(self.select).tables()
        more = set(RELATIONS.names()) if self.part != "all" else set()
        return frozenset({"images"} | own | more).union(*(other.reads for other in self.others))

    def made_recipe(self) -> Recipe:
        """Returns the recipe with its options."""
        return make_recipe(self.recipe, self.options)

    @property
    def name(self) -> str:
        suffix = "-validation" if self.part == "validation" else ""
        return f"materialize-{RECIPES.get(self.recipe).name}{suffix}"

    def config(self) -> Mapping[str, Any]:
        sharding = {name: getattr(self, name) for name in ("shard_size", "shard_megabytes", "max_samples")}
        drawn: dict[str, Any] = {"part": [self.part, self.validation]} if self.part != "all" else {}
        if self.is_mixed:
            drawn["mixture"] = [self.mixture_config(), *(stage.own_config() for stage in self.together())]
        select = [[name, text] for name, text in self.select.items()]
        return {"select": select, **sharding, **drawn, **self._partition_config()}

    def own_config(self) -> dict[str, Any]:
        """Returns what decides which samples it could make, and how many of them it should."""
        own = replace(
            self, others=(), short="fill", total=None, per_image=None, per_host=None, weight=1.0, samples=None
        )
        return {"recipe": dict(own.config()), "weight": self.weight, "samples": self.samples}

    @property
    def side(self) -> int:
        """The longest side of the images in its shards, in pixels."""
        return self.max_sides.get(self.made_recipe().num_inputs, self.max_side)

    @property
    def is_mixed(self) -> bool:
        """Whether how many samples it makes depends on the mixture."""
        return bool(self.mixture_config()) or self.samples is not None

    def together(self) -> list[MaterializeStage]:
        """Returns the recipes of the mixture, itself included, by name."""
        return sorted((self, *self.others), key=lambda stage: stage.recipe)

    def inputs(self, dataset: Dataset) -> Mapping[str, str]:
        from x2i.recipes.plan import used_views
        from x2i.store.query.views import Selection, list_views

        views = list_views(dataset)
        used = set(used_views(views, self.made_recipe(), Selection(self.select))) | (self.reads & set(views))
        return {path: digest for name in sorted(used) for path, digest in views[name].digests.items()}

    def own_plan(self, dataset: Dataset) -> PlannedSamples:
        """Returns the samples it could make, whatever the mixture wants of it."""
        from x2i.recipes.plan import plan_samples
        from x2i.store.query.views import Selection

        return plan_samples(
            dataset, self.made_recipe(), Selection(self.select), self.max_samples, self.part, self.validation
        )

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        """Yields the shards in order, then how many candidates there were and how many failed which predicate."""
        from pipelines.stages.mixture import drawn
        from x2i.recipes.shard_sizes import expected_bytes, shard_bounds
        from x2i.store.shards import shard_name

        recipe = self.made_recipe()
        planned = self.own_plan(dataset)
        if self.is_mixed:
            planned = drawn(dataset, self, planned)
        digests, config = _input_digests(dataset, recipe), self._partition_config()
        sizes = expected_bytes(planned.rows, self.side, recipe.bytes_per_pixel)
        for number, (start, stop) in enumerate(shard_bounds(sizes, self.shard_size, self.shard_megabytes * MEGABYTE)):
            part = planned.rows.slice(start, stop - start).combine_chunks()
            yield PlannedPartition(
                id=shard_name(recipe.name, recipe.num_inputs, number, validation=self.part == "validation"),
                rows=part,
                config=config,
                inputs=_inputs_of(part, digests),
            )
        left_out = {f"{NOT_SELECTED}{name}": count for name, count in planned.not_selected.items()}
        yield PlanCounts({"candidates": planned.candidates, **left_out})

    def worker(self, root: Path) -> MaterializeWorker:
        return MaterializeWorker(root, self.made_recipe(), self.side, self.quality)

    def _partition_config(self) -> dict[str, Any]:
        from x2i.recipes.phrasings import read_pool

        recipe = self.made_recipe()
        return {
            "recipe": self.recipe,
            "recipe_version": recipe.version,
            "options": recipe.config(),
            "phrasings": read_pool(type(recipe)).digest,
            "max_side": self.side,
            "quality": self.quality,
        }


class MaterializeWorker:
    """Makes the samples of one shard in plan order and counts those that could not be made by reason."""

    def __init__(self, root: Path, recipe: Recipe, max_side: int, quality: int) -> None:
        from x2i.recipes.render import SampleRenderer

        self._root = root
        self._renderer = SampleRenderer(root, recipe, max_side, quality)

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        from x2i.reasons import Dropped, Status
        from x2i.store import paths
        from x2i.store.commits import Counts
        from x2i.store.shards import training_shard

        lost: dict[Status, Counter[str]] = {Status.FILTERED: Counter(), Status.FAILED: Counter()}
        shard = None
        with ExitStack() as stack:
            for made in self._renderer.render(rows.to_pylist()):
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


def recipe_stages(
    dataset: Dataset, recipes: Mapping[str, Mapping[str, Any]], shards: ShardOptions, *, asked_for: bool = True
) -> tuple[list[MaterializeStage], dict[str, str]]:
    """Returns a stage per recipe (name -> its options), and why others are left out (name -> what they lack).

    A recipe that lacks something is a UserError if it was `asked_for` by name, and so is a dataset for which nothing
    can be made.
    """
    from x2i.recipes.plan import missing_tables

    stages, skipped = [], {}
    for name, options in recipes.items():
        stage = stage_of(name, options, shards)
        lack = missing_tables(dataset, stage.made_recipe())
        if lack is None:
            stages.append(stage)
        elif asked_for:
            raise UserError(f"{dataset.root}: recipe {name}: {lack}")
        else:
            skipped[name] = lack
    if not stages:
        raise UserError(f"{dataset.root}: no recipe has what it needs: {next(iter(skipped.values()), 'none given')}")
    return mixed(stages), skipped


def stage_of(name: str, settings: Mapping[str, Any], shards: ShardOptions) -> MaterializeStage:
    """Returns the stage of a recipe as a manifest says it.

    settings: options of the recipe; beside them select (predicates after those of `shards`), max_samples, and its
    place in the mixture: weight or samples.
    """
    own = dict(settings)
    select = {**shards.select, **own.pop("select", {})}
    shared = {**vars(shards), "select": select, "max_samples": own.pop("max_samples", shards.max_samples)}
    place = from_mapping(Place, {key: own.pop(key) for key in ("weight", "samples") if key in own}, name)
    known = [option.name for option in option_fields(RECIPES.get(name))] if own else []
    for key in own:
        if key not in known:
            raise UserError(
                f"{key}: unknown key: {nearest(key, [*known, 'select', 'max_samples', 'weight', 'samples'])}"
            )
    return MaterializeStage(recipe=name, options=own, **shared, **vars(place))


def mixed(stages: Sequence[MaterializeStage]) -> list[MaterializeStage]:
    """Returns the stages of one run, each of which knows the others if the samples of all are drawn together."""
    if not any(stage.is_mixed or stage.weight != 1 for stage in stages):
        return list(stages)
    if all(stage.total is None and stage.short == "fill" for stage in stages) and any(s.weight != 1 for s in stages):
        raise UserError("materialize: weights share a total: give one (total), or `short: scale` for the largest")
    return [
        replace(stage, others=tuple(replace(other, others=()) for other in stages if other is not stage))
        for stage in stages
    ]


def manifest_stages(options: Mapping[str, Any], where: str) -> list[Stage]:
    """Returns the stages of a manifest's step. where: file and key path, for messages.

    options: recipes (name -> its options; select, max_samples, weight and samples may stand beside them), and
    ShardOptions.
    """
    recipes = options.get("recipes")
    if not isinstance(recipes, Mapping) or not recipes:
        raise UserError(f"{where}.recipes: expected recipes with their options, such as `deblur: {{}}`")
    shards = from_mapping(ShardOptions, {name: value for name, value in options.items() if name != "recipes"}, where)
    stages: list[MaterializeStage] = []
    for name, settings in recipes.items():
        if not isinstance(settings or {}, Mapping):
            raise UserError(f"{where}.recipes.{name}: expected options, as {{max_samples: 9}}, found {settings!r}")
        try:
            stages.append(stage_of(name, settings or {}, shards))
        except UserError as error:
            raise UserError(f"{where}.recipes.{name}: {error}") from error
    return list[Stage](mixed(stages))


def recipe_options(recipes: Sequence[str], texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the options of each recipe from texts "key=value" (of the only recipe) or "recipe.key=value".

    The values are read as YAML. Raises UserError for a text that belongs to none of the recipes.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in recipes}
    own_names = {RECIPES.get(name).name: name for name in recipes}
    for text in texts:
        path = text.partition("=")[0].strip()
        owner, dot, _ = path.partition(".")
        if dot and owner in own_names:
            found[own_names[owner]] |= apply_overrides({}, [text])[owner]
        elif len(found) == 1 and not dot:
            found[recipes[0]] |= apply_overrides({}, [text])
        else:
            raise UserError(f"--set {text}: expected recipe.option=value, the recipe one of {', '.join(own_names)}")
    return found


def computer_vision_recipes() -> list[str]:
    """Returns the registered recipes of computer-vision tasks."""
    return [name for name in RECIPES if RECIPES.get(name).computer_vision]


def describe_counts(counts: Mapping[str, int]) -> str:
    """Returns a plan's counts as one line: "12 of 20 candidates selected; not selected: has_caption 8"."""
    lost = {name.removeprefix(NOT_SELECTED): n for name, n in counts.items() if name.startswith(NOT_SELECTED)}
    line = f"{counts['candidates'] - sum(lost.values())} of {counted(counts['candidates'], 'candidates')} selected"
    return f"{line}; not selected: {', '.join(f'{name} {count}' for name, count in lost.items())}" if lost else line


def _input_digests(dataset: Dataset, recipe: Recipe) -> dict[str, dict[str, str]]:
    """Returns what a worker reads of each image partition: partition -> name -> digest."""
    from x2i.store.query.views import list_views

    commits = dataset.image_commits()
    digests = {commit.partition: {f"images/{commit.partition}": commit.outputs_digest} for commit in commits}
    columns = [table.name for table in recipe.reads() if table.images]
    views = list_views(dataset) if columns else {}
    for name in columns:
        for path, digest in views[name].digests.items() if name in views else ():
            partition = Path(path).stem
            digests.setdefault(partition, {})[f"columns/{name}/{partition}"] = digest
    return digests


def _inputs_of(part: pa.Table, digests: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    import pyarrow.compute as pc

    from x2i.store.paths import image_partition

    keys: Iterable[str] = pc.unique(pc.list_flatten(part["images"])).to_pylist()
    partitions = sorted({image_partition(key) for key in keys})
    return {name: digest for partition in partitions for name, digest in digests[partition].items()}

"""What a build of a given size costs, computed from measured rates: cores, hours, network, storage. Only arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from x2i.errors import UserError
from x2i.recipes import RECIPES, family_of

RATES_FILE = Path(__file__).with_name("rates.yaml")
HEIGHT_TO_WIDTH = 3 / 4
PAIRED = "subjects"
"""The family whose number of samples depends on how many images show one subject, which no benchmark can know."""
MATERIALIZE = "materialize-"
ANNOTATE = "annotate-"
"""Stages of annotations that a build makes only where it asks for them."""


@dataclass(frozen=True)
class Rate:
    """One stage. seconds: of one core, for each item, fixed and by megapixel of the fetched and of the stored image.

    bytes_out: of each item, fixed and by stored megapixel. bytes_in: fetched for each source megapixel, crawl only.
    samples_per_image: of a recipe; None where it depends on the images.
    memory_per_image: bytes that a stage holds for every stored image if it compares all images in one process, which
    more cores do not help; None for the others.
    """

    stage: str
    seconds: tuple[float, float, float]
    bytes_out: tuple[float, float]
    bytes_in: float = 0.0
    samples_per_image: float | None = None
    memory_per_image: float | None = None


@dataclass(frozen=True)
class Rates:
    """The rates of every stage, and on which machine and with which command they were measured."""

    machine: str
    command: str
    measured: str
    stages: Mapping[str, Rate]

    def of_recipe(self, name: str) -> Rate:
        """Returns the rate of a recipe: as measured, else the mean of its family's, else the mean of all recipes."""
        stage = f"{MATERIALIZE}{name}"
        if stage in self.stages:
            return self.stages[stage]
        of_recipes = [(key, rate) for key, rate in self.stages.items() if key.startswith(MATERIALIZE)]
        measured = {key.removeprefix(MATERIALIZE): rate for key, rate in of_recipes}
        family = family_of(name)
        relatives = [rate for task, rate in measured.items() if task in RECIPES and family_of(task) == family]
        return _mean(stage, relatives or list(measured.values()))


@dataclass(frozen=True)
class Build:
    """What is to be built. images: addresses to fetch. kept: share of them that becomes stored images.

    megapixels: of an image as fetched, on average. stored_side: longest side of a stored image, in pixels.
    cores: of all machines together. mbps: of the line, in megabits a second. tasks: whose samples are made.
    pairs_per_image: pairs of one subject for each stored image. max_samples: of every task, None means all.
    file_bytes: of an image as fetched, on average; None takes what the benchmark's photographs had by megapixel.
    annotations: those made beside the ones that every build has, such as "faces".
    """

    images: int
    megapixels: float = 1.0
    kept: float = 0.6
    stored_side: int = 1024
    cores: int = 64
    mbps: float = 1000.0
    tasks: tuple[str, ...] = ()
    pairs_per_image: float = 0.02
    max_samples: int | None = None
    file_bytes: float | None = None
    annotations: tuple[str, ...] = ()

    @property
    def kept_images(self) -> float:
        return self.images * self.kept

    @property
    def stored_megapixels(self) -> float:
        return min(self.megapixels, self.stored_side**2 * HEIGHT_TO_WIDTH / 1e6)


@dataclass(frozen=True)
class StageCost:
    """core_seconds: work. seconds: time that passes. bound: what sets it: "cores", "network" or "one process".

    network, storage: bytes. memory: bytes that one process must hold, 0 where it is small.
    """

    stage: str
    items: float
    core_seconds: float
    seconds: float
    bound: str
    network: float
    storage: float
    memory: float = 0.0


def load_rates(path: Path = RATES_FILE) -> Rates:
    """Reads a file that benchmarks/stages.py --update wrote. Raises UserError if it is none."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        stages = {name: _rate(name, entry) for name, entry in document["stages"].items()}
        return Rates(document["machine"], document["command"], str(document["measured"]), stages)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: not a file of rates ({error!r}): make one with `python benchmarks/stages.py --update {path}`"
        ) from error


def estimate(build: Build, rates: Rates) -> list[StageCost]:
    """Returns the cost of every stage, in the order in which they run, then of the recipes: those asked for, or all.

    Raises UserError for a task that is no recipe's, and for an annotation without a rate.
    """
    asked = [f"{ANNOTATE}{name}" for name in build.annotations]
    measured = [name.removeprefix(ANNOTATE) for name in rates.stages if name.startswith(ANNOTATE)]
    if unknown := sorted(set(build.annotations) - set(measured)):
        raise UserError(f"annotation {unknown[0]!r}: no rate was measured; there are: {', '.join(measured) or 'none'}")
    always = [name for name in rates.stages if not name.startswith((MATERIALIZE, ANNOTATE))]
    costs = [_cost(build, rates.stages[name], 1.0) for name in [*always, *asked]]
    for task in build.tasks or RECIPES:
        rate = rates.of_recipe(task)
        per_image = rate.samples_per_image if rate.samples_per_image is not None else 1.0
        if family_of(task) == PAIRED:
            per_image = build.pairs_per_image
        costs.append(_cost(build, rate, per_image, build.max_samples))
    return costs


def total(costs: Sequence[StageCost]) -> StageCost:
    """Returns the sum of `costs`, one stage after the other; memory is that of the largest."""
    return StageCost(
        "all",
        0.0,
        sum(cost.core_seconds for cost in costs),
        sum(cost.seconds for cost in costs),
        "",
        sum(cost.network for cost in costs),
        sum(cost.storage for cost in costs),
        max((cost.memory for cost in costs), default=0.0),
    )


def _cost(build: Build, rate: Rate, per_image: float, most: int | None = None) -> StageCost:
    name = rate.stage
    items = build.kept_images * per_image
    items = items if most is None else min(items, most)
    fetched = build.file_bytes if build.file_bytes is not None else rate.bytes_in * build.megapixels
    network = items * fetched if rate.bytes_in else 0.0
    # An address that gives no image costs a request, but nothing is decoded.
    fixed = (build.images if name == "crawl" else items) * rate.seconds[0]
    pixels = rate.seconds[1] * build.megapixels + rate.seconds[2] * build.stored_megapixels
    core_seconds = fixed + items * pixels
    lone = rate.memory_per_image is not None
    times = {
        "one process" if lone else "cores": core_seconds / (1 if lone else build.cores),
        "network": network * 8 / (build.mbps * 1e6),
    }
    bound = max(times, key=lambda key: times[key])
    storage = items * (rate.bytes_out[0] + rate.bytes_out[1] * build.stored_megapixels)
    memory = build.kept_images * (rate.memory_per_image or 0.0)
    return StageCost(name, items, core_seconds, times[bound], bound, network, storage, memory)


def _mean(stage: str, rates: Sequence[Rate]) -> Rate:
    """Returns the mean of measured rates. Raises UserError if there are none."""
    if not rates:
        raise UserError(f"{stage}: no recipe was measured: make rates with `python benchmarks/stages.py --update FILE`")

    fixed, source, stored = (fmean(parts) for parts in zip(*(rate.seconds for rate in rates)))
    out_fixed, out_stored = (fmean(parts) for parts in zip(*(rate.bytes_out for rate in rates)))
    samples = [rate.samples_per_image for rate in rates if rate.samples_per_image is not None]
    per_image = fmean(samples) if samples else None
    return Rate(stage, (fixed, source, stored), (out_fixed, out_stored), samples_per_image=per_image)


def _rate(name: str, entry: Mapping[str, Any]) -> Rate:
    seconds, out = entry["seconds"], entry["bytes_out"]
    return Rate(
        name,
        (float(seconds["fixed"]), float(seconds["source_megapixel"]), float(seconds["stored_megapixel"])),
        (float(out["fixed"]), float(out["stored_megapixel"])),
        float(entry.get("bytes_in_per_source_megapixel", 0)),
        float(entry["samples_per_image"]) if "samples_per_image" in entry else None,
        float(entry["memory_per_image"]) if "memory_per_image" in entry else None,
    )

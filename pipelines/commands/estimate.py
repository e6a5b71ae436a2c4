"""`x2i plan`: what a build of a given size costs in cores, hours, network and storage, from measured rates."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from x2i.errors import UserError
from x2i.estimate import RATES_FILE, Build, Rates, StageCost, estimate, load_rates, total

if TYPE_CHECKING:
    from rich.table import Table

UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}


def command(
    images: Annotated[str, typer.Option(metavar="N", help="Addresses to fetch: 250000, 10M, 2.5B.")],
    megapixels: Annotated[float, typer.Option(min=0.01, help="Of an image as it is fetched, on average.")] = 1.0,
    file_kilobytes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Of a fetched file, on average. Default: as the benchmark's photographs."),
    ] = None,
    kept: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the addresses that becomes stored images.")
    ] = 0.6,
    stored_side: Annotated[int, typer.Option(min=16, help="Longest side of a stored image, in pixels.")] = 1024,
    cores: Annotated[int, typer.Option(min=1, help="Cores of all machines together.")] = 64,
    mbps: Annotated[float, typer.Option(min=0.001, help="Of the line to the internet, in megabits a second.")] = 1000.0,
    task: Annotated[
        list[str] | None, typer.Option(help="Make samples of this task; repeatable. Default: of every one.")
    ] = None,
    annotation: Annotated[
        list[str] | None, typer.Option(help="Make this annotation too, such as faces, text, nsfw; repeatable.")
    ] = None,
    pairs_per_image: Annotated[
        float, typer.Option(min=0.0, help="Pairs of one subject that a stored image gives: your data decides.")
    ] = 0.02,
    max_samples: Annotated[
        str | None, typer.Option(metavar="N", help="At most so many samples of every task: 500000, 5M. Default: all.")
    ] = None,
    rates: Annotated[
        Path,
        typer.Option(help="Measured rates, as benchmarks/stages.py --update writes them.", show_default=False),
    ] = RATES_FILE,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON on stdout.")] = False,
) -> None:
    """Say what a build costs before it is begun: core hours, hours, network, storage, stage by stage.

    Nothing is run or fetched: it is arithmetic on rates that a benchmark measured on one core. Measure your own machine
    with `python benchmarks/stages.py --update rates.yaml`, then give --rates rates.yaml.

        x2i plan --images 100M

        x2i plan --images 10M --megapixels 2 --stored-side 512 --cores 16 --mbps 500 --task text_to_image --task inpaint

        x2i plan --images 100M --max-samples 5M --json
    """
    most = count(max_samples, "--max-samples") if max_samples is not None else None
    tasks, made = tuple(task or ()), tuple(annotation or ())
    size = file_kilobytes * 1000 if file_kilobytes is not None else None
    build = Build(count(images), megapixels, kept, stored_side, cores, mbps, tasks, pairs_per_image, most, size, made)
    measured = load_rates(rates)
    costs = estimate(build, measured)
    if json:
        document = {
            "build": {**asdict(build), "kept_images": build.kept_images, "stored_megapixels": build.stored_megapixels},
            "rates": {"machine": measured.machine, "command": measured.command, "measured": measured.measured},
            "stages": [asdict(cost) for cost in costs],
            "total": asdict(total(costs)),
            "assumptions": list(assumptions(build, costs)),
        }
        typer.echo(json_module.dumps(document, indent=2))
        return
    from pipelines.console import open_console

    console = open_console()
    console.print(_table(build, costs))
    for line in (*assumptions(build, costs), _origin(measured)):
        console.print(f"- {line}", markup=False)


def count(text: str, option: str = "--images") -> int:
    """Returns a number written as 250000, 250_000, 250,000, 10M or 2.5B. Raises UserError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kmbg]?)", text.strip().replace(",", "").replace("_", "").lower())
    number = round(float(found[1]) * UNITS[found[2]]) if found else 0
    if number < 1:
        raise UserError(f"{option} {text}: expected a number such as 250000, 10M or 2.5B")
    return number


def assumptions(build: Build, costs: Sequence[StageCost]) -> Iterator[str]:
    """Yields what the numbers take for granted, a sentence each."""
    lost = 1 - build.kept
    yield (
        f"{build.kept:.0%} of the addresses become images; the other {lost:.0%} (dead, opted out, too small) cost a "
        f"request each, and no transfer"
    )
    yield f"a stored image has {build.stored_megapixels:.2f} megapixels: sides as 4 to 3, at most {build.stored_side}"
    yield "one stage runs after the other, on all cores; a stage's cost grows in step with the number of its items"
    yield "servers answer as fast as they are asked; politeness (--delay, --per-host) can only be seen in a real crawl"
    yield "models without weights: captions from alt texts, classic detector, segmenter, embedder and matcher"
    if any(cost.stage == "materialize-subject_pair" for cost in costs):
        yield f"{build.pairs_per_image:g} subject pairs for each stored image; what your images give may differ widely"
    for cost in costs:
        if cost.bound == "one process" and cost.seconds > 24 * 3600:
            yield f"{cost.stage} compares all images in one process: split the dataset, and run it part by part"
        if cost.memory > 64e9:
            yield f"{cost.stage} would hold {_size(cost.memory)} in memory: split the dataset, and run it part by part"


def _table(build: Build, costs: Sequence[StageCost]) -> Table:
    from rich import box
    from rich.table import Table as RichTable

    title = f"{build.images:,} addresses, {build.kept_images:,.0f} images, {build.cores} cores, {build.mbps:g} Mbit/s"
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", header_style="bold")
    for name in ("stage", "items", "core hours", "hours", "set by", "network", "storage"):
        table.add_column(name, justify="left" if name in ("stage", "set by") else "right", no_wrap=True)
    for cost in costs:
        table.add_row(cost.stage.replace("materialize-", "  ").replace("annotate-", "annotate "), *_cells(cost))
    table.add_section()
    table.add_row("all", *_cells(total(costs)), style="bold")
    return table


def _cells(cost: StageCost) -> tuple[str, ...]:
    return (
        _short(cost.items) if cost.items else "",
        _hours(cost.core_seconds),
        _hours(cost.seconds),
        cost.bound,
        _size(cost.network) if cost.network else "",
        _size(cost.storage) if cost.storage else "",
    )


def _short(number: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.1f}" if hours >= 0.1 else f"{hours:.3f}"


def _size(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"


def _origin(rates: Rates) -> str:
    return f"rates measured {rates.measured} by `{rates.command}` on: {rates.machine}"

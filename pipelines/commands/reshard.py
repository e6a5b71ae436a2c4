"""`x2i reshard`: training shards cut anew, in another size or in a shuffled order, every member byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import OutOption, RunOptions, StorePath
from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.store.files.remote import dataset_path

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.store import Dataset

NAME = "reshard"
MEGABYTE = 1000**2


@dataclass(frozen=True)
class ReshardStage:
    """Shards of other datasets -> shards of this one. sources: folders or tars, as typed.

    Where the sources lie decides nothing: their samples do, so a moved source is no change.
    """

    sources: tuple[str, ...]
    shard_size: int = 1000
    max_bytes: int = 256 * MEGABYTE
    shuffle_seed: int | None = None
    tasks: tuple[str, ...] = ()

    name = NAME
    reads = ()
    writes = ""
    format_version = 1

    def config(self) -> dict[str, Any]:
        return {
            "shard_size": self.shard_size,
            "max_bytes": self.max_bytes,
            "shuffle_seed": self.shuffle_seed,
            "tasks": sorted(self.tasks),
        }

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        from x2i.store.reshard import source_digests

        return {
            f"{number}/{name}": digest
            for number, source in enumerate(self._folders())
            for name, digest in source_digests(source).items()
        }

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        from x2i.store.reshard import Cut, plan_shards

        digests = self.inputs(dataset)
        cut = Cut(self.shard_size, self.max_bytes)
        for name, rows in plan_shards(self._folders(), cut, self.shuffle_seed, self.tasks):
            used = {f"{source}/{shard}" for source, shard in _places(rows)}
            yield PlannedPartition(name, rows, {}, {place: digests[place] for place in sorted(used)})

    def worker(self, root: Path) -> ReshardWorker:
        return ReshardWorker(root, self._folders())

    def _folders(self) -> list[Path]:
        return [dataset_path(source) for source in self.sources]


class ReshardWorker:
    """Copies the planned samples of one shard."""

    def __init__(self, root: Path, sources: list[Path]) -> None:
        from x2i.store.reshard import source_shards

        self._root = root
        self._tars: Mapping[tuple[int, str], Path] = {
            (number, shard.name): shard.tar for number, source in enumerate(sources) for shard in source_shards(source)
        }

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        from x2i.store import paths
        from x2i.store.commits import Counts
        from x2i.store.reshard import copy_samples

        copy_samples(self._root, partition, self._tars, rows)
        written = (paths.shard_tar(self._root, partition), paths.shard_index(self._root, partition))
        return Outcome(written, Counts(rows.num_rows))


def _places(rows: pa.Table) -> set[tuple[int, str]]:
    return set(zip(rows["source"].to_pylist(), rows["shard"].to_pylist()))


def refuse_own_shards(dataset: Dataset, sources: list[Path], name: str) -> None:
    """Raises UserError if the result would lie among shards that other stages made, or among its own sources."""
    from x2i.store.commits import list_stages

    others = [stage for stage in list_stages(dataset.root) if stage != name]
    if others or any(dataset.root.resolve() == source.resolve() for source in sources):
        made = f" made by {', '.join(others)}" if others else ""
        raise UserError(f"{dataset.root}: holds data{made}: give --out a folder of its own")


@with_options
def command(
    sources: Annotated[
        list[StorePath],
        typer.Argument(
            parser=dataset_path, metavar="SOURCE...", help="Datasets, folders of shards, or single shards (.tar)."
        ),
    ],
    run: RunOptions,
    out: OutOption,
    shard_size: Annotated[int, typer.Option(min=1, help="Samples per shard at most.")] = 1000,
    max_bytes: Annotated[int, typer.Option(min=1, help="Bytes per tar at most; a larger sample stands alone.")] = 256
    * MEGABYTE,
    shuffle_seed: Annotated[
        int | None, typer.Option(help="Shuffle by this seed: over all shards of a task. Default: keep the order.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only samples of this task; repeatable.")] = None,
) -> None:
    """Rewrite training shards with other sizes, or in a shuffled order. The sources are only read.

    Every member is copied byte for byte. A shard still holds one task and one number of inputs, and one set of image
    formats, and its index says where each sample comes from. The result is a dataset that `x2i verify` checks and the
    trainer reads. A shuffle puts samples by the hash of (seed, key), so it does not depend on how they were cut before.

        x2i reshard data --out small --shard-size 250

        x2i reshard data --out shuffled --shuffle-seed 7 --max-bytes 1000000000

        x2i reshard a/shards/deblur-1in-00000.tar b --task deblur --out deblur
    """
    from pipelines.engine.run import dataset_for_ingest, run_stages
    from x2i.store.reshard import source_shards

    for source in sources:
        source_shards(source)  # a mistyped source is told before anything is made
    stage = ReshardStage(
        tuple(str(source.absolute()) for source in sources),
        shard_size,
        max_bytes,
        shuffle_seed,
        tuple(task or ()),
    )
    dataset = dataset_for_ingest(out, run)
    refuse_own_shards(dataset, sources, NAME)
    run_stages([stage], dataset, run)

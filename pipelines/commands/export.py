"""`x2i export`: writes training shards in the formats of others: OmniGen's JSONL, a Hugging Face folder."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pipelines.engine.options import DatasetArgument, StorePath
from x2i.command_options import with_options
from x2i.counting import counted
from x2i.exporters import EXPORTERS
from x2i.exporters.base import Exporter
from x2i.exporters.hugging_face import HuggingFace
from x2i.options import Option, defaults
from x2i.store.files.remote import dataset_path

SHORT_NAMES = {"hf": "hugging-face"}


@dataclass(frozen=True)
class ShardOptions:
    """Which samples to export."""

    task: Annotated[tuple[str, ...], Option("Only samples of this task; repeatable.")] = ()
    limit: Annotated[int | None, Option("Only the first N samples of every task.", ge=1)] = None


@with_options
def command(
    dataset: DatasetArgument,
    to: Annotated[
        StorePath,
        typer.Option(parser=dataset_path, metavar="FOLDER", help="The folder to write, empty or an earlier export."),
    ],
    format: Annotated[
        str, typer.Option(help=f"{', '.join(EXPORTERS)} (in short hf), or your own: mypackage.module:Class.")
    ],
    which: ShardOptions,
    published: HuggingFace,
    set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the format; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be written, write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary on stdout.")] = False,
) -> None:
    """Write training shards in a format that other projects read. The bytes of the pictures are not changed.

    Killed, the same command goes on with the shards that are not done; finished, it writes only what has changed. Its
    records are in FOLDER/.x2i-export.

        x2i export data --to jsonl --format omnigen-jsonl --task deblur

        x2i export data --to card --format hf --contact mail@example.org --url https://example.org/data

    The JSONL comes back with `x2i import x2i-jsonl`. The Hugging Face folder opens with datasets.load_dataset("card").
    """
    from pipelines.console import open_console
    from pipelines.engine.console import StageProgress
    from x2i.exporters.folder import ExportFolder
    from x2i.exporters.selection import SelectedShard, select_shards
    from x2i.store.commits import Counts

    name = SHORT_NAMES.get(format, format)
    exporter = _exporter(name, published, set or [])
    shards = select_shards(dataset, which.task, which.limit)
    folder = ExportFolder(to, name)
    console = open_console(stderr=True)
    todo = [shard for shard in shards if folder.done(shard) is None]
    samples = sum(shard.samples for shard in shards)
    held = f"{counted(samples, 'samples')} in {counted(len(shards), 'shards')}"
    summary: dict[str, Any] = {
        "format": name,
        "folder": str(to),
        "shards": len(shards),
        "samples": samples,
        "done_before": len(shards) - len(todo),
    }
    if dry_run:
        console.print(f"{held}, {len(todo):,} to do. Nothing was written.")
    else:
        with StageProgress(console, "export", sum(shard.samples for shard in todo)) as progress:

            def on_shard(shard: SelectedShard) -> None:
                progress.advance(shard.samples, Counts(shard.samples), None)

            summary["files"] = [path.name for path in exporter.write(dataset, folder, shards, on_shard)]
        if isinstance(exporter, HuggingFace) and not exporter.contact:
            console.print("[yellow]no --contact: the card says that one is missing; add it before you publish[/]")
        console.print(f"[bold]export[/]: {held}, in {to}", soft_wrap=True)
    if json:
        typer.echo(json_module.dumps(summary, indent=2))


def _exporter(name: str, typed: HuggingFace, texts: list[str]) -> Exporter:
    """Returns the exporter with its options: those typed as flags, where it has them, and those of `--set`."""
    from x2i.settings import apply_overrides, from_mapping

    flags = {option: value for option, value in vars(typed).items() if value != defaults(HuggingFace)[option]}
    return from_mapping(EXPORTERS.get(name), apply_overrides(dict(flags), texts), f"exporter {name}")

"""`x2i export`: training shards in the formats of others: OmniGen's JSONL, a Hugging Face folder."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import DatasetArgument, StorePath
from x2i.errors import UserError
from x2i.store.files.remote import dataset_path

if TYPE_CHECKING:
    from rich.console import Console

    from x2i.exporters.progress import ExportFolder
    from x2i.exporters.selection import Picked


class Format(StrEnum):
    OMNIGEN_JSONL = "omnigen-jsonl"
    HUGGING_FACE = "hf"


@dataclass(frozen=True)
class Published:
    """What the card says of whoever publishes."""

    name: str | None
    url: str
    creator: str
    contact: str
    date: str
    version: str


def command(
    dataset: DatasetArgument,
    to: Annotated[
        StorePath,
        typer.Option(parser=dataset_path, metavar="FOLDER", help="The folder to write, empty or an earlier export."),
    ],
    format: Annotated[
        Format,
        typer.Option(
            help="omnigen-jsonl: x2i.jsonl with one line per sample, pictures in images/. "
            "hf: the shards with a dataset card (README.md) and Croissant metadata (croissant.json)."
        ),
    ],
    task: Annotated[list[str] | None, typer.Option(help="Only samples of this task; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples of every task.")] = None,
    name: Annotated[str | None, typer.Option(help="hf: the dataset's name. Default: as the dataset is called.")] = None,
    contact: Annotated[
        str, typer.Option(help="hf: where takedown requests go: an address or a page. Do not publish without one.")
    ] = "",
    url: Annotated[str, typer.Option(help="hf: the page where it will be published, for the Croissant metadata.")] = "",
    creator: Annotated[str, typer.Option(help="hf: who made it, for the Croissant metadata.")] = "unknown",
    date: Annotated[str | None, typer.Option(help="hf: date of publication, as 2026-01-31. Default: today.")] = None,
    version: Annotated[str, typer.Option(help="hf: version of the data, for the Croissant metadata.")] = "1.0.0",
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
    from rich.console import Console

    from x2i.exporters.progress import ExportFolder
    from x2i.exporters.selection import pick

    published = Published(name, url, creator, contact, _date(date), version)
    picked = pick(dataset, tuple(task or ()), limit)
    folder = ExportFolder(to, str(format))
    console = Console(stderr=True, highlight=False)
    summary: dict[str, Any] = {
        "format": str(format),
        "folder": str(to),
        "shards": len(picked),
        "samples": sum(entry.samples for entry in picked),
        "done_before": sum(folder.done(entry) is not None for entry in picked),
    }
    if dry_run:
        left = summary["shards"] - summary["done_before"]
        console.print(f"{summary['samples']:,} samples in {len(picked):,} shards, {left:,} to do. Nothing was written.")
    else:
        folder.claim()
        _refuse_stale(folder, picked)
        _export_shards(folder, picked, console, format)
        summary["files"] = [path.name for path in _close(folder, picked, dataset, format, published, console)]
        console.print(
            f"[bold]export[/]: {summary['samples']:,} samples of {len(picked):,} shards in {to}", soft_wrap=True
        )
    if json:
        typer.echo(json_module.dumps(summary, indent=2))


def _export_shards(folder: ExportFolder, picked: list[Picked], console: Console, format: Format) -> None:
    from pipelines.engine.console import StageProgress
    from x2i.exporters import hugging_face, omnigen_jsonl
    from x2i.store.commits import Counts

    export = omnigen_jsonl.export_shard if format is Format.OMNIGEN_JSONL else hugging_face.export_shard
    todo = [entry for entry in picked if folder.done(entry) is None]
    with StageProgress(console, "export", sum(entry.samples for entry in todo)) as progress:
        for entry in todo:
            export(folder, entry)
            progress.advance(entry.samples, Counts(entry.samples), None)


def _close(
    folder: ExportFolder,
    picked: list[Picked],
    dataset: Path,
    format: Format,
    published: Published,
    console: Console,
) -> list[Path]:
    """Writes the documents that speak of all shards."""
    from x2i.exporters.omnigen_jsonl import join_lines

    if format is Format.OMNIGEN_JSONL:
        return [join_lines(folder, picked)]
    from x2i.exporters.card import card, describe
    from x2i.exporters.card_data import Publication, construction, counted
    from x2i.exporters.croissant import croissant
    from x2i.exporters.hugging_face import configs
    from x2i.store.files.atomic import write_bytes, write_json

    records = [(entry.shard.name, facts) for entry in picked if (facts := folder.done(entry)) is not None]
    publication = Publication(
        name=published.name or _called(dataset),
        url=published.url,
        creator=published.creator,
        contact=published.contact,
        date=published.date,
        version=published.version,
        licenses=counted(records, "licenses"),
        recipes=counted(records, "recipes"),
        **construction(dataset),
    )
    if not published.contact:
        console.print("[yellow]no --contact: the card says that one is missing; add it before you publish[/]")
    found = configs(records)
    write_json(folder.root / "croissant.json", croissant(publication, found, describe(publication, found)))
    write_bytes(folder.root / "README.md", card(publication, found).encode())
    return [folder.root / "README.md", folder.root / "croissant.json"]


def _refuse_stale(folder: ExportFolder, picked: list[Picked]) -> None:
    stale = list(folder.stale(picked))
    if stale:
        raise UserError(
            f"{folder.root}: holds {len(stale)} shards that were exported from other data or with other options, "
            f"such as {stale[0]}: export into another folder, or delete this one first"
        )


def _called(dataset: Path) -> str:
    from x2i.store import Dataset, paths

    return Dataset.open(dataset).name if (dataset / paths.DATASET_FILE).exists() else dataset.name


def _date(text: str | None) -> str:
    import datetime

    if text is None:
        return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UserError(f"--date {text}: expected a date such as 2026-01-31") from error

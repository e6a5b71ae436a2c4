"""`x2i takedown`: removes images and everything made from them, and keeps them from coming back."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import DatasetArgument
from x2i.command_options import with_options
from x2i.counting import counted
from x2i.takedown.request import RequestOptions

if TYPE_CHECKING:
    from x2i.takedown.request import Request

SHOWN = 10


@with_options
def command(
    dataset: DatasetArgument,
    images: RequestOptions,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept in the record.")] = "",
    by: Annotated[str, typer.Option(help="Who signs for it; kept in the record.")] = "",
    keep_out: Annotated[
        bool, typer.Option("--keep-out", help="Put it on the tombstone list even if nothing of it is here.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed, change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary on stdout.")] = False,
) -> None:
    """Take images down: remove them and everything made from them, and keep them out for good.

    Finds what descends from the images in the image store, columns, relations, plans, shards, failures and logs, and
    rewrites only the files concerned; every other sample keeps its bytes. The record in takedowns/ says who, when and
    why, and later crawls respect it. If it is killed, the same command, or `x2i takedown DATASET` alone, finishes it.
    Exits with 0 (done), 1 (nothing found) or 2 (bad usage).

        x2i takedown data --url https://example.org/a.jpg --reason "the photographer asks" --by "J. Doe"

        x2i takedown data --host example.org --dry-run
    """
    from x2i.store import Dataset

    root = Dataset.open(dataset).root
    result = take_down(root, images.request(), by=by, reason=reason, keep_out=keep_out, dry_run=dry_run)
    if json:
        typer.echo(json_module.dumps({"dataset": str(root), **result}, indent=2, ensure_ascii=False))
    else:
        _show(result)
    if not result["finished"] and not result["takedown"] and not (dry_run and result["found"]):
        raise typer.Exit(1)


def take_down(root: Path, request: Request, **options: Any) -> dict[str, Any]:
    """Carries out `request` while no other command writes to the dataset: see `x2i.takedown.run.take_down`."""
    from x2i.store import Dataset
    from x2i.store.files.locks import WHOLE, exclusive_lock
    from x2i.takedown import run

    with exclusive_lock(root, WHOLE, "another x2i command is running on this dataset: wait for it or stop it"):
        return run.take_down(Dataset.open(root), request, **options)


def _show(result: dict[str, Any]) -> None:
    def say(line: str, color: str | None = None) -> None:
        typer.secho(line, fg=color)

    for number in result["finished"]:
        say(f"takedown {number} was begun earlier; it is finished now")
    verb = "would be removed" if result["dry_run"] else "removed"
    if result["found"]:
        others = result["images"] - result["stored_images"]
        more = f" and {counted(others, 'rows without an image')}" if others else ""
        shards = counted(len(result["shards"]), "shards")
        # Scripts read this line: its words are the same for any number.
        say(f"{verb}: {result['stored_images']:,} images{more}, {result['samples']:,} samples in {shards}")
        _list(say, "image", result["keys"])
        _list(say, "shard", [f"{name}: {counted(count, 'samples')}" for name, count in result["shards"].items()])
    elif not result["finished"]:
        kept = " It is on the tombstone list." if result["takedown"] else " Nothing was changed; --keep-out lists it."
        say(f"nothing of this is in the dataset.{kept}", typer.colors.YELLOW)
    for entry in result["also"][:SHOWN]:
        has = "has " if entry["why"].startswith("the same") else ""
        say(f"stays: {entry['key']} {has}{entry['why']}", typer.colors.YELLOW)
        say(f"    stored from {entry['url']}: add --sha256 {entry['sha256']} to remove it too")
    if len(result["also"]) > SHOWN:
        say(f"    ... and {len(result['also']) - SHOWN} more; --json lists all")
    if result["deleted_previews"]:
        say(f"deleted previews of what was there: {', '.join(result['deleted_previews'])}; make them again")
    if result["may_still_show"]:
        say(f"may still show it, look yourself: {', '.join(result['may_still_show'])}", typer.colors.YELLOW)
    if result["takedown"]:
        say(f"record: takedowns/{result['takedown']}.json")


def _list(say: Any, what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        say(f"    {what} {line}")
    if len(lines) > SHOWN:
        say(f"    ... and {len(lines) - SHOWN} more")

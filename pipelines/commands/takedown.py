"""`x2i takedown`: removes images and everything made from them, and keeps them from coming back."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import DatasetArgument
from x2i.errors import UserError

if TYPE_CHECKING:
    from x2i.takedown.find import Findings
    from x2i.takedown.request import Request

KINDS = ("url", "host", "sha256", "phash", "uid", "key")
SHOWN = 10
Values = list[str] | None


def command(
    dataset: DatasetArgument,
    url: Annotated[Values, typer.Option(help="Image fetched from this URL; FILE or @FILE: one per line.")] = None,
    host: Annotated[Values, typer.Option(help="Every image of this host and of hosts below it; or FILE.")] = None,
    sha256: Annotated[Values, typer.Option(help="Every image with these bytes as fetched, 64 hex digits.")] = None,
    phash: Annotated[Values, typer.Option(help="Every image that looks like this, 16 hex digits.")] = None,
    uid: Annotated[Values, typer.Option(help="The image with this uid.")] = None,
    key: Annotated[Values, typer.Option(help="The image with this key, such as 00003-00017.")] = None,
    distance: Annotated[int, typer.Option(min=0, max=15, help="Bits in which a --phash may differ.")] = 0,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help='A file with one image per line: "url https://...", "key 00003-00017".'),
    ] = None,
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
    why, and later crawls heed it. If it is killed, the same command, or `x2i takedown DATASET` alone, finishes it.
    Exits with 0 (done), 1 (nothing found) or 2 (bad usage).

        x2i takedown data --url https://example.org/a.jpg --reason "the photographer asks" --by "J. Doe"

        x2i takedown data --host example.org --dry-run
    """
    from x2i.store import Dataset
    from x2i.takedown.request import read_request

    typed = dict(zip(KINDS, (url, host, sha256, phash, uid, key)))
    named = {kind: list(_expanded(values or ())) for kind, values in typed.items()}
    for kind, value in _lines(from_file):
        named[kind].append(value)
    request = read_request(named, distance)
    root = Dataset.open(dataset).root
    result = take_down(root, request, by=by, reason=reason, keep_out=keep_out, dry_run=dry_run)
    if json:
        typer.echo(json_module.dumps({"dataset": str(root), **result}, indent=2, ensure_ascii=False))
    else:
        _tell(result)
    if not result["finished"] and not result["takedown"] and not (dry_run and result["found"]):
        raise typer.Exit(1)


def take_down(
    root: Path, request: Request, *, by: str, reason: str, keep_out: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Finishes takedowns that were killed, then carries out `request`. Returns a summary of JSON values.

    Raises UserError for a request without anything to look for or without a signature, or if another command runs.
    """
    from pipelines.engine.locks import WHOLE, exclusive_lock
    from pipelines.stages.takedown.run import begin, carry_out
    from x2i.store.tombstones import pending_files
    from x2i.takedown.derived_files import may_still_show
    from x2i.takedown.find import find
    from x2i.takedown.journal import read_journal

    with exclusive_lock(root, WHOLE, "another x2i command is running on this dataset: wait for it or stop it"):
        pending = [read_journal(path) for path in pending_files(root)]
        _require(root, request, by, reason, unsigned=dry_run, idle=not pending)
        result: dict[str, Any] = {"finished": [], "takedown": None, "dry_run": dry_run, "deleted_drawings": []}
        if dry_run and pending:
            raise UserError(f"{root}: takedown {pending[0].number} is not finished: run `x2i takedown {root}` first")
        for journal in pending:
            result["deleted_drawings"] += carry_out(root, journal)
            result["finished"].append(journal.number)
        found = find(root, request)
        result |= _described(found)
        if (found or (keep_out and request)) and not dry_run:
            journal = begin(root, request, found, by, reason)
            result["deleted_drawings"] += carry_out(root, journal)
            result["takedown"] = journal.number
        result["may_still_show"] = may_still_show(root) if found or pending else []
    return result


def _require(root: Path, request: Request, by: str, reason: str, *, unsigned: bool, idle: bool) -> None:
    if not request and idle:
        raise UserError(f"takedown: say what to take down: --{', --'.join(KINDS)} or --from FILE")
    if request and not unsigned and not (by.strip() and reason.strip()):
        raise UserError("takedown: --by and --reason are needed: the record says who signs for it, and why")


def _expanded(values: Iterable[str]) -> Iterable[str]:
    """Yields the values as typed; for @FILE, or the name of a file that is there, its lines."""
    for value in values:
        if value.startswith("@"):
            yield from _text_lines(Path(value[1:]))
        elif "://" not in value and len(value) < 256 and Path(value).is_file():
            yield from _text_lines(Path(value))
        else:
            yield value


def _lines(path: Path | None) -> Iterable[tuple[str, str]]:
    for line in _text_lines(path) if path is not None else ():
        kind, _, value = line.partition(" ")
        if kind not in KINDS or not value.strip():
            raise UserError(f"{path}: expected lines such as 'url https://...' ({', '.join(KINDS)}), found {line!r}")
        yield kind, value.strip()


def _text_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _described(found: Findings) -> dict[str, Any]:
    return {
        "found": bool(found),
        "images": sum(len(keys) for keys in found.images.values()),
        "stored_images": found.stored,
        "samples": found.samples,
        "keys": sorted(key for keys in found.images.values() for key in keys),
        "shards": {name: len(keys) for name, keys in sorted(found.shards.items())},
        "also": [
            {"key": key, "url": url, "sha256": digest, "why": why} for key, url, digest, why in sorted(found.also)
        ],
    }


def _tell(result: dict[str, Any]) -> None:
    def say(line: str, color: str | None = None) -> None:
        typer.secho(line, fg=color)

    for number in result["finished"]:
        say(f"takedown {number} was begun earlier; it is finished now")
    verb = "would be removed" if result["dry_run"] else "removed"
    if result["found"]:
        others = result["images"] - result["stored_images"]
        more = f" and {others} rows without an image" if others else ""
        shards = f"{len(result['shards'])} shards"
        say(f"{verb}: {result['stored_images']} images{more}, {result['samples']} samples in {shards}")
        _list(say, "image", result["keys"])
        _list(say, "shard", [f"{name}: {count} samples" for name, count in result["shards"].items()])
    elif not result["finished"]:
        kept = " It is on the tombstone list." if result["takedown"] else " Nothing was changed; --keep-out lists it."
        say(f"nothing of this is in the dataset.{kept}", typer.colors.YELLOW)
    for entry in result["also"][:SHOWN]:
        say(
            f"stays: {entry['key']} has {entry['why']}"
            if entry["why"].startswith("the same")
            else f"stays: {entry['key']} {entry['why']}",
            typer.colors.YELLOW,
        )
        say(f"    stored from {entry['url']}: add --sha256 {entry['sha256']} to remove it too")
    if len(result["also"]) > SHOWN:
        say(f"    ... and {len(result['also']) - SHOWN} more; --json lists all")
    if result["deleted_drawings"]:
        say(f"deleted, for they showed what was there: {', '.join(result['deleted_drawings'])}; draw them anew")
    if result["may_still_show"]:
        say(f"may still show it, look yourself: {', '.join(result['may_still_show'])}", typer.colors.YELLOW)
    if result["takedown"]:
        say(f"record: takedowns/{result['takedown']}.json")


def _list(say: Any, what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        say(f"    {what} {line}")
    if len(lines) > SHOWN:
        say(f"    ... and {len(lines) - SHOWN} more")

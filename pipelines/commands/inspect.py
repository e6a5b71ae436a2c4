"""`x2i inspect`: a table of a dataset, a shard or a table; a contact sheet; a gallery."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import StorePath, dataset_path
from x2i.counting import counted
from x2i.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from x2i.inspect.target import Target
    from x2i.store import Dataset

SHEET_PER_TASK, GALLERY_PER_TASK, COLUMN_IMAGES, INSTRUCTIONS = 3, 60, 12, 100


def command(
    path: Annotated[
        StorePath | None,
        typer.Argument(
            parser=dataset_path,
            metavar="PATH",
            help="A dataset (a folder or s3://...), a shard or image partition (.tar), or a .parquet.",
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Show this one sample or image whole, with its lineage.")] = None,
    task: Annotated[str | None, typer.Option(help="Only samples of this task.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most this many rows, samples or images.")] = None,
    per_task: Annotated[
        int | None, typer.Option(min=1, help="Samples of each task: 3 on a sheet, 60 in a gallery if not given.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet to this .png, .jpg or .webp.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Draw this column on a contact sheet: boxes, masks, text, faces, maps.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a gallery into this folder; open its index.html.")] = None,
    instructions: Annotated[
        bool, typer.Option("--instructions", help="Print a random hundred instructions, to be read; --limit for more.")
    ] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Instead of PATH: show this recipe on --image, from weak to strong.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="The photograph for --recipe.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --recipe: one of its options, as YAML; repeatable."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")] = False,
) -> None:
    """Look into a dataset or a shard: table, contact sheet, gallery.

    Without options it prints what is there. A contact sheet shows inputs, instruction, output and scores of a few
    samples of every task; where there are no samples yet, the images. The gallery is a folder of plain files that a
    browser reads without a server; without samples it shows the images, the objects, pairs and duplicates found, and
    what was lost.

        x2i inspect data

        x2i inspect data/shards/deblur-1in-00000.tar --limit 5

        x2i inspect data --key deblur-00000-00003

        x2i inspect data --key 00000-00003 --sheet image.png

        x2i inspect data --sheet sheet.png --html gallery

        x2i inspect data --column entities --sheet entities.png

        x2i inspect data --instructions

        x2i inspect --recipe remove_haze --image street.jpg --sheet haze.png
    """
    from rich.markup import escape

    from pipelines.console import open_console
    from x2i.inspect.target import open_target

    draws = sheet is not None or html is not None or column is not None
    console = open_console(stderr=json and draws)
    if recipe is not None or path is None:
        written, told = _write_ladder(recipe, set_ or (), image, sheet, path)
        console.print(f"ladder: {written}: {told}", soft_wrap=True)
        return
    target = open_target(path)
    if instructions:
        from x2i.inspect.instructions import some_instructions
        from x2i.inspect.tables import sample_rows

        for name, text in some_instructions(sample_rows(target, task), limit or INSTRUCTIONS):
            console.print(f"[dim]{name}:[/] {escape(text)}", soft_wrap=True)
        return
    whole = _whole(target, key) if key is not None else None
    if column is not None:
        sheet = sheet or Path(f"{column}.png")
        with drawing("contact sheet"):
            _write_column_sheet(target, column, sheet, limit)
        console.print(f"contact sheet: {sheet}", soft_wrap=True)
    elif sheet is not None:
        with drawing("contact sheet"):
            if key is None:
                _write_sheet(target, sheet, task, per_task or SHEET_PER_TASK, limit)
            else:
                _write_sheet_of_one(target, sheet, key)
        console.print(f"contact sheet: {sheet}", soft_wrap=True)
    if html is not None:
        with drawing("gallery"):
            page = _write_gallery(target, html, task, per_task or GALLERY_PER_TASK, limit)
        console.print(f"gallery: {page}", soft_wrap=True)
    if whole is not None:
        if json or "uid" not in whole:
            _emit(console, json, whole)
        else:
            from x2i.inspect.whole import image_text

            console.print(image_text(whole), soft_wrap=True)
    elif (sheet is None and html is None) or json:
        _overview(console, target, task, limit or 20, json)


def drawing(what: str) -> Status:
    """Returns a context that says on a terminal that pictures are being drawn; silent elsewhere."""
    from pipelines.console import open_console

    return open_console(stderr=True).status(f"drawing the {what}")


def draw(dataset: Dataset, sheet: Path | None = None, gallery: Path | None = None, per_task: int | None = None) -> None:
    """Writes the contact sheet and the gallery of `dataset`, each where it is asked for."""
    from x2i.inspect.target import Kind, Target

    target = Target(Kind.DATASET, dataset.root, dataset)
    if sheet is not None:
        _write_sheet(target, sheet, None, per_task or SHEET_PER_TASK, None)
    if gallery is not None:
        _write_gallery(target, gallery, None, per_task or GALLERY_PER_TASK, None)


def _write_ladder(
    recipe: str | None, options: Sequence[str], image: Path | None, sheet: Path | None, path: StorePath | None
) -> tuple[Path, str]:
    from pipelines.stages.materialize import recipe_options
    from x2i.inspect.sheet.ladder import write_ladder
    from x2i.recipes import make_recipe

    if recipe is None:
        raise UserError("inspect: expected PATH, or --recipe NAME with --image FILE")
    if image is None or path is not None:
        raise UserError("--recipe: expected --image FILE with it, and no PATH")
    written = sheet or Path(f"{recipe.rpartition(':')[2]}.png")
    return written, write_ladder(make_recipe(recipe, recipe_options([recipe], options)[recipe]), image, written)


def _write_sheet(target: Target, path: Path, task: str | None, per_task: int, limit: int | None) -> None:
    from x2i.inspect.sheet.images import write_image_sheet
    from x2i.inspect.sheet.samples import write_sheet
    from x2i.inspect.target import Kind, select_samples

    title = target.dataset.name if target.kind is Kind.DATASET and target.dataset else target.path.name
    if _shows_images(target):
        write_image_sheet(target, path, title, limit or 48)
        return
    selection = select_samples(target, task, per_task, limit)
    if not selection.count:
        raise UserError(f"{target.path}: holds no samples, so there is nothing to put on a sheet")
    write_sheet(selection, path, title)


def _write_sheet_of_one(target: Target, path: Path, key: str) -> None:
    """Draws one sample, or one image of a dataset."""
    from x2i.inspect.sheet.images import write_sheet_of
    from x2i.inspect.sheet.samples import write_sheet
    from x2i.inspect.target import Selection, find_sample

    view = find_sample(target, key)
    if view is not None:
        write_sheet(Selection({view.sample.task: [view]}, {view.sample.task: 1}), path, key)
    elif target.dataset is not None:
        write_sheet_of(target.dataset, [key], path, key, 1)


def _write_gallery(target: Target, folder: Path, task: str | None, per_task: int, limit: int | None) -> Path:
    from x2i.inspect.gallery.gallery import write_gallery
    from x2i.inspect.gallery.images import write_image_gallery
    from x2i.inspect.target import select_samples

    if _shows_images(target) and task is None:
        return write_image_gallery(target, folder, min(per_task, limit or per_task))
    return write_gallery(target, select_samples(target, task, per_task, limit), folder)


def _shows_images(target: Target) -> bool:
    """Whether a target has images and no samples yet."""
    from x2i.inspect.target import Kind

    return target.kind is Kind.IMAGES or (target.kind is Kind.DATASET and not target.shards())


def _write_column_sheet(target: Target, column: str, path: Path, limit: int | None) -> None:
    from x2i.inspect.sheet.columns import write_column_sheet
    from x2i.inspect.target import Kind

    if target.kind is not Kind.DATASET or target.dataset is None:
        raise UserError(f"{target.path}: --column draws a column of a dataset; this is a {target.kind}")
    write_column_sheet(target.dataset, column, path, limit or COLUMN_IMAGES)


def _whole(target: Target, key: str) -> dict[str, Any]:
    """Returns everything known about one sample or image. Raises UserError if there is no such key."""
    from x2i.inspect.gallery.lineage import source_by_key, sources_by_uid
    from x2i.inspect.tables import plain_table, sample_document
    from x2i.inspect.target import Kind, find_sample
    from x2i.inspect.whole import image_document

    if target.kind is Kind.TABLE:
        rows, _ = plain_table(target.path, 1000, key)
        if rows:
            return {"rows": rows}
        raise UserError(f"{target.path}: no row with key {key!r}")
    view = find_sample(target, key)
    if view is not None:
        sources = sources_by_uid(target.dataset, view.sample.source.uids) if target.dataset else {}
        return sample_document(view, sources)
    source = source_by_key(target.dataset, key) if target.dataset else None
    if source is None or target.dataset is None:
        raise UserError(
            f"{target.path}: no sample and no image with key {key!r}; `x2i inspect {target.path} --sheet sheet.png` "
            "shows keys, and the files in `images` and `shards` list them all"
        )
    return image_document(target.dataset, source)


def _overview(console: Console, target: Target, task: str | None, limit: int, as_json: bool) -> None:
    from x2i.inspect import tables
    from x2i.inspect.sheet.images import image_records
    from x2i.inspect.target import Kind

    if target.kind is Kind.DATASET and target.dataset is not None and task is None:
        overview = tables.dataset_overview(target.dataset)
        if as_json:
            _emit(console, True, overview)
        else:
            console.print(tables.overview_table(overview), soft_wrap=True)
        return
    if target.kind is Kind.TABLE:
        rows, total = tables.plain_table(target.path, limit)
        shown = tables.rows_table(rows)
    elif target.kind is Kind.IMAGES:
        records = image_records(target)
        fields = ("key", "status", "reason", "width", "height", "format", "bytes", "license", "text", "url")
        total = len(records)
        rows = [{name: getattr(record, name) for name in fields} for record in records[:limit]]
        shown = tables.images_table(records[:limit])
    else:
        every = tables.sample_rows(target, task)
        total, rows = len(every), every[:limit]
        shown = tables.samples_table(rows)
    if as_json:
        _emit(console, True, {"path": str(target.path), "kind": str(target.kind), "total": total, "rows": rows})
        return
    console.print(shown)
    console.print(f"[dim]{target.kind}, {len(rows):,} of {counted(total, 'rows')} shown[/]")


def _emit(console: Console, as_json: bool, document: dict[str, Any]) -> None:
    text = json_module.dumps(document, indent=2, ensure_ascii=False, default=str)
    if as_json:
        typer.echo(text)
    else:
        console.print_json(text)

"""The gallery: a folder of plain files that shows samples in a browser without a server, down to their lineage."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.inspect.formatting import describe_bytes, describe_number, task_title
from x2i.inspect.gallery.lineage import SourceImage, sources_by_uid
from x2i.inspect.html import chip_html, embedded_json, instruction_html, instruction_parts, render_page, template
from x2i.inspect.sheet.thumbnails import thumbnail_bytes
from x2i.inspect.tables import source_document
from x2i.inspect.target import Kind, SampleView, Selection, Target
from x2i.reasons import Status
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.store.files.atomic import write_bytes

THUMBNAIL_SIDE = 336
SOURCE_SIDE = 512


def write_gallery(target: Target, selection: Selection, folder: Path) -> Path:
    """Writes index.html and its pictures into `folder`; returns the path of the page.

    thumbs/ holds a small JPEG per image, images/ the images exactly as they lie in the shards, sources/ the images of
    the store they were made of. Raises UserError if there is no sample to show.
    """
    if not selection.count:
        raise UserError(f"{target.path}: holds no samples to show; `--sheet` shows images where there are none")
    uids = [uid for views in selection.shown.values() for view in views for uid in view.row["uids"]]
    sources = sources_by_uid(target.dataset, uids) if target.dataset else {}
    pictures = {uid: _write_source(target, source, folder) for uid, source in sources.items()}
    documents: list[dict[str, Any]] = []
    sections: list[str] = []
    for task, views in selection.shown.items():
        cards = []
        for view in views:
            cards.append(_card(view, _write_images(view, folder)))
            documents.append(_document(view, sources, pictures))
        sections.append(_section(task, cards, selection))
    title = target.dataset.name if target.kind is Kind.DATASET and target.dataset else target.path.name
    hidden = selection.total - selection.count
    about = f"{selection.total:,} samples of {len(selection.totals)} tasks"
    page = render_page(
        "gallery.html",
        template("gallery.css"),
        template("gallery.js"),
        title=escape(title),
        about=escape(f"{about}; {selection.count:,} here, {hidden:,} not shown" if hidden else about),
        tasks="".join(_task_button(task, len(views)) for task, views in selection.shown.items()),
        sections="\n".join(sections),
        data=embedded_json(documents),
    )
    write_bytes(folder / "index.html", page.encode())
    return folder / "index.html"


def _write_images(view: SampleView, folder: Path) -> list[bool]:
    """Writes a sample's images and thumbnails; says of each whether it decodes."""
    decodes = []
    for name, data in zip(view.image_names, view.images):
        _write_picture(folder / "images" / _file(view, name), data)
        thumbnail = thumbnail_bytes(data, THUMBNAIL_SIDE)
        decodes.append(thumbnail is not None)
        if thumbnail is not None:
            _write_picture(folder / "thumbs" / f"{_file(view, name)}.jpg", thumbnail)
    return decodes


def _write_source(target: Target, source: SourceImage, folder: Path) -> str | None:
    """Writes a source image, scaled down, and returns its address seen from the page; None where nothing is stored."""
    if target.dataset is None or source.record.status is not Status.OK:
        return None
    _, data = target.dataset.image(source.record.key)
    thumbnail = thumbnail_bytes(data, SOURCE_SIDE)
    if thumbnail is None:
        return None
    _write_picture(folder / "sources" / f"{source.record.key}.jpg", thumbnail)
    return f"sources/{source.record.key}.jpg"


def _write_picture(path: Path, data: bytes) -> None:
    """Writes one picture plainly: a gallery is made again in seconds; an fsync each would take longer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _file(view: SampleView, name: str) -> str:
    return f"{view.row['key']}.{name}"


def _document(view: SampleView, sources: dict[str, SourceImage], pictures: dict[str, str | None]) -> dict[str, Any]:
    """Returns what the page's script needs to show one sample whole."""
    sample = view.sample
    lineage = []
    for uid, url, license in zip(sample.source.uids, sample.source.urls, sample.source.licenses):
        known = source_document(sources[uid]) | {"picture": pictures[uid]} if uid in sources else {}
        lineage.append({"uid": uid, "url": url, "license": license, **known})
    captions = [
        str(row.get("caption", "")) for entry in lineage for row in entry.get("columns", {}).get("captions", [])
    ]
    plain = PLACEHOLDER_PATTERN.sub(" ", sample.instruction)
    images = zip(view.image_names, view.row["image_bytes"], sample.sizes)
    return {
        "key": sample.key,
        "task": sample.task,
        "instruction": list(instruction_parts(sample.instruction)),
        "search": " ".join([plain, sample.key, sample.task, *captions, *sample.source.urls]).lower(),
        "shard": view.shard.tar.name,
        "recipe": f"{sample.recipe.name}, version {sample.recipe.version}",
        "parameters": dict(sample.recipe.parameters),
        "scores": dict(sample.scores),
        "images": [
            {
                "name": name,
                "src": f"images/{_file(view, name)}",
                "width": width,
                "height": height,
                "size": describe_bytes(size),
                "number": number if number <= sample.num_inputs else 0,
            }
            for number, (name, size, (width, height)) in enumerate(images, start=1)
        ],
        "sources": lineage,
    }


def _section(task: str, cards: list[str], selection: Selection) -> str:
    total = selection.totals[task]
    hidden = total - len(cards)
    note = f'<p class="more">{hidden:,} more of this task are not shown; --per-task shows more.</p>' if hidden else ""
    shards = selection.shards.get(task, 0)
    about = f"{total:,} {'sample' if total == 1 else 'samples'} in {shards:,} {'shard' if shards == 1 else 'shards'}"
    grid = "\n".join(cards)
    heading = f"<h2>{escape(task_title(task))} <small>{about}</small></h2>"
    return f'<section class="task">{heading}<div class="grid">\n{grid}\n</div>{note}</section>'


def _card(view: SampleView, decodes: list[bool]) -> str:
    row = view.row
    figures = [
        _figure(view, name, number if number <= row["num_inputs"] else 0, good)
        for number, (name, good) in enumerate(zip(view.image_names, decodes), start=1)
    ]
    scores = ", ".join(f"{name} {describe_number(value)}" for name, value in sorted(view.sample.scores.items()))
    key = escape(row["key"], quote=True)
    return (
        f'<a class="card" href="#{key}" data-key="{key}"><div class="strip">{"".join(figures)}</div>'
        f"<p>{instruction_html(row['instruction'])}</p>"
        f'<footer><span class="mono">{key}</span><span>{escape(scores)}</span></footer></a>'
    )


def _figure(view: SampleView, name: str, number: int, decodes: bool) -> str:
    kind = "input" if number else "output"
    chip = chip_html(number) if number else ""
    if not decodes:
        return f'<figure class="{kind}"><span class="missing">{kind} does not decode</span>{chip}</figure>'
    source = escape(f"thumbs/{_file(view, name)}.jpg", quote=True)
    label = f"input {number}" if number else "output"
    return f'<figure class="{kind}"><img loading="lazy" alt="{label}" src="{source}">{chip}</figure>'


def _task_button(task: str, count: int) -> str:
    name = escape(task, quote=True)
    return (
        f'<button type="button" aria-pressed="false" data-task="{name}">'
        f"{escape(task_title(task))}<span>{count}</span></button>"
    )

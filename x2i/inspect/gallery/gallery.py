"""The gallery: a folder of plain files that shows samples in a browser without a server, down to their lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from x2i.counting import counted
from x2i.errors import UserError
from x2i.inspect.formatting import describe_bytes, describe_number, file_name
from x2i.inspect.gallery.lineage import SourceImage, sources_by_uid
from x2i.inspect.gallery.page import THUMBNAIL_SIDE, write_page, write_picture
from x2i.inspect.html import instruction_parts
from x2i.inspect.sheet.thumbnails import thumbnail_bytes
from x2i.inspect.tables import source_document
from x2i.inspect.target import Kind, SampleView, Selection, Target
from x2i.reasons import Status
from x2i.sample import PLACEHOLDER_PATTERN

SOURCE_SIDE = 512


def write_gallery(target: Target, selection: Selection, folder: Path) -> Path:
    """Writes index.html and its pictures into `folder`; returns the path of the page.

    thumbs/ holds a small JPEG per image, images/ the images exactly as they lie in the shards, sources/ the images of
    the store they were made of. Raises UserError if there is no sample to show.
    """
    if not selection.count:
        raise UserError(f"{target.path}: holds no samples to show")
    uids = [uid for views in selection.shown.values() for view in views for uid in view.row["uids"]]
    sources = sources_by_uid(target.dataset, uids) if target.dataset else {}
    pictures = {uid: _write_source(target, source, folder) for uid, source in sources.items()}
    documents: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    for task, views in selection.shown.items():
        cards = [_card(view, _write_images(view, folder)) for view in views]
        documents += [_document(view, sources, pictures) for view in views]
        total, shards = selection.totals[task], selection.shards.get(task, 0)
        note = f"{total:,} sample{'s' * (total != 1)} in {shards:,} shard{'s' * (shards != 1)}"
        sections.append({"task": task, "note": note, "cards": cards, "total": total})
    title = target.dataset.name if target.kind is Kind.DATASET and target.dataset else target.path.name
    hidden = selection.total - selection.count
    about = f"{counted(selection.total, 'samples')} of {counted(len(selection.totals), 'tasks')}"
    about = f"{about}; {selection.count:,} here, {hidden:,} not shown" if hidden else about
    return write_page(folder, title, about, sections, documents)


def _write_images(view: SampleView, folder: Path) -> list[bool]:
    """Writes a sample's images and thumbnails; says of each whether it decodes."""
    decodes = []
    for name, data in zip(view.image_names, view.images):
        write_picture(folder / "images" / _file(view, name), data)
        thumbnail = thumbnail_bytes(data, THUMBNAIL_SIDE)
        decodes.append(thumbnail is not None)
        if thumbnail is not None:
            write_picture(folder / "thumbs" / f"{_file(view, name)}.jpg", thumbnail)
    return decodes


def _write_source(target: Target, source: SourceImage, folder: Path) -> str | None:
    """Writes a source image, scaled down, and returns its address seen from the page; None where nothing is stored."""
    if target.dataset is None or source.record.status is not Status.OK:
        return None
    _, data = target.dataset.image(source.record.key)
    thumbnail = thumbnail_bytes(data, SOURCE_SIDE)
    if thumbnail is None:
        return None
    write_picture(folder / "sources" / f"{source.record.key}.jpg", thumbnail)
    return f"sources/{source.record.key}.jpg"


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


def _card(view: SampleView, decodes: list[bool]) -> dict[str, Any]:
    """Returns what the page shows of one sample; an image that does not decode has no thumbnail."""
    row = view.row
    return {
        "key": row["key"],
        "file": " ".join(filter(None, map(file_name, view.sample.source.urls))),
        "instruction": list(instruction_parts(row["instruction"])),
        "scores": ", ".join(f"{name} {describe_number(value)}" for name, value in sorted(view.sample.scores.items())),
        "images": [
            {
                "number": number if number <= row["num_inputs"] else 0,
                "thumbnail": f"thumbs/{_file(view, name)}.jpg" if decoded else None,
            }
            for number, (name, decoded) in enumerate(zip(view.image_names, decodes), start=1)
        ],
    }

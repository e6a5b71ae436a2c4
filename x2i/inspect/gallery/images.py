"""The gallery of a dataset without samples: its images, what columns find in them, pairs, duplicates, losses."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from x2i.counting import counted
from x2i.errors import UserError
from x2i.image_record import ImageRecord
from x2i.inspect.formatting import describe_bytes, file_name
from x2i.inspect.gallery.lineage import SourceImage, source_by_key
from x2i.inspect.gallery.page import THUMBNAIL_SIDE, write_page, write_picture
from x2i.inspect.sheet.drawings import DRAWINGS, draw_rows
from x2i.inspect.sheet.images import choose_images, column_captions, image_records
from x2i.inspect.sheet.thumbnails import THUMBNAIL_QUALITY, Broken, fit, thumbnail_bytes
from x2i.inspect.tables import source_document
from x2i.inspect.target import Kind, Target
from x2i.reasons import Status
from x2i.seeding import stable_hash
from x2i.store import Dataset, paths
from x2i.store.columns import read_column_rows
from x2i.store.files.cache import local_copy
from x2i.store.images import extension

DRAWN_SIDE = 512
MOST_DRAWN = 3
"""Columns drawn on copies of an image, at most."""


@dataclass(frozen=True)
class _Entry:
    """One card and what opens when it is clicked. keys: of the images it shows; inputs: how many of them are inputs.

    subjects: of each input, the rows that show what is meant in it (see `draw_rows`).
    """

    name: str
    text: str
    keys: Sequence[str] = ()
    inputs: int = 0
    missing: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    subjects: Sequence[Sequence[dict[str, Any]]] = ()


@dataclass(frozen=True)
class _Section:
    name: str
    note: str
    total: int
    entries: Sequence[_Entry]


def write_image_gallery(target: Target, folder: Path, most: int) -> Path:
    """Writes index.html and its pictures into `folder`; returns the path of the page.

    most: cards of each section at most, chosen by the hash of their keys. Raises UserError if there are no images.
    """
    records = image_records(target)
    if not records:
        raise UserError(f"{target.path}: holds no samples and no images to show")
    dataset = target.dataset or Dataset(target.path.parent.parent, target.path.stem, {})
    sections = list(_sections(dataset, records, most, target.kind is Kind.DATASET))
    pictures = _Pictures(dataset, folder)
    shown, documents = [], []
    for section in sections:
        cards = []
        for entry in section.entries:
            images = [image for n, key in enumerate(entry.keys) for image in pictures.of(key, n + 1, entry)]
            cards.append(_card(entry, images, pictures))
            documents.append(_document(section.name, entry, images, pictures))
        shown.append({"task": section.name, "note": section.note, "cards": cards, "total": section.total})
    stored = sum(record.status is Status.OK for record in records)
    about = f"{counted(len(records), 'images')} attempted, {stored:,} stored; no samples yet"
    title = dataset.name if target.kind is Kind.DATASET else target.path.name
    return write_page(folder, title, about, shown, documents)


def _sections(dataset: Dataset, records: Sequence[ImageRecord], most: int, is_whole: bool) -> Iterator[_Section]:
    stored = [record for record in records if record.status is Status.OK]
    said = column_captions(dataset) if is_whole else {}
    entries = [_Entry(one.key, said.get(one.key) or one.text, [one.key]) for one in choose_images(stored, most)]
    yield _Section("images", f"{len(stored):,} stored", len(stored), entries)
    for name in dataset.relations() if is_whole else ():
        rows = dataset.relation(name).to_pylist()
        found = list(_related(name, rows))
        if found:
            chosen = sorted(found, key=lambda entry: stable_hash("inspect", entry.name))[:most]
            yield _Section(name, f"{len(found):,} found", len(found), chosen)
    lost = [record for record in records if record.status is not Status.OK]
    if lost:
        shown = choose_images(lost, most)
        yield _Section("not stored", counted(len(lost), "images"), len(lost), [_lost(record) for record in shown])


def _related(name: str, rows: Iterable[dict[str, Any]]) -> Iterator[_Entry]:
    """Yields pairs of a subject relation, or the images that a relation says are duplicates of another."""
    for number, row in enumerate(rows):
        facts = {key: value for key, value in row.items() if value not in (None, "", [])}
        if row.get("is_duplicate") and row.get("cluster"):
            text = f"{row['key']} is a duplicate of {row['cluster']}"
            yield _Entry(f"{name}-{row['key']}", text, [row["cluster"], row["key"]], facts=facts)
        elif row.get("target") and row.get("inputs"):
            words = ", ".join(filter(None, row.get("phrases") or ())) or str(row.get("kind") or "one subject")
            keys = [*row["inputs"], row["target"]]
            plain = {name: value for name, value in facts.items() if name not in ("boxes", "masks", "sizes")}
            subjects = [_subject(row, place) for place in range(len(row["inputs"]))]
            yield _Entry(f"{name}-{number:05d}", words, keys, len(row["inputs"]), facts=plain, subjects=subjects)


def _subject(row: dict[str, Any], place: int) -> list[dict[str, Any]]:
    """Returns what marks the subject in input `place` of a subject relation's row; nothing if it is the whole image."""
    box, mask, size = (list(row.get(name) or ()) for name in ("boxes", "masks", "sizes"))
    if not (box and box[place]):
        return []
    corners = dict(zip(("x0", "y0", "x1", "y1"), box[place], strict=True))
    return [corners | {"mask_counts": mask[place], "mask_size": size[place]}]


def _lost(record: ImageRecord) -> _Entry:
    why = f"{str(record.reason).replace('_', ' ')}{': ' if record.detail else ''}{record.detail}"
    return _Entry(record.key, record.url, missing=why)


class _Pictures:
    """Writes each image that is shown once: as it is stored, small, and with what columns find drawn on it."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._written: dict[str, list[dict[str, Any]]] = {}
        self._sources: dict[str, SourceImage | None] = {}
        self._drawn = list(_drawable(dataset))[:MOST_DRAWN]

    def of(self, key: str, number: int, entry: _Entry) -> list[dict[str, Any]]:
        """Returns what the page shows of image `number` of an entry; of several, each as it is, with nothing drawn."""
        if key not in self._written:
            self._written[key] = self._write(key)
        shown = self._written[key][: 1 if len(entry.keys) > 1 else None]
        if number <= len(entry.subjects) and entry.subjects[number - 1]:
            name = f"{entry.name}.{number}"
            shown = [self._draw(name, entry.subjects[number - 1], *self._dataset.image(key)) or shown[0]]
        return [{**image, "number": number if number <= entry.inputs else 0} for image in shown]

    def source(self, key: str) -> SourceImage | None:
        """Returns the record of an image and what columns say about it."""
        if key not in self._sources:
            self._sources[key] = source_by_key(self._dataset, key)
        return self._sources[key]

    def _write(self, key: str) -> list[dict[str, Any]]:
        record, data = self._dataset.image(key)
        name = f"{key}.{extension(record.format)}"
        write_picture(self._folder / "images" / name, data)
        thumbnail = thumbnail_bytes(data, THUMBNAIL_SIDE)
        if thumbnail is not None:
            write_picture(self._folder / "thumbs" / f"{name}.jpg", thumbnail)
        size = {"width": record.width, "height": record.height}
        small = f"thumbs/{name}.jpg" if thumbnail is not None else None
        shown = {"name": name, "src": f"images/{name}", **size, "size": describe_bytes(len(data)), "thumbnail": small}
        drawn = (self._draw(f"{key}.{name}", self._rows(name, key), record, data, name) for name in self._drawn)
        return [shown, *(one for one in drawn if one)]

    def _rows(self, column: str, key: str) -> list[dict[str, Any]]:
        partition = paths.image_partition(key)
        if not paths.column_file(self._dataset.root, column, partition).exists():
            return []
        return read_column_rows(self._dataset.root, column, partition, [key])[key]

    def _draw(
        self, name: str, rows: Sequence[dict[str, Any]], record: ImageRecord, data: bytes, column: str = ""
    ) -> dict[str, Any] | None:
        """Returns a copy of an image with rows drawn on it, None if there are none."""
        picture = fit(data, DRAWN_SIDE, DRAWN_SIDE)
        if not rows or isinstance(picture, Broken):
            return None
        draw_rows(picture, rows, picture.width / record.width)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=THUMBNAIL_QUALITY)
        path = f"drawn/{name}.jpg"
        write_picture(self._folder / path, stream.getvalue())
        size = {"width": picture.width, "height": picture.height, "size": describe_bytes(stream.tell())}
        return {"name": f"{column}: {len(rows)}" if column else record.key, "src": path, "thumbnail": path, **size}


def _drawable(dataset: Dataset) -> Iterator[str]:
    """Yields the columns whose rows say where something is."""
    for name in dataset.columns():
        files = sorted(paths.column_folder(dataset.root, name).glob(f"*{paths.INDEX_SUFFIX}"))
        names = set(pq.read_schema(local_copy(files[0])).names) if files else set()
        if any(names.issuperset(fields) for fields, _ in DRAWINGS):
            yield name


def _card(entry: _Entry, images: Sequence[dict[str, Any]], pictures: _Pictures) -> dict[str, Any]:
    sources = [pictures.source(key) for key in entry.keys]
    files = " ".join(filter(None, (file_name(source.record.url) for source in sources if source is not None)))
    shown = [{"number": image["number"], "thumbnail": image["thumbnail"]} for image in images]
    return {
        "key": entry.name,
        "file": files,
        "instruction": [entry.text],
        "scores": "",
        "images": shown,
        "missing": entry.missing,
    }


def _document(kind: str, entry: _Entry, images: list[dict[str, Any]], pictures: _Pictures) -> dict[str, Any]:
    """Returns what the page's script needs to show one entry whole."""
    sources = [pictures.source(key) for key in entry.keys or [entry.name]]
    lineage = [source_document(source) | {"picture": None} for source in sources if source is not None]
    words = [entry.text, entry.name, entry.missing, *(str(one.get("url", "")) for one in lineage)]
    return {
        "key": entry.name,
        "task": kind,
        "instruction": [entry.text],
        "search": " ".join(words).lower(),
        "facts": entry.facts,
        "images": images,
        "sources": lineage,
    }

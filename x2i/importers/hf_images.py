"""Hugging Face image datasets on disk, by the names of their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

from x2i.errors import UserError
from x2i.importers.base import Importer, ImportRecord, Rejected, Remark, SourceImage
from x2i.importers.columns import FILE_NAME, ColumnChoice, cell_text
from x2i.importers.example import picture
from x2i.importers.locations import Location, inside, local_inside
from x2i.importers.metadata_files import METADATA, metadata_rows
from x2i.importers.source_files import list_source, relative_name
from x2i.importers.table_files import TABLE_SUFFIXES, class_names, holds_images, read_groups, read_schema
from x2i.options import Option
from x2i.reasons import Reason
from x2i.words import CAPTION_SUFFIXES, IMAGE_SUFFIXES

_SEVERAL = "{} holds images too: `x2i import hf-edits {} --out DATASET` reads a set of edits, with both images of a row"
_NOT_READ = "caption files beside the images are not read here: `x2i crawl {} --out DATASET` reads them"


@dataclass(frozen=True)
class HuggingFaceImages(Importer):
    """Read a Hugging Face image dataset on disk into the image store: its images, and what was written beside them.

    PATH is a Parquet file, a folder of Parquet files, what `datasets.save_to_disk` wrote, or an image folder, with or
    without metadata.jsonl, metadata.csv or metadata.parquet (`file_name`). The columns of images and captions are found
    by type and name, and the command says which it took. Captions are kept as they are. Images of one row of metadata,
    such as person_file_name and garment_file_name, have its `group` and their `role` in `extra`.
    """

    name: ClassVar[str] = "hf-images"
    title: ClassVar[str] = "Any Hugging Face image dataset: Parquet, save_to_disk, image folder"

    image: Annotated[str, Option("Column of images. Default: found by its type, then its name.", metavar="COLUMN")] = ""
    caption: Annotated[
        str, Option("Column of captions. Default: the first of text, caption, prompt, title, ...", metavar="COLUMN")
    ] = ""
    keep: Annotated[
        tuple[str, ...], Option("Column to keep in the images' `extra`; may be repeated.", metavar="COLUMN")
    ] = ()
    split: Annotated[str, Option("Read only files with this word in their path: train, test, ...")] = ""
    license: Annotated[str, Option("The license of all images that have none of their own.")] = ""

    def records(self, path: Path) -> Iterator[ImportRecord | Rejected | Remark]:
        """Yields one record per row of the tables, or per image of a folder: rows of its metadata, then all others."""
        remarks: set[str] = set()
        tables = [
            file
            for file in list_source(path, TABLE_SUFFIXES)
            if file.suffix in TABLE_SUFFIXES and file.name not in METADATA and not file.name.startswith("cache-")
        ]
        if not tables and not path.is_dir():
            raise UserError(f"{path}: expected a Parquet or Arrow file, or a folder")
        if tables and not (tables := [file for file in tables if in_split(file, path, self.split)]):
            raise UserError(f"{path}: no table has {self.split!r} in its path: choose another --split")
        found = (record for file in tables for record in self._rows(file, path)) if tables else self._folder(path)
        for record in found:
            if not isinstance(record, Remark) or record.text not in remarks:
                yield record
            if isinstance(record, Remark):
                remarks.add(record.text)

    @classmethod
    def example(cls, folder: Path) -> Path:
        source = folder / "example"
        source.mkdir()
        lines = []
        for number, kind in enumerate(("jpeg", "png", "webp", "jpeg")):
            (source / f"{number}.{kind}").write_bytes(picture(number, kind))
            lines.append({"file_name": f"{number}.{kind}", "text": f"<sks>  picture {number}", "score": number / 2})
        (source / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (source / "4.jpeg").write_bytes(picture(4))
        return source

    def _rows(self, file: Path, source: Path) -> Iterator[ImportRecord | Rejected | Remark]:
        """Yields the rows of one table."""
        schema = read_schema(file)
        choice = ColumnChoice.of_table(str(file), schema, class_names(schema), self.image, self.caption, self.keep)
        yield from map(Remark, choice.remarks)
        others = [field.name for field in schema if holds_images(field.type) and field.name != choice.image]
        if others:
            yield Remark(_SEVERAL.format(" and ".join(map(repr, others)), source))
        kind = schema.field(choice.image).type
        is_cell = holds_images(kind)
        beside = [f"{choice.image}.path"] if is_cell and hasattr(kind, "names") and "path" in kind.names else []
        relative = relative_name(file, source)
        columns = [*choice.texts, *beside, *([] if is_cell else [choice.image])]
        number = 0
        for group, table in enumerate(read_groups(file, list(dict.fromkeys(columns)))):
            for row, values in enumerate(table.to_pylist()):
                number += 1
                path = (values.pop(choice.image, None) or {}).get("path") if beside else None
                if is_cell:
                    location = Location(relative, group=group, row=row, field=choice.image)
                else:
                    where = located(values[choice.image], relative, number, self.root(source))
                    if isinstance(where, Rejected):
                        yield where
                        continue
                    location = where
                image = self._image(location, choice, values, {"path": path} if path else {})
                yield from map(Remark, choice.remarks_about(values))
                yield ImportRecord(relative, number, (image,))

    def _folder(self, source: Path) -> Iterator[ImportRecord | Rejected | Remark]:
        """Yields the images that metadata files name, in their order, then those that none names, by their paths."""
        named: set[str] = set()
        files = [file for file in list_source(source) if in_split(file, source, self.split)]
        for file in files:
            if file.name in METADATA:
                for record in self._metadata(file, source):
                    if isinstance(record, ImportRecord):
                        named.update(image.location.path for image in record.images)
                    yield record
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise UserError(f"{source}: no images and no tables with images")
        stems = {file.with_suffix("") for file in images}
        if any(file.suffix.lower() in CAPTION_SUFFIXES and file.with_suffix("") in stems for file in files):
            yield Remark(_NOT_READ.format(source))
        for file in images:
            if (relative := relative_name(file, source)) not in named:
                folder = PurePosixPath(relative).parent.name
                extra = {"label": folder} if folder and not named else {}
                yield ImportRecord(relative, 1, (SourceImage(Location(relative), "", self.license, extra),))

    def _metadata(self, file: Path, source: Path) -> Iterator[ImportRecord | Rejected | Remark]:
        relative = relative_name(file, source)
        remarks: Counter[str] = Counter()
        columns = list(dict.fromkeys(key for row in metadata_rows(file, remarks) if row is not None for key in row))
        choice = ColumnChoice.of_metadata(str(file), columns, self.image, self.caption, self.keep)
        yield from map(Remark, (*choice.remarks, *remarks))
        for number, row in enumerate(metadata_rows(file, remarks), start=1):
            if row is None:
                yield Rejected(relative, number, "broken JSON, or a separator or quote too many")
                continue
            places = {
                name: located(row[name], relative, number, self.root(source)) for name in choice.files if row.get(name)
            }
            refused = [where for where in places.values() if isinstance(where, Rejected)]
            if refused or not places:
                yield refused[0] if refused else Rejected(relative, number, f"{choice.image}: names no file")
                continue
            group = {"group": f"{source.name}/{relative}:{number}"} if len(places) > 1 else {}
            images = tuple(
                self._image(where, choice, row, {**group, "role": name[: -len(FILE_NAME) - 1] or name} if group else {})
                for name, where in places.items()
                if isinstance(where, Location)
            )
            yield from map(Remark, choice.remarks_about(row))
            yield ImportRecord(relative, number, images)

    def _image(
        self, location: Location, choice: ColumnChoice, row: Mapping[str, Any], more: Mapping[str, Any]
    ) -> SourceImage:
        license = cell_text(row.get(choice.license)) if choice.license else ""
        extra = {**more, **{name: _json_value(row.get(name)) for name in choice.keep}}
        return SourceImage(location, choice.text_of(row), license or self.license, extra)


def located(value: object, file: str, line: int, root: Path) -> Location | Rejected:
    """Returns where an image lies that a cell of `file` (relative to `root`) names by a path or URL."""
    if not isinstance(value, str) or not value:
        return Rejected(file, line, f"expected the path of an image, found {value!r}"[:200])
    if value.startswith(("http://", "https://")):
        return Location(value)
    try:
        local = local_inside(value, root)
        return Location(inside(local, str(PurePosixPath(file).parent) if local == value else ""))
    except ValueError as error:
        return Rejected(file, line, str(error), Reason.FILE_ERROR)


def in_split(file: Path, source: Path, split: str) -> bool:
    """Whether the path of a file below `source` has the word `split`; "" is in every path."""
    words = relative_name(file, source).lower().replace("-", " ").replace("/", " ").replace(".", " ").split()
    return not split or split.lower() in words


def _json_value(value: Any) -> Any:
    """Returns a cell as JSON can hold it: what it cannot (dates, bytes, NaN) as text."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)

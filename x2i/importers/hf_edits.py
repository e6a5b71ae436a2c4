"""Hugging Face sets of image edits on disk: an input image, an instruction and the edited image in each row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.errors import UserError
from x2i.importers.base import Importer, ImportRecord, Makes, Rejected, Remark, SourceImage, SourceSample
from x2i.importers.columns import cell_text
from x2i.importers.example import picture
from x2i.importers.hf_images import in_split, located
from x2i.importers.locations import Location
from x2i.importers.metadata_files import METADATA, metadata_rows
from x2i.importers.source_files import list_source, relative_name
from x2i.importers.table_files import TABLE_SUFFIXES, holds_images, read_groups, read_schema
from x2i.options import Option
from x2i.sample import PLACEHOLDER_PATTERN, placeholder
from x2i.settings import nearest
from x2i.tables import IMAGE_TYPE
from x2i.words import LICENSE_NAMES, caption_fields, caption_texts, column_named

INPUTS = ("input", "source", "src", "original", "before", "")
OUTPUTS = ("edited", "output", "target", "after", "result")
"""What the columns of images are called, without "image" and the like, the most usual first."""
INSTRUCTIONS = ("edit_prompt", "edit_instruction", "instruction", "instructions", "edit", "edited_prompt_list")
RECORDS_PER_GROUP = 1000
_FILLER = re.compile(r"image|img|picture|photo|file_?name|path|[\s_-]")


@dataclass(frozen=True)
class _Columns:
    input: str
    instruction: str
    output: str
    license: str

    @property
    def images(self) -> tuple[str, str]:
        return self.input, self.output


@dataclass(frozen=True)
class HuggingFaceEdits(Importer):
    """Read a Hugging Face set of image edits on disk into training shards.

    PATH is a Parquet file, a folder of Parquet files, what `datasets.save_to_disk` wrote, or an image folder with
    metadata.jsonl, metadata.csv or metadata.parquet. Each row has an input image, an instruction and the edited image;
    their columns are found by type and name, and the command says which it took. A row that lacks one of them is
    counted by reason and named in OUT/rejected/. Images keep their bytes; other formats than JPEG, PNG and WebP become
    PNG.
    """

    name: ClassVar[str] = "hf-edits"
    title: ClassVar[str] = "Hugging Face sets of edits: input image, instruction, edited image"
    makes: ClassVar[tuple[Makes, ...]] = ("shards",)

    input: Annotated[str, Option("Column of input images. Default: found by its name.", metavar="COLUMN")] = ""
    instruction: Annotated[str, Option("Column of instructions. Default: found by its name.", metavar="COLUMN")] = ""
    output: Annotated[str, Option("Column of edited images. Default: found by its name.", metavar="COLUMN")] = ""
    task: Annotated[str, Option("The task of the samples.")] = "edit"
    split: Annotated[str, Option("Read only files with this word in their path: train, test, ...")] = ""
    license: Annotated[str, Option("The license of all images that have none of their own.")] = ""

    def records(self, path: Path) -> Iterator[ImportRecord | Rejected | Remark]:
        """Yields one record per row, file by file. Raises UserError if there is no table, or a column is not found."""
        tables = [
            file
            for file in list_source(path)
            if (file.suffix in TABLE_SUFFIXES or file.name in METADATA) and not file.name.startswith("cache-")
        ]
        tables = [file for file in tables if in_split(file, path, self.split)]
        if not tables:
            raise UserError(
                f"{path}: no Parquet or Arrow file and no metadata file" + " of this --split" * bool(self.split)
            )
        number, told = 0, set[str]()
        for file in tables:
            for record in self._metadata(file, path) if file.name in METADATA else self._table(file, path):
                if isinstance(record, Remark):
                    if record.text not in told:
                        yield record
                    told.add(record.text)
                elif isinstance(record, Rejected):
                    yield record
                else:
                    yield self._sample(number, *record)
                    number += 1

    @classmethod
    def example(cls, folder: Path) -> Path:
        rows = [
            {"input_image": {"bytes": picture(0), "path": None}, "edit_prompt": f"as picture {n}",
             "edited_image": {"bytes": picture(n, kind), "path": f"{n}.{kind}"}}
            for n, kind in enumerate(("jpeg", "png", "webp", "jpeg"))
        ]  # fmt: skip
        kinds = {"input_image": IMAGE_TYPE, "edit_prompt": pa.string(), "edited_image": IMAGE_TYPE}
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), folder / "train.parquet", row_group_size=2)
        return folder / "train.parquet"

    def _table(self, file: Path, source: Path) -> Iterator[_Row | Rejected | Remark]:
        """Yields the rows of a table whose images are cells, or paths."""
        schema = read_schema(file)
        cells = [field.name for field in schema if holds_images(field.type)]
        columns = self._columns(file, schema.names, cells or schema.names)
        yield _remark(columns)
        relative, number = relative_name(file, source), 0
        texts = [columns.instruction, columns.license, *(name for name in columns.images if name not in cells)]
        for group, table in enumerate(read_groups(file, list(dict.fromkeys(filter(None, texts))))):
            for row, values in enumerate(table.to_pylist()):
                number += 1
                places = {name: Location(relative, group=group, row=row, field=name) for name in cells}
                yield self._row(values, columns, relative, number, source, places)

    def _metadata(self, file: Path, source: Path) -> Iterator[_Row | Rejected | Remark]:
        """Yields the rows of a metadata file, which name files beside it."""
        remarks: Counter[str] = Counter()
        names = list(dict.fromkeys(key for row in metadata_rows(file, remarks) if row is not None for key in row))
        columns = self._columns(file, names, names)
        yield from (_remark(columns), *map(Remark, remarks))
        relative = relative_name(file, source)
        for number, row in enumerate(metadata_rows(file, remarks), start=1):
            if row is None:
                yield Rejected(relative, number, "broken JSON, or a separator or quote too many")
            else:
                yield self._row(row, columns, relative, number, source, {})

    def _row(
        self,
        values: Mapping[str, Any],
        columns: _Columns,
        file: str,
        line: int,
        source: Path,
        places: Mapping[str, Location],
    ) -> _Row | Rejected:
        texts = caption_texts(columns.instruction, values.get(columns.instruction))
        if not texts:
            return Rejected(file, line, f"{columns.instruction}: no instruction")
        found = [
            places[name] if name in places else located(values.get(name), file, line, self.root(source))
            for name in columns.images
        ]
        if refused := next((where for where in found if isinstance(where, Rejected)), None):
            return refused
        license = cell_text(values.get(columns.license)) or self.license
        before, after = (SourceImage(where, license=license) for where in found if isinstance(where, Location))
        return file, line, texts[0], before, after

    def _sample(
        self, number: int, file: str, line: int, words: str, before: SourceImage, after: SourceImage
    ) -> ImportRecord:
        """Returns the sample of one row; the instruction mentions the input, before its words if they do not."""
        task = re.sub(r"[^a-z0-9]+", "_", self.task.lower()).strip("_")
        key = f"{task}-{number // RECORDS_PER_GROUP:06d}-{number % RECORDS_PER_GROUP:03d}"
        marked = words if PLACEHOLDER_PATTERN.search(words) else f"{placeholder(1)} {words}"
        return ImportRecord(file, line, sample=SourceSample(key, task, marked, (before,), after))

    def _columns(self, file: Path, names: Sequence[str], images: Sequence[str]) -> _Columns:
        """Returns the columns to read. images: those that may hold images or paths."""
        words = [column for name in INSTRUCTIONS if (column := column_named(name, names))] + caption_fields(names)
        licenses = [name for name in names if name.lower() in LICENSE_NAMES]
        return _Columns(
            _column(file, "--input", self.input, names, _called(INPUTS, images)),
            _column(file, "--instruction", self.instruction, names, words),
            _column(file, "--output", self.output, names, _called(OUTPUTS, images)),
            next(iter(licenses), ""),
        )


_Row = tuple[str, int, str, SourceImage, SourceImage]
"""File, line, instruction, input and edited image of a row."""


def _called(usual: Sequence[str], names: Sequence[str]) -> list[str]:
    """Returns the columns with a usual name, the most usual first: input_image, Input_file_name and input are alike."""
    bare = {name: _FILLER.sub("", name.lower()) for name in names}
    return sorted((name for name in names if bare[name] in usual), key=lambda name: usual.index(bare[name]))


def _column(file: Path, option: str, asked: str, names: Sequence[str], found: Sequence[str]) -> str:
    """Returns the column that an option names, or else the first that was found. Raises UserError if there is none."""
    if asked:
        if (column := column_named(asked, names)) is None:
            raise UserError(f"{file}: {option} {asked}: no such column: {nearest(asked, names)}")
        return column
    if not found:
        raise UserError(f"{file}: no column for {option} among {', '.join(names)}: name it with {option}")
    return found[0]


def _remark(columns: _Columns) -> Remark:
    return Remark(
        f"input images from {columns.input!r}, instructions from {columns.instruction!r}, "
        f"edited images from {columns.output!r}"
    )

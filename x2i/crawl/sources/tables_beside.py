"""Tables in a folder of images that say what its image files show, such as Hugging Face's metadata.jsonl."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from x2i.crawl.sources.sidecar import Caption, caption_of_fields
from x2i.errors import UserError
from x2i.importers.locations import inside, local_inside
from x2i.importers.metadata_files import WEAK_SUFFIXES, metadata_rows
from x2i.words import FILE_NAMES, IMAGE_SUFFIXES, CaptionLines, bare_name, caption_fields

NAMES_NONE = "tables beside the images name none of them: if they list URLs, name them as sources of their own"
NO_COLUMN = "tables beside the images have no column of captions among {}"
NOT_HERE = "rows of tables beside the images name a file that is not there, such as {!r} in {}"
AGAIN = "further rows of tables beside the images name an image again: the first row with words counts"
BAD_ROW = (
    "rows of tables beside the images cannot be read (broken JSON, a separator or quote too many), such as {} of {}"
)
IMAGE_FOLDERS = ("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures")
"""Names of a folder whose files a table beside the folder may name without it."""
_LOOKED_AT = 100


class TablesBeside:
    """What the tables read so far say about image files, by their paths from the folder of images."""

    def __init__(self, root: Path, lines: CaptionLines = CaptionLines.ALL) -> None:
        self.remarks: Counter[str] = Counter()
        self._root = root
        self._lines = lines
        self._said: dict[str, Caption] = {}
        self._used: set[str] = set()

    def read(self, path: str, prefix: str, stems: Collection[str] = ()) -> bool:
        """Reads a table; returns whether it names images, or is of a kind that is a table in any case.

        prefix: its folder from the folder of images, "" or with "/" at its end. stems: the names of the images in its
        folder, without their endings, which the table may leave out. Raises OSError, or ValueError if it
        cannot be read.
        """
        file = Path(path)
        remarks: Counter[str] = Counter()
        is_weak = file.suffix.lower() in WEAK_SUFFIXES
        try:
            rows = list(metadata_rows(file, remarks))
        except UserError as error:
            raise ValueError(str(error).removeprefix(f"{path}: ")) from error
        named = [row for row in rows if row is not None]
        columns = list(dict.fromkeys(name for row in named for name in row))
        files = _file_columns(columns, named[:_LOOKED_AT], stems)
        if is_weak and not files:
            return False
        self.remarks += remarks
        if len(named) < len(rows):
            self.remarks[BAD_ROW.format(rows.index(None) + 1, file.name)] += len(rows) - len(named)
        if not files:
            self.remarks[NAMES_NONE] += 1
            return True
        others = [name for name in columns if name not in files]
        if not caption_fields(others):
            self.remarks[NO_COLUMN.format(", ".join(others)[:200] or "them")] += 1
        for row in named:
            fields = {name: row[name] for name in row if name in others}
            for value in (str(row[name]) for name in files if row.get(name)):
                said = caption_of_fields(fields, "metadata", self._lines, value, self.remarks)
                self._add(value, prefix, replace(said, place=file.name))
        return True

    def about(self, relative: str) -> Caption:
        """Returns what the tables say about an image."""
        name = normalize("NFC", relative)
        names = [name, os.path.splitext(name)[0]]
        folder, _, file = name.rpartition("/")
        above, _, last = folder.rpartition("/")
        if last.lower() in IMAGE_FOLDERS and not (self._root / above / file).exists():
            names += [os.path.join(above, part) for part in (file, os.path.splitext(file)[0])]
        self._used.update(names)
        return next((self._said[one] for one in names if one in self._said), Caption())

    def unused(self) -> Counter[str]:
        """Returns the remarks, with how many rows name an image that was not asked about."""
        missing = [(name, said.place) for name, said in self._said.items() if name not in self._used]
        if missing:
            folded = {name.casefold(): name for name in sorted(self._used)}
            alike = next((folded[name.casefold()] for name, _ in missing if name.casefold() in folded), None)
            hint = f" (upper and lower case count: there is {alike!r})" if alike else ""
            self.remarks[NOT_HERE.format(*missing[0]) + hint] += len(missing)
        return self.remarks

    def _add(self, value: str, prefix: str, said: Caption) -> None:
        local = local_inside(value, self._root)
        try:
            name = inside(local, prefix if local == value else "")
        except ValueError:
            name = value
        name = normalize("NFC", name)
        before = self._said.get(name)
        if before is not None:
            self.remarks[AGAIN] += 1
        if before is None or not before.text:
            self._said[name] = said


def _file_columns(columns: list[str], rows: Sequence[Mapping[str, Any]], stems: Collection[str]) -> list[str]:
    """Returns the columns that name image files: `file_name` and `..._file_name`, else the first of a usual name."""
    named = [name for name in columns if f"_{bare_name(name)}".endswith("_file_name")]
    lower = {bare_name(name): name for name in reversed(columns)}
    usual = [lower[name] for name in FILE_NAMES if name in lower and lower[name] not in named]
    for held in (_holds_files, lambda name, rows: any(str(row.get(name)) in stems for row in rows)):
        found = [name for name in named if held(name, rows)] or [name for name in usual if held(name, rows)][:1]
        if found:
            return found
    return []


def _holds_files(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    values = (str(row.get(column) or "").removeprefix("file://") for row in rows)
    return any(value.lower().endswith(IMAGE_SUFFIXES) and "://" not in value for value in values)

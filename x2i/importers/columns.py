"""Which columns of a table hold the images and the captions, chosen by type and by the names that people use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from x2i.errors import UserError
from x2i.importers.table_files import holds_images, holds_text
from x2i.settings import nearest
from x2i.words import FILE_NAMES, LICENSE_NAMES, bare_name, caption_fields, caption_texts, column_named

IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
FILE_NAME = "file_name"


@dataclass(frozen=True)
class ColumnChoice:
    """The columns of one table; "" where it has none. files: the columns that name image files, of a metadata file.

    classes: names of the values of the caption column, where it holds numbers of classes. remarks: for people.
    """

    image: str
    caption: str
    license: str
    keep: tuple[str, ...]
    files: tuple[str, ...] = ()
    classes: Sequence[str] = ()
    remarks: tuple[str, ...] = field(default=())

    @property
    def texts(self) -> list[str]:
        """The columns to read beside that of images, each once."""
        return list(dict.fromkeys(name for name in (self.caption, self.license, *self.keep) if name))

    def text_of(self, row: Mapping[str, Any]) -> str:
        """Returns the caption of a row, verbatim."""
        value = row.get(self.caption) if self.caption else None
        if isinstance(value, int) and self.classes:
            return self.classes[value] if 0 <= value < len(self.classes) else ""
        texts = caption_texts(self.caption, value)
        as_written = value if isinstance(value, list) else [value]
        return next(
            (one for one in as_written if isinstance(one, str) and [one.strip()] == texts[:1]), "".join(texts[:1])
        )

    def remarks_about(self, row: Mapping[str, Any]) -> list[str]:
        """Returns what people should know about the words of a row."""
        is_several = self.caption and len(caption_texts(self.caption, row.get(self.caption))) > 1
        return [f"captions are the first of a list in {self.caption!r}"] if is_several else []

    @classmethod
    def of_table(
        cls,
        file: str,
        schema: pa.Schema,
        classes: Mapping[str, Sequence[str]],
        image: str,
        caption: str,
        keep: tuple[str, ...],
    ) -> ColumnChoice:
        """Raises UserError, naming file and columns, if a column that is asked for or needed is not there."""
        image, caption, keep = _named(file, schema.names, image, caption, keep)
        images = [name for name in schema.names if holds_images(schema.field(name).type)]
        images = images or [name for name in _usual(IMAGE_NAMES, schema.names) if holds_text(schema.field(name).type)]
        images = [*_usual(IMAGE_NAMES, images), *(name for name in images if name.lower() not in IMAGE_NAMES)]
        texts = [name for name in schema.names if holds_text(schema.field(name).type) or name in classes]
        if not image and not images:
            raise UserError(f"{file}: no column of images among {', '.join(schema.names)}: name it with --image")
        choice = cls(image or images[0], *_words(texts, caption), keep)
        for option, name, what in (("--image", choice.image, "images or paths"), ("--caption", choice.caption, "text")):
            kind = schema.field(name).type if name else pa.string()
            if not (name in classes or holds_text(kind) or (option == "--image" and holds_images(kind))):
                raise UserError(f"{file}: {option} {name}: expected {what}, found {kind}")
        return cls(**{**vars(choice), **_told(choice, images, texts), "classes": classes.get(choice.caption, ())})

    @classmethod
    def of_metadata(
        cls, file: str, columns: Sequence[str], image: str, caption: str, keep: tuple[str, ...]
    ) -> ColumnChoice:
        """Returns the choice among the columns of a metadata file of an image folder. Raises as `of_table`."""
        image, caption, keep = _named(file, columns, image, caption, keep)
        named = [name for name in columns if f"_{name}".lower().endswith(f"_{FILE_NAME}")]
        files = (image,) if image else tuple(named or _usual(FILE_NAMES, columns)[:1])
        if not files:
            raise UserError(f"{file}: no column {FILE_NAME} among {', '.join(columns)}: name one with --image")
        words = _words([name for name in columns if name not in files], caption)
        choice = cls(files[0], *words, keep, files)
        return cls(**{**vars(choice), **_told(choice, list(files), columns)})


def cell_text(value: object) -> str:
    """Returns a cell's text as it is; of a list, its first text; "" for anything else."""
    if isinstance(value, list):
        return next((text for text in value if isinstance(text, str)), "")
    return value if isinstance(value, str) else ""


def _named(
    file: str, columns: Sequence[str], image: str, caption: str, keep: tuple[str, ...]
) -> tuple[str, str, tuple[str, ...]]:
    """Returns the columns that the options name, as the table spells them. Raises UserError if one is not there."""
    found = []
    for option, name in (("--image", image), ("--caption", caption), *(("--keep", name) for name in keep)):
        column = column_named(name, columns) if name else ""
        if column is None:
            raise UserError(f"{file}: {option} {name}: no such column: {nearest(name, columns)}")
        found.append(column)
    return found[0], found[1], tuple(found[2:])


def _words(texts: Sequence[str], caption: str) -> tuple[str, str]:
    """Returns the columns of captions and licenses."""
    usual, licenses = caption_fields(texts), _usual(LICENSE_NAMES, texts)
    return caption or (usual[0] if usual else ""), licenses[0] if licenses else ""


def _usual(usual: Sequence[str], found: Sequence[str]) -> list[str]:
    """Returns those of `found` that have a usual name, the most usual first."""
    return sorted((name for name in found if bare_name(name) in usual), key=lambda name: usual.index(bare_name(name)))


def _told(choice: ColumnChoice, images: Sequence[str], texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the remarks: what was taken, and what was not although it could have been."""
    shown = choice.files or (choice.image,)
    captions = f"captions from {choice.caption!r}" if choice.caption else "no column of captions (--caption names one)"
    told = [f"images from {', '.join(map(repr, shown))}, {captions}"]
    others = [name for name in images if name not in shown]
    others += [name for name in caption_fields(texts) if name != choice.caption]
    left = [name for name in others if name not in (*choice.keep, *shown)]
    if left:
        told.append(f"not taken: {', '.join(map(repr, left))} (--caption, --image and --keep choose columns)")
    return {"remarks": ("; ".join(told),)}

"""A folder of images on this machine, with captions in .txt or .json files beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
TEXT_KEYS = ("text", "caption", "alt")
LICENCE_KEYS = ("licence", "license")


def list_images(folder: Path) -> list[Path]:
    """Returns the image files below `folder`, by relative path; hidden files and folders are left out."""
    return sorted(
        (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and _is_plain(path, folder)),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def read_folder(folder: Path) -> Iterator[SourceRow]:
    """Yields one row per image. "a.jpg" takes its text from "a.txt", or from "a.json" with its other fields.

    Raises UserError if there is no image, or a sidecar is not readable.
    """
    images = list_images(folder)
    if not images:
        raise UserError(f"{folder}: no images (looked for {' '.join(IMAGE_SUFFIXES)}, subfolders included)")
    root = folder.resolve()
    for path in images:
        name = f"{root.name}/{path.relative_to(folder).as_posix()}"
        text, licence, extra = _sidecar(path)
        url = (root / path.relative_to(folder)).as_uri()
        yield SourceRow(url=url, text=text, licence=licence, extra=extra, local=True, name=name)


def sidecars(path: Path) -> list[Path]:
    """Returns the caption files of an image that exist."""
    return [side for side in (path.with_suffix(".txt"), path.with_suffix(".json")) if side.is_file()]


def _sidecar(path: Path) -> tuple[str, str, dict[str, object]]:
    text, licence, extra = "", "", {}
    try:
        for side in sidecars(path):
            content = side.read_text(encoding="utf-8-sig")
            if side.suffix == ".txt":
                text = " ".join(content.split())
                continue
            document = json.loads(content)
            if not isinstance(document, dict):
                raise UserError(f"{side}: expected a JSON object, found {type(document).__name__}")
            text = text or _first_text(document, TEXT_KEYS)
            licence = _first_text(document, LICENCE_KEYS)
            extra = {k: v for k, v in document.items() if k not in (*TEXT_KEYS, *LICENCE_KEYS)}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: its caption file cannot be read: {error}") from error
    return text, licence, extra


def _first_text(document: dict[str, object], keys: tuple[str, ...]) -> str:
    return next((str(document[key]).strip() for key in keys if document.get(key)), "")


def _is_plain(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)

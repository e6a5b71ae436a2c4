"""Files that mention or show an image beside the data: logs, failure records, half-written files, previews, latents."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from x2i.crawl.planning.identity import url_host
from x2i.store import paths
from x2i.store.files.atomic import TEMPORARY_MARK, write_bytes
from x2i.store.tombstones import FOLDER, host_is_among
from x2i.takedown.journal import Journal

KNOWN = frozenset(
    {
        "images",
        "columns",
        "relations",
        "plans",
        "shards",
        "commits",
        "failures",
        "logs",
        "locks",
        "sightings",
        "rejected",
        "encoded",
        FOLDER,
    }
    | {paths.DATASET_FILE}
)
"""What belongs to a dataset, by name in its folder."""
PREVIEWS = ("sheet.png", "report.html", "gallery/index.html", "gallery/*/*")
"""Pictures and pages that `x2i build` makes of a finished dataset, and makes again when it is run again."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9_-]+")


def remove_half_written(root: Path) -> int:
    """Deletes what killed writers left anywhere in the dataset; nobody may be writing. Returns the number of files."""
    count = 0
    for path in list(root.rglob(f"*{TEMPORARY_MARK}*")):
        path.unlink(missing_ok=True)
        count += 1
    return count


def remove_previews(root: Path) -> list[str]:
    """Deletes the sheet, the report and the gallery that `x2i build` made. Returns their names."""
    removed = []
    for pattern in PREVIEWS:
        for path in sorted(root.glob(pattern)):
            if path.is_file():
                path.unlink()
                removed.append(path.relative_to(root).parts[0])
    return sorted(set(removed))


def remove_encoded(root: Path, shards: Collection[str]) -> int:
    """Deletes what `omnigen encode` made of these shards: latents show the image, prompts hold its caption.

    Returns the number of files. Records go first, so that whoever is killed here leaves nothing that counts as whole.
    """
    found = [path for path in (root / "encoded").glob("*/*") if path.stem in shards and path.is_file()]
    for path in sorted(found, key=lambda path: (path.suffix != ".json", path)):
        path.unlink(missing_ok=True)
    return len(found)


def may_still_show(root: Path) -> list[str]:
    """Returns what lies in the dataset's folder and is none of its own: it may show or hold what was taken down."""
    return sorted(
        f"{path.name}/" if path.is_dir() else path.name
        for path in root.iterdir()
        if path.name not in KNOWN and not (path.is_dir() and not any(p.is_file() for p in path.rglob("*")))
    )


def scrub_logs(root: Path, journal: Journal) -> int:
    """Removes the lines of logs that mention a removed image or its host. Returns how many lines that were."""
    count = 0
    mentions = Mentions(journal)
    for path in sorted((root / "logs").rglob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not mentions.are_in(_parsed(line))]
        count += len(lines) - len(kept)
        if kept and len(kept) < len(lines):
            write_bytes(path, b"".join(kept))
        elif len(kept) < len(lines):
            path.unlink()
    return count


def scrub_failures(root: Path, journal: Journal) -> int:
    """Deletes failure records of the partitions and shards concerned, and all that mention a removed image."""
    count = 0
    mentions = Mentions(journal)
    for path in sorted((root / "failures").glob("*/*.json")):
        if path.stem in journal.images or path.stem in journal.shards or mentions.are_in(_parsed(path.read_bytes())):
            path.unlink(missing_ok=True)
            count += 1
    return count


class Mentions:
    """Looks for the URLs, uids, keys, hashes and hosts of a takedown in the texts of a JSON document."""

    def __init__(self, journal: Journal) -> None:
        self._urls = frozenset(journal.urls)
        self._hosts = frozenset(journal.record.hosts)
        self._words = journal.names | frozenset(journal.record.sha256)

    def are_in(self, document: Any) -> bool:
        return any(self._are_in_text(text) for text in _texts(document))

    def _are_in_text(self, text: str) -> bool:
        if text in self._urls or not self._words.isdisjoint(_WORD.findall(text)):
            return True
        return any(self._is_url(url) for url in _URL.findall(text))

    def _is_url(self, url: str) -> bool:
        bare: Collection[str] = (url, url.rstrip(".,;:!?)]}"), url.split("#")[0])
        return not self._urls.isdisjoint(bare) or host_is_among(url_host(url), self._hosts)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode("utf-8", "replace")


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            yield from _texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from _texts(value)

"""The tombstone list: what was taken down from a dataset, so that nothing brings it back.

Each takedown leaves one record, takedowns/NNNNN.json, signed with who asked for it, when and why. It holds identities
and no contents: uids (digests of URLs), and the hosts and hashes that were named to find the images. URLs and captions
are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.store.files.atomic import write_json

FOLDER = "takedowns"
RECORD_VERSION = 1
PENDING, COMPLETE = "pending", "complete"
JOURNAL_SUFFIX = ".pending"


@dataclass(frozen=True)
class TakedownRecord:
    """One signed-off takedown.

    status: "pending" until every file is rewritten, then "complete". time: UTC, ISO 8601. uids: every source that may
    not come back. hosts: each with all below it. phashes: 16 hex digits each, with the distance in bits that counted as
    a match. removed: how many images and samples it removed.
    """

    status: str
    by: str
    reason: str
    time: str
    uids: tuple[str, ...]
    hosts: tuple[str, ...]
    sha256: tuple[str, ...]
    phashes: tuple[tuple[str, int], ...]
    removed: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        return {"format_version": RECORD_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TakedownRecord:
        """Raises KeyError, TypeError or ValueError on anything but what `as_json` gave."""
        if document["format_version"] != RECORD_VERSION:
            raise ValueError(f"format version {document['format_version']!r}")
        return cls(
            status=str(document["status"]),
            by=str(document["by"]),
            reason=str(document["reason"]),
            time=str(document["time"]),
            uids=tuple(map(str, document["uids"])),
            hosts=tuple(map(str, document["hosts"])),
            sha256=tuple(map(str, document["sha256"])),
            phashes=tuple((str(text), int(distance)) for text, distance in document["phashes"]),
            removed=dict(document["removed"]),
        )


@dataclass(frozen=True)
class Tombstones:
    """Everything that was taken down, pending takedowns included. Empty lists match nothing."""

    uids: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    phashes: tuple[tuple[int, int], ...] = ()

    @classmethod
    def load(cls, root: Path) -> Tombstones:
        """Reads the list of the dataset at `root`. Raises UserError if a record is damaged: it is never ignored."""
        records = [read_record(path) for path in record_files(root)]
        return cls(
            frozenset(uid for record in records for uid in record.uids),
            frozenset(host for record in records for host in record.hosts),
            frozenset(digest for record in records for digest in record.sha256),
            tuple(sorted({(int(text, 16), distance) for record in records for text, distance in record.phashes})),
        )

    def __bool__(self) -> bool:
        return bool(self.uids or self.hosts or self.sha256 or self.phashes)

    def covers_source(self, uid: str, host: str) -> bool:
        """Whether an image of this source may not be fetched."""
        return uid in self.uids or host_is_among(host, self.hosts)

    def covers_picture(self, sha256: str, phash: int) -> bool:
        """Whether a picture, by its bytes as fetched and by what it shows, may not be stored."""
        if sha256 in self.sha256:
            return True
        return any((phash ^ known).bit_count() <= distance for known, distance in self.phashes)


def host_is_among(host: str, hosts: Iterable[str]) -> bool:
    """Whether `host` is one of `hosts` or lies below one: img.example.org lies below example.org."""
    known = hosts if isinstance(hosts, frozenset) else frozenset(hosts)
    labels = host.lower().rstrip(".").split(".")
    return bool(known) and any(".".join(labels[start:]) in known for start in range(len(labels)))


def record_files(root: Path) -> list[Path]:
    """Returns the takedown records of a dataset, by number."""
    return sorted(path for path in (root / FOLDER).glob("*.json") if path.stem.isdigit())


def next_number(root: Path) -> str:
    """Returns the number of the next takedown: 00001, 00002, ..."""
    return f"{max((int(path.stem) for path in record_files(root)), default=0) + 1:05d}"


def record_file(root: Path, number: str) -> Path:
    return root / FOLDER / f"{number}.json"


def journal_file(root: Path, number: str) -> Path:
    """Returns the place of what a takedown needs to be finished; the file is there exactly while it is not."""
    return root / FOLDER / f"{number}{JOURNAL_SUFFIX}"


def pending_files(root: Path) -> list[Path]:
    """Returns the journals of takedowns that are not finished, by number."""
    return sorted((root / FOLDER).glob(f"*{JOURNAL_SUFFIX}"))


def refuse_pending(root: Path) -> None:
    """Raises UserError if a takedown was begun and not finished: nothing may be made from what it is removing."""
    for path in pending_files(root):
        remedy = f"run `x2i takedown {root}` first, which finishes it"
        raise UserError(f"{root}: takedown {path.stem} was begun and not finished: {remedy}")


def read_record(path: Path) -> TakedownRecord:
    """Raises UserError if the record is damaged."""
    try:
        return TakedownRecord.from_json(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged takedown record ({error!r}): restore it; without it, what was taken down could come back"
        ) from error


def write_record(root: Path, number: str, record: TakedownRecord) -> None:
    write_json(record_file(root, number), record.as_json())

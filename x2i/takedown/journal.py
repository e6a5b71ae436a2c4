"""The journal of a takedown that is not finished: what it removes, and the digests that files had before it.

It is written before anything is changed and deleted after everything is. So a takedown that was killed is finished by
running it again: each of its steps can be repeated, and what names an old digest is found by it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from x2i.errors import RunError
from x2i.store.files.atomic import write_json
from x2i.store.tombstones import TakedownRecord, journal_file


@dataclass(frozen=True)
class Journal:
    """number: of the record it belongs to. images: image partition -> keys. shards: name -> sample keys.

    urls: of these images, for finding them in logs; they are gone with the journal. tables: the columns' partitions and
    relations with rows about the images, as paths in the dataset. digests: name by which commits and plans refer to
    something that changes -> its digest before. plans: stage -> partition -> digest of its planned rows.
    """

    number: str
    record: TakedownRecord
    images: dict[str, list[str]]
    shards: dict[str, list[str]]
    urls: list[str]
    tables: list[str]
    digests: dict[str, str]
    plans: dict[str, dict[str, str]]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for keys in self.images.values() for key in keys)

    @property
    def names(self) -> frozenset[str]:
        """The keys of the images, their uids and the keys of their samples."""
        return self.keys | frozenset(self.record.uids) | {key for keys in self.shards.values() for key in keys}

    def changes(self, output: str) -> bool:
        """Whether the takedown changes a file of the dataset, given by its path there."""
        path = PurePosixPath(output)
        rewritten = {"images": self.images, "shards": self.shards}.get(path.parts[0], ())
        return path.stem in rewritten or output in self.tables


def write_journal(root: Path, journal: Journal) -> None:
    write_json(journal_file(root, journal.number), {**asdict(journal), "record": journal.record.as_json()})


def read_journal(path: Path) -> Journal:
    """Raises RunError if the journal is damaged."""
    try:
        document = json.loads(path.read_bytes())
        return Journal(**{**document, "record": TakedownRecord.from_json(document["record"])})
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: damaged journal of a takedown ({error!r}): delete it and ask for the takedown again"
        ) from error

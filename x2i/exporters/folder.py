"""The folder of an export: one record per shard, written after its files, so that a killed export goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.exporters.selection import SelectedShard
from x2i.store.files.atomic import remove_temporaries, write_json

FOLDER = ".x2i-export"
VERSION = 1


@dataclass(frozen=True)
class ExportFolder:
    """A folder that one export writes. format: its name, such as "omnigen-jsonl"."""

    root: Path
    format: str

    def claim(self) -> None:
        """Makes the folder this export's own. Raises UserError if it holds something else."""
        path = self.records / "export.json"
        document = {"format": self.format, "version": VERSION}
        if path.exists():
            found = json.loads(path.read_bytes())
            if found != document:
                raise UserError(f"{self.root}: holds an export of another kind ({found}): choose another folder")
        elif self.root.exists() and any(True for _ in self.root.iterdir()):
            raise UserError(f"{self.root}: is not empty and holds no export: choose another folder")
        else:
            write_json(path, document)
        remove_temporaries(self.records)

    @property
    def records(self) -> Path:
        return self.root / FOLDER

    def done(self, shard: SelectedShard) -> dict[str, Any] | None:
        """Returns what was recorded about a shard; None if it is still to do, or was made from something else."""
        path = self._record(shard.shard.name)
        if not path.exists():
            return None
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document if document["from"] == _origin(shard) else None

    def finish(self, shard: SelectedShard, facts: dict[str, Any]) -> None:
        """Records that every file of a shard is written. facts: what the closing documents need to know of it."""
        write_json(self._record(shard.shard.name), {"from": _origin(shard), **facts})

    def stale(self, shards: Sequence[SelectedShard]) -> Iterator[str]:
        """Yields the shards that were exported, but not as they are asked for now: their files would stay behind."""
        wanted = {entry.shard.name: _origin(entry) for entry in shards}
        for path in sorted(self.records.glob("*.json")) if self.records.exists() else ():
            name = path.name.removesuffix(".json")
            if name != "export" and json.loads(path.read_bytes())["from"] != wanted.get(name):
                yield name

    def _record(self, shard: str) -> Path:
        return self.records / f"{shard}.json"


def _origin(shard: SelectedShard) -> dict[str, Any]:
    return {"digest": shard.digest, "samples": shard.samples}

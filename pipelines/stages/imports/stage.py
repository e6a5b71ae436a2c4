"""An importing stage: reads the records of an importer, plans them, and writes partitions and lists of what failed."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from pipelines.engine.stage import Outcome, PlanItem, PlannedPartition
from x2i.counting import counted
from x2i.errors import UserError
from x2i.importers.base import Importer, ImportRecord, Makes, Rejected, Remark
from x2i.importers.locations import Location, LocationReader, location_states
from x2i.reasons import Dropped, Reason, Status
from x2i.store import Dataset
from x2i.store.commits import Counts, digest, list_commits
from x2i.store.files.atomic import write_bytes
from x2i.store.files.remote import dataset_path
from x2i.store.tombstones import Tombstones

REJECTED = "rejected"


@dataclass(frozen=True)
class ImportStage(ABC):
    """A source in the format of an importer -> what the subclass `makes`.

    path: of the source; where it lies decides no byte. label: distinguishes the imports into one dataset.
    """

    importer: Importer
    path: str
    label: str = ""

    makes: ClassVar[Makes]
    format_version = 2
    reads: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """import-<importer>-<label>, with "shards-" before the importer where shards are made."""
        kind = "shards-" if self.makes == "shards" else ""
        label = self.label or dataset_path(self.path).name.split(".")[0]
        return f"import-{kind}{slug(self.importer.name)}-{slug(label)}"

    @property
    def writes(self) -> str:
        return self.makes

    @property
    def source(self) -> Path:
        return dataset_path(self.path)

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return {"source": self.importer.digest(self.source)}

    def worker(self, root: Path) -> ImportWorker:
        return ImportWorker(root, self)

    @abstractmethod
    def config(self) -> Mapping[str, Any]: ...

    @abstractmethod
    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        """Yields the partitions, and counts beside them. Raises UserError if there are no records."""

    @abstractmethod
    def write(self, worker: ImportWorker, partition: str, rows: list[dict[str, Any]]) -> Written:
        """Writes one partition."""

    def counts(self, dataset: Dataset) -> Counts:
        """Returns what became of the records so far."""
        return sum((commit.counts for commit in list_commits(dataset.root, self.name)), Counts())

    def remarks(self, dataset: Dataset) -> list[str]:
        """Returns lines for people about what was looked for and not found, after a run."""
        counts = self.counts(dataset)
        lost = {**counts.filtered, **counts.failed}
        lines = []
        if lost:
            lines.append(f"what gave nothing is named with file, line and reason in {dataset.root / REJECTED}")
        if Reason.FILE_ERROR in lost:
            option = self.importer.root_option
            choice = f"{option} FOLDER names another" if option else "give the folder that holds them all as PATH"
            lines.append(f"files were looked for in {self.importer.root(self.source)} ({choice})")
        if Reason.URL_ONLY in lost:
            lines.append(counted(lost[Reason.URL_ONLY], "images are on the web: `x2i crawl` fetches them"))
        return lines

    def records(self) -> Iterator[ImportRecord | Rejected]:
        """Yields the importer's records; shows its remarks."""
        import typer

        found = False
        for record in self.importer.records(self.source):
            if isinstance(record, Remark):
                typer.secho(f"{self.name}: {record.text}", err=True)
                continue
            found = True
            yield record
        if not found:
            raise UserError(f"{self.path}: holds no records")

    def partition(
        self, name: str, rows: pa.Table, locations: Iterable[str], config: Mapping[str, Any]
    ) -> PlannedPartition:
        """Returns a planned partition that depends on the sizes of the files at these locations (JSON; "" for none)."""
        found = [Location.from_json(text) for text in locations if text]
        states = location_states({place.path for place in found if not place.is_url}, self.importer.root(self.source))
        return PlannedPartition(name, rows, config, {"files": digest(states)} if states else {})


@dataclass
class Written:
    """What became of a partition's rows. rejected: those that failed, for OUT/rejected/."""

    outputs: list[Path] = field(default_factory=list)
    digests: dict[Path, str] = field(default_factory=dict)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    ok: int = 0
    lost: dict[Status, Counter[str]] = field(default_factory=lambda: {s: Counter() for s in Status})

    def count(self, row: Mapping[str, Any], verdict: Dropped | None) -> None:
        """Counts one row. verdict: why nothing was made of it, None if something was."""
        if verdict is None:
            self.ok += 1
            return
        self.lost[verdict.status][str(verdict.reason)] += 1
        if verdict.reason is not Reason.TAKEN_DOWN:
            named = {"file": row["file"], "line": row["line"]}
            self.rejected.append({**named, "reason": str(verdict.reason), "detail": verdict.detail})

    def counts(self) -> Counts:
        filtered, failed = (dict(sorted(self.lost[status].items())) for status in (Status.FILTERED, Status.FAILED))
        return Counts(self.ok, filtered, failed)


class ImportWorker:
    """Reads the planned images of a partition, and writes what the stage makes of them and a list of what failed."""

    def __init__(self, root: Path, stage: ImportStage) -> None:
        import cv2

        cv2.setNumThreads(1)  # the engine runs one worker per CPU
        self.root, self._stage = root, stage
        self.reader = LocationReader(stage.importer.root(stage.source))
        self.tombstones = Tombstones.load(root)

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        written = self._stage.write(self, partition, rows.to_pylist())
        if written.rejected:
            path = self.root / REJECTED / f"{partition}.jsonl"
            write_bytes(path, "".join(f"{json.dumps(entry)}\n" for entry in written.rejected).encode())
            written.outputs.append(path)
        return Outcome(tuple(written.outputs), written.counts(), written.digests)


def slug(text: str) -> str:
    """Returns a text as part of a stage's name: a-z 0-9 _, 40 at most."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40] or "source"

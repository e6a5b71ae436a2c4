"""The annotating stage: plans one column partition per image partition, and fills it with an annotation's verdicts."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import Outcome, PlannedPartition
from pipelines.stages.decode_ahead import decoded
from x2i.annotate.base import Annotation, Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.errors import RunError, UserError
from x2i.models.backend import fetched_once
from x2i.reasons import Dropped, Reason, Status
from x2i.resources import Resources
from x2i.store import Dataset, paths
from x2i.store.columns import read_column, write_column
from x2i.store.commits import Counts, list_commits
from x2i.store.files.remote import append_log
from x2i.store.images import read_image_index

SORTED_BATCHES = 4
SORTED_BYTES = 128 << 20
"""Images sorted by shape before they are cut into batches: so many batches, of no more bytes than this."""
LOCATION = ("key", "data_offset", "data_size")
PIXEL_FIELDS = {"width", "height"}
"""Fields of the image index, beside status and LOCATION, that the tar of a partition decides."""
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class AnnotateStage:
    """images, and the columns that the annotation reads -> columns/<column>.

    column: the column's name; "" means the annotation's own. The stage is called like its column, so that two
    captioners stand side by side and one that is added makes no other stale.
    """

    annotation: Annotation
    column: str = ""

    @property
    def name(self) -> str:
        return self.column or self.annotation.name

    @property
    def format_version(self) -> int:
        return self.annotation.version

    @property
    def reads(self) -> tuple[str, ...]:
        return "images", *self.annotation.columns

    @property
    def writes(self) -> str:
        return self.name

    @property
    def resources(self) -> Resources:
        return self.annotation.resources

    @property
    def shares(self) -> str:
        """Stages that share a word run a partition together in one process: its images are decoded once for all."""
        return "decoded images"

    def config(self) -> Mapping[str, Any]:
        return self.annotation.config()

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return {name: digest for read in self._inputs(dataset).values() for name, digest in read.items()}

    def _inputs(self, dataset: Dataset) -> dict[str, dict[str, str]]:
        """Returns what is read of each image partition: partition -> name -> digest.

        That is the tar alone if it decides all that is read: corrected words do not make such a column stale.
        """
        only_pixels = PIXEL_FIELDS.issuperset(self.annotation.image_fields)
        read: dict[str, dict[str, str]] = {}
        for commit in dataset.image_commits():
            tar = f"images/{commit.partition}{paths.SHARD_SUFFIX}"
            whole = {f"images/{commit.partition}": commit.outputs_digest}
            read[commit.partition] = {tar: commit.outputs[tar]["sha256"]} if only_pixels else whole
        for column in self.annotation.columns:
            for commit in list_commits(dataset.root, column):
                read.setdefault(commit.partition, {})[f"{column}/{commit.partition}"] = commit.outputs_digest
        return read

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields the stored images of each image partition, in key order.

        Raises UserError if there are no images, or if a column that the annotation reads has not been made.
        """
        commits = dataset.image_commits()
        if not commits:
            raise UserError(f"{dataset.root}: no images yet: run `x2i crawl` first")
        inputs, config = self._inputs(dataset), self.config()
        for commit in commits:
            names = [f"{column}/{commit.partition}" for column in self.annotation.columns]
            if absent := [name for name in names if name not in inputs[commit.partition]]:
                raise UserError(
                    f"{dataset.root}: {self.name} reads {absent[0]}, which has not been made: make it first"
                )
            fields = ["status", *LOCATION, *self.annotation.image_fields]
            index = read_image_index(dataset.root, commit.partition, fields)
            rows = index.filter(pc.equal(index["status"], str(Status.OK))).drop_columns(["status"])
            yield PlannedPartition(commit.partition, rows, config, inputs[commit.partition])

    def worker(self, root: Path) -> AnnotateWorker:
        return AnnotateWorker(root, self)


class AnnotateWorker:
    """Holds the loaded annotator of one stage."""

    def __init__(self, root: Path, stage: AnnotateStage) -> None:
        import cv2

        cv2.setNumThreads(1)  # the engine runs one worker per CPU
        self.root, self.stage = root, stage
        fetched_once(stage.annotation)
        self.annotator: Annotator = stage.annotation.load()

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        (outcome,) = self.together([self], partition, [rows])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @staticmethod
    def together(
        workers: Sequence[AnnotateWorker], partition: str, rows: Sequence[pa.Table]
    ) -> list[Outcome | Exception]:
        """Runs one partition of several stages side by side: each image is decoded once and handed to all of them.

        rows: each worker's plan; all name the same images. Returns each worker's outcome, or the error that ended it.
        """
        started, root = time.perf_counter(), workers[0].root
        filling = [_Filling(worker, partition, planned) for worker, planned in zip(workers, rows, strict=True)]
        looks = any(worker.stage.annotation.pixels for worker in workers)
        places = rows[0].select(list(LOCATION)).to_pylist()
        with ThreadPoolExecutor(max(1, round(max(w.stage.resources.cpus for w in workers)))) as threads:
            pixels = decoded(root, partition, places, threads) if looks else iter([NO_PIXELS] * len(places))
            for number, (place, image) in enumerate(zip(places, pixels, strict=True)):
                for one in filling:
                    one.add(number, place["key"], image)
        return [_timed(one.finished(), started) for one in filling]


class _Filling:
    """One column partition in the making: batches images, asks the annotator, keeps rows and counts."""

    def __init__(self, worker: AnnotateWorker, partition: str, planned: pa.Table) -> None:
        self._worker, self._partition = worker, partition
        annotation = worker.stage.annotation
        self._annotation = annotation
        self._planned = planned.select([name for name in planned.column_names if name not in LOCATION]).to_pylist()
        self._total = planned.num_rows
        self._columns = {name: _rows_by_key(worker.root, name, partition) for name in annotation.columns}
        self._spec = annotation.spec_of(worker.annotator)
        self._stamp = annotation.stamp() if isinstance(annotation, ModelAnnotation) else {}
        self._nulls = dict.fromkeys(field.name for field in annotation.fields)
        self._waiting: list[tuple[int, StoredImage]] = []
        self._bytes = 0
        self._threads = ThreadPoolExecutor(annotation.batches_at_once)
        self._asked: deque[tuple[list[tuple[int, StoredImage]], Future[tuple[Sequence[Verdict], float]]]] = deque()
        self._known: dict[int, tuple[str, Verdict]] = {}
        self._kept = 0
        self._busy = 0.0
        self._rows: list[dict[str, Any]] = []
        self._lost: dict[Status, Counter[str]] = {Status.FILTERED: Counter(), Status.FAILED: Counter()}
        self._error: Exception | None = None

    def add(self, number: int, key: str, pixels: np.ndarray) -> None:
        if self._error is not None:
            return
        columns = {name: rows.get(key, ()) for name, rows in self._columns.items()}
        image = StoredImage(key, self._planned[number] if self._planned else {}, columns, pixels)
        self._waiting.append((number, image))
        self._bytes += pixels.nbytes
        size = self._annotation.batch_size
        full = SORTED_BATCHES * size if self._annotation.sorts_by_size else size
        if len(self._waiting) >= full or (len(self._waiting) >= size and self._bytes >= SORTED_BYTES):
            self._ask()

    def finished(self) -> Outcome | Exception:
        """Writes the column. Returns what it wrote, the annotator's busy seconds included, or the error."""
        self._ask()
        self._take(0)
        self._threads.shutdown()
        if self._error is not None:
            return self._error
        failed = self._lost[Status.FAILED]
        if failed[Reason.BACKEND_ERROR] == self._total > 1:
            return RunError(f"{self._worker.stage.name}: the backend failed on every image; see logs/")
        table = pa.Table.from_pylist(self._rows, schema=self._spec.schema)
        path = write_column(self._worker.root, self._worker.stage.name, self._partition, table, self._spec)
        filtered = self._lost[Status.FILTERED]
        ok = self._total - filtered.total() - failed.total()
        counts = Counts(ok, dict(sorted(filtered.items())), dict(sorted(failed.items())))
        busy = self._busy / self._annotation.batches_at_once
        read, written = (_total(table, name) for name in ("prompt_tokens", "answer_tokens"))
        busy = busy if isinstance(self._annotation, ModelAnnotation) else 0
        return Outcome((path,), counts, busy_seconds=busy, read_tokens=read, written_tokens=written)

    def _ask(self) -> None:
        """Hands the waiting images to the annotator in batches, and takes what it says until it may be asked again.

        Images of a batch are of like shape where that saves padding.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if self._annotation.sorts_by_size:
            waiting.sort(key=lambda one: (one[1].pixels.shape[0] / max(1, one[1].pixels.shape[1]), one[1].pixels.size))
        for start in range(0, len(waiting), self._annotation.batch_size):
            batch = waiting[start : start + self._annotation.batch_size]
            self._asked.append((batch, self._threads.submit(self._timed_verdicts, [image for _, image in batch])))
            self._take(self._annotation.batches_at_once - 1)

    def _take(self, left: int) -> None:
        """Keeps the verdicts on all batches but the last `left`, in the order of the images."""
        while len(self._asked) > left:
            batch, future = self._asked.popleft()
            try:
                verdicts, seconds = future.result()
            except Exception as error:  # noqa: BLE001  it ends this stage's partition, not that of those beside it
                self._error = self._error or error
                continue
            self._busy += seconds
            for (number, image), verdict in zip(batch, verdicts, strict=True):
                self._known[number] = (image.key, verdict)
            while self._kept in self._known:
                self._keep(*self._known.pop(self._kept))
                self._kept += 1

    def _timed_verdicts(self, batch: Sequence[StoredImage]) -> tuple[Sequence[Verdict], float]:
        started = time.perf_counter()
        return self._verdicts(batch), time.perf_counter() - started

    def _verdicts(self, batch: Sequence[StoredImage]) -> Sequence[Verdict]:
        """Asks for the whole batch; if that fails, for each image alone, so that one bad image costs itself."""
        try:
            return self._worker.annotator.annotate(batch)
        except (UserError, RunError):
            raise  # the backend says that it cannot work at all
        except Exception as error:  # noqa: BLE001  whatever a model's library raises
            if len(batch) > 1:
                return [verdict for image in batch for verdict in self._verdicts([image])]
            message = f"{type(error).__name__}: {error}"
            append_log(self._worker.root, self._worker.stage.name, {"key": batch[0].key, "error": message})
            return [Dropped(Reason.BACKEND_ERROR, message)]

    def _keep(self, key: str, verdict: Verdict) -> None:
        found = verdict if isinstance(verdict, Found) else _found(verdict, self._spec.rows == "one", self._nulls)
        self._rows += [{"key": key, **row, **self._stamp} for row in found.rows]
        if found.dropped is not None:
            self._lost[found.dropped.status][str(found.dropped.reason)] += 1


def _total(table: pa.Table, field: str) -> int:
    return int(pc.sum(table[field]).as_py() or 0) if field in table.schema.names else 0


def _timed(outcome: Outcome | Exception, started: float) -> Outcome | Exception:
    return replace(outcome, seconds=time.perf_counter() - started) if isinstance(outcome, Outcome) else outcome


def _found(verdict: Mapping[str, Any] | Dropped, one_row: bool, nulls: Mapping[str, Any]) -> Found:
    if isinstance(verdict, Dropped):
        return Found((nulls,) if one_row else (), verdict)
    return Found((verdict,))


def _rows_by_key(root: Path, column: str, partition: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in read_column(root, column, partition).to_pylist():
        found.setdefault(row["key"], []).append(row)
    return found

"""The stage that imports training samples into shards."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pipelines.engine.stage import PlanItem, PlannedPartition
from pipelines.stages.imports.stage import ImportStage, ImportWorker, Written, slug
from x2i.importers.base import ImportRecord, Makes, Rejected
from x2i.importers.samples import SampleKind, checked, import_sample, rejected_table, sample_table
from x2i.options import Option, as_config
from x2i.pairs.check import PairChecks
from x2i.reasons import DroppedError
from x2i.store import Dataset, paths
from x2i.store.commits import list_stages
from x2i.store.files.remote import list_files
from x2i.store.shards import shard_name, training_shard

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class ShardOutput:
    """How imported samples are stored."""

    shard_size: Annotated[int, Option("Samples per shard at most.", ge=1)] = 1000
    checks: PairChecks = field(default_factory=PairChecks)


@dataclass(frozen=True)
class ImportShards(ImportStage):
    """Training samples -> shards."""

    output: ShardOutput = field(default_factory=ShardOutput)

    makes: ClassVar[Makes] = "shards"

    def config(self) -> dict[str, Any]:
        return {**self.importer.config(), **as_config(self.output)}

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        """Yields ranges of records of one kind, as they fill; then what is left of each kind, and what is rejected."""
        held: dict[SampleKind, list[ImportRecord]] = {}
        rejected: list[Rejected] = []
        taken = self._others(dataset)
        numbers: defaultdict[tuple[str, int], Iterator[int]] = defaultdict(itertools.count)
        unreadable = 0

        def cut(kind: SampleKind) -> PlannedPartition:
            rows = sample_table(held.pop(kind))
            group = (kind.task, kind.num_inputs)
            name = next(name for n in numbers[group] if (name := shard_name(*group, n)) not in taken)
            places = (text for texts in rows["locations"].to_pylist() for text in texts)
            return self.partition(name, rows, places, self._partition_config())

        def cut_rejected() -> PlannedPartition:
            name = f"{UNREADABLE}-{slug(self.label or self.source.name)}-{unreadable:05d}"
            return self.partition(name, rejected_table(rejected), (), self._partition_config())

        for record in map(checked, self.records()):
            if isinstance(record, Rejected):
                rejected.append(record)
                if len(rejected) >= self.output.shard_size:
                    yield cut_rejected()
                    rejected, unreadable = [], unreadable + 1
                continue
            assert record.sample is not None
            kind = SampleKind.of(record.sample)
            held.setdefault(kind, []).append(record)
            if len(held[kind]) >= self.output.shard_size:
                yield cut(kind)
        for kind in sorted(held):
            yield cut(kind)
        if rejected:
            yield cut_rejected()

    def write(self, worker: ImportWorker, partition: str, rows: list[dict[str, Any]]) -> Written:
        made_by = (self.importer.name, self.importer.version)
        written, shard = Written(), None
        with ExitStack() as stack:
            for row in rows:
                try:
                    made = import_sample(row, worker.reader, worker.tombstones, made_by)
                    made = self.output.checks.check(*made) if self.output.checks.active else made
                except DroppedError as error:
                    written.count(row, error.verdict)
                    continue
                if shard is None:
                    shard = stack.enter_context(training_shard(worker.root, partition))
                shard.add(*made)
                written.count(row, None)
        if shard is not None:
            tar = paths.shard_tar(worker.root, partition)
            written.digests[tar] = shard.tar_sha256
            written.outputs += [tar, paths.shard_index(worker.root, partition)]
        return written

    def _partition_config(self) -> dict[str, Any]:
        stamp = {name: self.importer.config()[name] for name in ("importer", "importer_version")}
        return stamp | (as_config(self.output.checks) if self.output.checks.active else {})

    def _others(self, dataset: Dataset) -> set[str]:
        """Returns the names of the shards that other stages have committed."""
        stages = [stage for stage in list_stages(dataset.root) if stage != self.name]
        return {path.stem for stage in stages for path in list_files(dataset.root / "commits" / stage, ".json")}

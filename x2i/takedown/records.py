"""Commits and plan records after a takedown: they say what the files are, and refer to each other again.

A record that named the digest of something that changed names its digest now; what was stale before stays stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from x2i.reasons import Reason
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, Counts, describe_outputs, list_commits, list_stages, write_commit
from x2i.store.files.atomic import read_table
from x2i.store.images import read_image_index, record_from_row
from x2i.store.plans import PlanEntry, planned_stages, read_plan, write_plan_record
from x2i.store.stages import kind_of, table_of
from x2i.store.verify.checks import count_records
from x2i.tables import TableSpec
from x2i.takedown.journal import Journal
from x2i.takedown.plans import Planned
from x2i.takedown.tables import made_relation

SIGHTINGS = "sightings"
PlansAfter = Mapping[tuple[str, str], Planned]
"""(stage, partition) -> its planned rows."""


def digests_before(dataset: Dataset, journal: Journal) -> dict[str, str]:
    """Returns the digest of everything that the takedown changes, by the name that other records use."""
    return {
        name: digest
        for commit in _all_commits(dataset)
        if any(map(journal.changes, commit.outputs))
        for name, digest in _names(commit).items()
    }


def update_records(dataset: Dataset, journal: Journal, plans: PlansAfter) -> None:
    """Brings every commit and plan record up to date. Files and planned rows must have been rewritten before."""
    changed: dict[tuple[str, str], Commit] = {}
    after: dict[str, str] = {}
    for commit in _all_commits(dataset):
        if any(map(journal.changes, commit.outputs)):
            name = commit.stage, commit.partition
            changed[name] = _described(dataset, commit, is_planned=name in plans)
            after |= _names(changed[name])
    digests = {old: after[name] for name, old in journal.digests.items() if name in after}
    for commit in _all_commits(dataset):
        name = commit.stage, commit.partition
        updated = replace(changed.get(name, commit), inputs=_renewed(commit.inputs, digests))
        if name in plans and commit.plan == journal.plans[commit.stage][commit.partition]:
            updated = replace(updated, plan=plans[name].digest)
        if updated != commit:
            write_commit(dataset.root, updated)
    for stage in planned_stages(dataset.root):
        _update_plan(dataset, stage, journal, plans, digests)


def _update_plan(dataset: Dataset, stage: str, journal: Journal, plans: PlansAfter, digests: Mapping[str, str]) -> None:
    plan = read_plan(dataset.root, stage)
    if plan is None:
        return

    def updated(entry: PlanEntry) -> PlanEntry:
        entry = replace(entry, inputs=_renewed(entry.inputs, digests))
        now = plans.get((stage, entry.id))
        if now is None or entry.plan != journal.plans[stage][entry.id]:
            return entry
        return replace(entry, plan=now.digest, rows=now.rows, size=now.size)

    renewed = replace(plan, inputs=_renewed(plan.inputs, digests), entries=tuple(map(updated, plan.entries)))
    if SIGHTINGS in plan.counts:
        sightings = paths.sightings_file(dataset.root, stage)
        left = {SIGHTINGS: len(read_table(sightings, ["uid"])) if sightings.exists() else 0}
        renewed = replace(renewed, counts=_without_zeros({**plan.counts, **left}))
    if renewed != plan:
        write_plan_record(dataset.root, renewed)


def _names(commit: Commit) -> dict[str, str]:
    """Returns the digests under which other records may refer to this commit and to its outputs, each by a name."""
    whole = {f"{commit.stage}/{commit.partition}": commit.outputs_digest}
    return whole | {path: str(entry["sha256"]) for path, entry in commit.outputs.items()}


def _renewed(inputs: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    return {name: digests.get(digest, digest) for name, digest in inputs.items()}


def _described(dataset: Dataset, commit: Commit, *, is_planned: bool) -> Commit:
    """Returns `commit` with the outputs and counts that its files have."""
    there = tuple(dataset.root / output for output in commit.outputs if (dataset.root / output).exists())
    outputs = describe_outputs(dataset.root, there)
    return replace(commit, outputs=outputs, counts=_counts(dataset, commit, is_planned))


def _counts(dataset: Dataset, commit: Commit, is_planned: bool) -> Counts:
    """Returns what became of the partition's rows. Images and samples that were kept once now count as taken down.

    The total stays, and, except in a relation that counts anew, a removed image that the stage had dropped stays
    counted under its reason: nothing is left that would tell which reason that was.
    """
    root = dataset.root
    if kind_of(commit.outputs) == "images":
        return count_records([record_from_row(row) for row in read_image_index(root, commit.partition).to_pylist()])
    files = [output for output in commit.outputs if output.endswith(paths.INDEX_SUFFIX)]
    if len(files) != 1:
        return commit.counts
    if not (root / files[0]).exists():
        return _lost(commit.counts, commit.counts.ok)
    table = read_table(root / files[0])
    spec = TableSpec.of(table.schema) if table_of(files[0]) else None
    relation = made_relation(root, commit.stage, spec)
    if relation is not None and is_planned:
        images = read_table(paths.plan_file(root, commit.stage, commit.partition))
        if (counts := relation.count(dataset, images, table)) is not None:
            gone = {str(Reason.TAKEN_DOWN): commit.counts.total - counts.total}
            return counts + Counts(filtered=_without_zeros(gone))
    return _lost(commit.counts, commit.counts.ok - (spec.count_kept(table) if spec else _distinct_keys(table)))


def _distinct_keys(table: pa.Table) -> int:
    return len(pc.unique(table["key"]))


def _lost(counts: Counts, lost: int) -> Counts:
    """Returns `counts` with so many rows counted as taken down instead of as kept."""
    if lost <= 0:
        return counts
    taken_down = counts.filtered.get(str(Reason.TAKEN_DOWN), 0) + lost
    filtered = _without_zeros({**counts.filtered, str(Reason.TAKEN_DOWN): taken_down})
    return replace(counts, ok=counts.ok - lost, filtered=filtered)


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


def _all_commits(dataset: Dataset) -> Iterator[Commit]:
    for stage in list_stages(dataset.root):
        yield from list(list_commits(dataset.root, stage))

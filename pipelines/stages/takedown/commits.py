"""The ledger after a takedown: commits and plan records say what files are, and refer to each other again.

A record that named the digest of something that changed names its digest now; what was stale before stays stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.takedown.plans import Planned
from x2i.reasons import Reason
from x2i.store import paths
from x2i.store.commits import Commit, Counts, describe_outputs, list_commits, list_stages, write_commit
from x2i.store.dataset import is_ingest_stage
from x2i.store.files.atomic import read_table
from x2i.store.images import read_image_index, record_from_row
from x2i.store.plans import PlanEntry, planned_stages, read_plan, write_plan_record
from x2i.store.verify.checks import count_records
from x2i.takedown.journal import Journal

SIGHTINGS = "sightings"
PlansAfter = Mapping[tuple[str, str], Planned]
"""(stage, partition) -> its planned rows."""


def digests_before(root: Path, images: Mapping[str, object], shards: Mapping[str, object]) -> dict[str, str]:
    """Returns the digest of everything that a takedown of these may change, by the name that other records use."""
    return {
        name: digest
        for commit in _all_commits(root)
        if any(_changes(output, images, shards) for output in commit.outputs)
        for name, digest in _names(commit).items()
    }


def settle_ledger(root: Path, journal: Journal, plans: PlansAfter) -> None:
    """Brings every commit and plan record up to date. Files and planned rows must have been rewritten before."""
    fresh: dict[tuple[str, str], Commit] = {}
    after: dict[str, str] = {}
    for commit in _all_commits(root):
        if any(_changes(output, journal.images, journal.shards) for output in commit.outputs):
            settled = _described(root, commit, plans.get((commit.stage, commit.partition)))
            fresh[(commit.stage, commit.partition)] = settled
            after |= _names(settled)
    digests = {old: after[name] for name, old in journal.digests.items() if name in after}
    for stage in list_stages(root):
        for commit in list(list_commits(root, stage)):
            settled = fresh.get((stage, commit.partition), commit)
            planned = plans.get((stage, commit.partition))
            if planned is not None and commit.plan == journal.plans[stage][commit.partition]:
                settled = replace(settled, plan=planned.digest)
            settled = replace(settled, inputs=_renewed(commit.inputs, digests))
            if settled != commit:
                write_commit(root, settled)
    for stage in planned_stages(root):
        _settle_plan(root, stage, journal, plans, digests)


def _settle_plan(root: Path, stage: str, journal: Journal, plans: PlansAfter, digests: Mapping[str, str]) -> None:
    plan = read_plan(root, stage)
    if plan is None:
        return

    def settled(entry: PlanEntry) -> PlanEntry:
        entry = replace(entry, inputs=_renewed(entry.inputs, digests))
        now = plans.get((stage, entry.id))
        if now is None or entry.plan != journal.plans[stage][entry.id]:
            return entry
        return replace(entry, plan=now.digest, rows=now.rows, size=now.size)

    renewed = replace(plan, inputs=_renewed(plan.inputs, digests), entries=tuple(map(settled, plan.entries)))
    if SIGHTINGS in plan.counts:
        sightings = paths.sightings_file(root, stage)
        left = {SIGHTINGS: len(read_table(sightings, ["uid"])) if sightings.exists() else 0}
        renewed = replace(renewed, counts=_without_zeros({**plan.counts, **left}))
    if renewed != plan:
        write_plan_record(root, renewed)


def _changes(output: str, images: Mapping[str, object], shards: Mapping[str, object]) -> bool:
    path = PurePosixPath(output)
    if path.parts[0] in ("images", "columns"):
        return path.stem in images
    return path.parts[0] == "relations" or (path.parts[0] == "shards" and path.stem in shards)


def _names(commit: Commit) -> dict[str, str]:
    """Returns the names under which other records refer to this commit and its outputs, with the digests they hold."""
    whole = {f"{commit.stage}/{commit.partition}": commit.outputs_digest}
    if is_ingest_stage(commit.stage):
        whole[f"images/{commit.partition}"] = commit.outputs_digest
    return whole | {path: str(entry["sha256"]) for path, entry in commit.outputs.items()}


def _renewed(inputs: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    return {name: digests.get(digest, digest) for name, digest in inputs.items()}


def _described(root: Path, commit: Commit, planned: Planned | None) -> Commit:
    """Returns `commit` with the outputs and counts that its files have."""
    there = tuple(root / output for output in commit.outputs if (root / output).exists())
    return replace(commit, outputs=describe_outputs(root, there), counts=_counts(root, commit, planned))


def _counts(root: Path, commit: Commit, planned: Planned | None) -> Counts:
    """Returns what became of the partition's rows. Images and samples that were kept once now count as taken down.

    The total stays, and a removed image that the stage had dropped stays counted under its reason: nothing is left that
    would tell which reason that was. planned: the rows that are still planned, None if that is not known. An image that
    stays and has lost its only partner counts as without a pair.
    """
    if is_ingest_stage(commit.stage):
        return count_records([record_from_row(row) for row in read_image_index(root, commit.partition).to_pylist()])
    tables = [root / output for output in commit.outputs if output.endswith(paths.INDEX_SUFFIX)]
    if len(tables) != 1:
        return commit.counts
    if tables[0].stem == "duplicates":
        return _counts_of_duplicates(commit.counts, read_table(tables[0]))
    table = read_table(tables[0]) if tables[0].exists() else None
    lost = commit.counts.ok - (_kept(table) if table is not None else 0)
    if lost <= 0:
        return commit.counts
    alone = 0
    if planned is not None and table is not None and "key_a" in table.column_names:
        gone = commit.counts.total - planned.rows - commit.counts.filtered.get(str(Reason.TAKEN_DOWN), 0)
        alone = max(0, lost - gone)
    return _moved(commit.counts, {Reason.TAKEN_DOWN: lost - alone, Reason.NO_PAIR: alone})


def _kept(table: pa.Table) -> int:
    """Returns how many images or samples a column, relation or shard index keeps something about."""
    if "key_a" in table.column_names:
        both = pa.chunked_array([*table["key_a"].chunks, *table["key_b"].chunks], pa.string())
        return len(pc.unique(both))
    if "caption" in table.column_names:
        table = table.filter(pc.is_valid(table["caption"]))
    return len(pc.unique(table["key"]))


def _counts_of_duplicates(counts: Counts, table: pa.Table) -> Counts:
    doubled = pc.sum(table["is_duplicate"]).as_py() or 0
    gone = counts.total - table.num_rows
    filtered = {**counts.filtered, str(Reason.DUPLICATE): doubled, str(Reason.TAKEN_DOWN): gone}
    return replace(counts, ok=table.num_rows - doubled, filtered=_without_zeros(filtered))


def _moved(counts: Counts, reasons: Mapping[Reason, int]) -> Counts:
    """Returns `counts` with so many rows counted under these reasons instead of as kept."""
    more = {str(reason): counts.filtered.get(str(reason), 0) + count for reason, count in reasons.items()}
    kept = counts.ok - sum(reasons.values())
    return replace(counts, ok=kept, filtered=_without_zeros({**counts.filtered, **more}))


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


def _all_commits(root: Path) -> Iterator[Commit]:
    for stage in list_stages(root):
        yield from list_commits(root, stage)

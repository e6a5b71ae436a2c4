"""A takedown carried out: the journal and the tombstones first, then every file, the records last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from x2i.errors import RunError, UserError
from x2i.store import Dataset, paths
from x2i.store.commits import read_commit
from x2i.store.shards import Shard
from x2i.store.stages import ingest_stages
from x2i.store.tombstones import (
    COMPLETE,
    PENDING,
    TakedownRecord,
    journal_file,
    next_number,
    pending_files,
    write_record,
)
from x2i.takedown.derived_files import (
    may_still_show,
    remove_encoded,
    remove_half_written,
    remove_previews,
    scrub_failures,
    scrub_logs,
)
from x2i.takedown.find import Findings, find
from x2i.takedown.journal import Journal, read_journal, write_journal
from x2i.takedown.plans import plan_digests, rewrite_plans, rewrite_sightings
from x2i.takedown.records import digests_before, update_records
from x2i.takedown.request import KINDS, Request
from x2i.takedown.rewrite import rewrite_images, rewrite_shard
from x2i.takedown.tables import rewrite_rows, tables_about


def take_down(
    dataset: Dataset, request: Request, *, by: str, reason: str, keep_out: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Finishes takedowns that were killed, then carries out `request`. Returns a summary of JSON values.

    Nothing else may write to the dataset meanwhile. Raises UserError for a request without anything to look for or
    without a signature.
    """
    root = dataset.root
    pending = [read_journal(path) for path in pending_files(root)]
    if not request and not pending:
        raise UserError(f"takedown: say what to take down: --{', --'.join(KINDS)} or --from FILE")
    if request and not dry_run and not (by.strip() and reason.strip()):
        raise UserError("takedown: --by and --reason are needed: the record says who signs for it, and why")
    if dry_run and pending:
        raise UserError(f"{root}: takedown {pending[0].number} is not finished: run `x2i takedown {root}` first")
    previews = [name for journal in pending for name in execute(dataset, journal)]
    found = find(root, request)
    number = None
    if (found or (keep_out and request)) and not dry_run:
        journal = start(dataset, request, found, by, reason)
        previews += execute(dataset, journal)
        number = journal.number
    return {
        "finished": [journal.number for journal in pending],
        "takedown": number,
        "dry_run": dry_run,
        "deleted_previews": previews,
        **found.summary(),
        "may_still_show": may_still_show(root) if found or pending else [],
    }


def start(dataset: Dataset, request: Request, found: Findings, by: str, reason: str) -> Journal:
    """Writes the journal of a takedown; from then on it can be finished, and no stage runs before it is."""
    record = TakedownRecord(
        status=PENDING,
        by=by,
        reason=reason,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        uids=tuple(sorted(found.uids | request.source_uids)),
        hosts=tuple(sorted(request.hosts)),
        sha256=tuple(sorted(request.sha256)),
        phashes=tuple((f"{phash:016x}", request.distance) for phash in sorted(request.phashes)),
        removed={"images": found.stored, "samples": found.samples},
    )
    journal = Journal(
        number=next_number(dataset.root),
        record=record,
        images=found.images,
        shards=found.shards,
        urls=sorted(found.urls | request.urls),
        tables=list(tables_about(dataset.root, found.keys)),
        digests={},
        plans=plan_digests(dataset.root, found.images),
    )
    journal = replace(journal, digests=digests_before(dataset, journal))
    write_journal(dataset.root, journal)
    return journal


def execute(dataset: Dataset, journal: Journal) -> list[str]:
    """Does everything that `journal` says, whatever of it is done already. Returns the names of deleted previews."""
    root = dataset.root
    write_record(root, journal.number, journal.record)
    remove_half_written(root)
    _rewrite_images(root, journal.images)
    for table in journal.tables:
        rewrite_rows(dataset, table, journal.keys)
    for name, keys in journal.shards.items():
        rewrite_shard(Shard(paths.shard_tar(root, name)), keys)
    remove_encoded(root, journal.shards)
    rewrite_sightings(root, journal)
    update_records(dataset, journal, rewrite_plans(root, journal))
    scrub_failures(root, journal)
    scrub_logs(root, journal)
    previews = remove_previews(root) if journal.images or journal.shards else []
    write_record(root, journal.number, replace(journal.record, status=COMPLETE))
    journal_file(root, journal.number).unlink()
    return previews


def _rewrite_images(root: Path, images: Mapping[str, list[str]]) -> None:
    stages = ingest_stages(root)
    for partition, keys in images.items():
        try:
            rewrite_images(root, partition, keys)
        except (RunError, UserError):
            if any(read_commit(root, stage, partition) for stage in stages):
                raise
            # A crawl that was killed left a tar and an index that do not belong together: it writes both anew.
            paths.image_tar(root, partition).unlink(missing_ok=True)
            paths.image_index(root, partition).unlink(missing_ok=True)

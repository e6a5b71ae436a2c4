"""Carrying out a takedown: the journal and the tombstones first, then every file, the ledger last."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipelines.stages.takedown.commits import digests_before, settle_ledger
from pipelines.stages.takedown.duplicates import rewrite_duplicates
from pipelines.stages.takedown.plans import plan_digests, rewrite_plans, rewrite_sightings
from x2i.errors import UserError
from x2i.store import paths
from x2i.store.commits import read_commit
from x2i.store.dataset import ingest_stages
from x2i.store.shards import Shard
from x2i.store.tombstones import COMPLETE, PENDING, TakedownRecord, journal_file, next_number, write_record
from x2i.takedown.derived_files import remove_drawings, remove_encoded, remove_half_written, scrub_failures, scrub_logs
from x2i.takedown.find import Findings
from x2i.takedown.journal import Journal, write_journal
from x2i.takedown.request import Request
from x2i.takedown.rewrite import rewrite_images, rewrite_rows, rewrite_shard


def begin(root: Path, request: Request, found: Findings, by: str, reason: str) -> Journal:
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
        number=next_number(root),
        record=record,
        images=found.images,
        shards=found.shards,
        urls=sorted(found.urls | request.urls),
        digests=digests_before(root, found.images, found.shards),
        plans=plan_digests(root, found.images),
    )
    write_journal(root, journal)
    return journal


def carry_out(root: Path, journal: Journal) -> list[str]:
    """Does everything that `journal` says, whatever of it is done already. Returns the names of deleted drawings."""
    write_record(root, journal.number, journal.record)
    remove_half_written(root)
    for partition, keys in journal.images.items():
        _rewrite_images(root, partition, keys)
        for path in sorted((root / "columns").glob(f"*/{partition}{paths.INDEX_SUFFIX}")):
            rewrite_rows(path, journal.keys, journal.uids)
    rewrite_duplicates(root, journal.keys)
    for path in sorted((root / "relations").glob(f"*{paths.INDEX_SUFFIX}")):
        rewrite_rows(path, journal.keys, journal.uids)
    for name, keys in journal.shards.items():
        rewrite_shard(Shard(paths.shard_tar(root, name)), keys)
    remove_encoded(root, journal.shards)
    rewrite_sightings(root, journal)
    settle_ledger(root, journal, rewrite_plans(root, journal))
    scrub_failures(root, journal)
    scrub_logs(root, journal)
    drawings = remove_drawings(root) if journal.images or journal.shards else []
    write_record(root, journal.number, replace(journal.record, status=COMPLETE))
    journal_file(root, journal.number).unlink()
    return drawings


def _rewrite_images(root: Path, partition: str, keys: list[str]) -> None:
    try:
        rewrite_images(root, partition, keys)
    except UserError:
        if any(read_commit(root, stage, partition) for stage in ingest_stages(root)):
            raise
        # A crawl that was killed left a tar and an index that do not belong together: it writes both anew.
        paths.image_tar(root, partition).unlink(missing_ok=True)
        paths.image_index(root, partition).unlink(missing_ok=True)

"""The final results of an earlier crawl of a partition, kept when its transient failures are tried again."""

from __future__ import annotations

from pathlib import Path

from x2i.crawl.http.outcome import TRANSIENT_REASONS
from x2i.crawl.partition import Crawled, PlanRow
from x2i.reasons import Reason, Status
from x2i.store import paths
from x2i.store.commits import Commit
from x2i.store.files.tar import member_at, read_range
from x2i.store.images import extension, read_image_index, record_from_row


def has_transient_failures(commit: Commit) -> bool:
    """Whether a committed partition holds rows that failed for a reason that may have passed."""
    return any(Reason(name) in TRANSIENT_REASONS for name in commit.counts.failed)


def final_results(root: Path, partition: str, rows: list[PlanRow]) -> dict[str, Crawled]:
    """Returns, by key, the results in the image store that are final and belong to `rows`.

    A stored image counts only if the tar still has it where the index says: a run that was killed between writing the
    tar and its index leaves offsets that mean nothing.
    """
    index, tar = paths.image_index(root, partition), paths.image_tar(root, partition)
    if not (index.exists() and tar.exists()):
        return {}
    planned = {row.key: row for row in rows}
    found: dict[str, Crawled] = {}
    for values in read_image_index(root, partition).to_pylist():
        record = record_from_row(values)
        row = planned.get(record.key)
        if row is None or (row.uid, row.url) != (record.uid, record.url) or record.reason in TRANSIENT_REASONS:
            continue
        data = None
        if record.status is Status.OK:
            member = member_at(tar, record.data_offset)
            name = f"{record.key}.{extension(record.format)}"
            if member is None or (member.name, member.size) != (name, record.data_size):
                continue
            data = read_range(tar, record.data_offset, record.data_size)
        found[record.key] = (record, data)
    return found

"""Which samples of which shards are exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.store.reshard import shard_batches, source_digests, source_shards
from x2i.store.shards import Shard


@dataclass(frozen=True)
class SelectedShard:
    """The first `samples` samples of a shard that has `of`. digest: of the shard's bytes, as far as it is known."""

    shard: Shard
    task: str
    samples: int
    of: int
    digest: str

    @property
    def is_whole(self) -> bool:
        return self.samples == self.of

    def rows(self) -> list[dict[str, Any]]:
        """Returns the index rows of the selected samples, with the fields that `read_members` wants."""
        rows: list[dict[str, Any]] = []
        for table in shard_batches(self.shard):
            rows += table.slice(0, self.samples - len(rows)).to_pylist()
        return [{"source": 0, "shard": self.shard.name, **row} for row in rows]


def select_shards(source: Path, tasks: Sequence[str] = (), limit: int | None = None) -> list[SelectedShard]:
    """Returns what to export of `source` (a dataset, a folder of shards or one shard), by shard name.

    tasks: only these; () means all. limit: at most the first so many samples of every task.
    Raises UserError if there are no shards, or no samples of a task.
    """
    digests = source_digests(source)
    taken: Counter[str] = Counter()
    selected = []
    for shard in source_shards(source):
        rows, task = _measured(shard)
        wanted = rows if limit is None else min(rows, limit - taken[task])
        taken[task] += 0 if rows == 0 else max(0, wanted)
        if wanted > 0 and (not tasks or task in tasks):
            selected.append(SelectedShard(shard, task, wanted, rows, digests[shard.name]))
    absent = [task for task in tasks if task not in taken]
    if absent or not selected:
        there = ", ".join(sorted(task for task in taken if task)) or "none"
        raise UserError(f"{source}: no samples of task {absent[0] if absent else '?'}; there are: {there}")
    return selected


def _measured(shard: Shard) -> tuple[int, str]:
    """Returns how many samples a shard has, and their task ("" if it has none)."""
    tables = [shard.index(["task"])] if shard.index_path.exists() else list(shard_batches(shard))
    rows = sum(table.num_rows for table in tables)
    return rows, tables[0]["task"][0].as_py() if rows else ""

"""An exporter: training shards are written one by one in a format of others, so that a killed export goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from x2i.errors import UserError
from x2i.exporters.folder import ExportFolder
from x2i.exporters.selection import SelectedShard

OnShard = Callable[[SelectedShard], None]


class Exporter(ABC):
    """The base of exporters. A subclass is a frozen dataclass: its fields are the options of the format.

    title: one line that says what is written.
    """

    title: ClassVar[str]

    @abstractmethod
    def write_shard(self, folder: ExportFolder, shard: SelectedShard) -> dict[str, Any]:
        """Writes the files of a shard below `folder.root`. Returns, as JSON values, what `finish` needs to know of it.

        The files depend on the shard and the options alone: after a kill the shard is written again.
        """

    @abstractmethod
    def finish(self, folder: ExportFolder, shards: Sequence[SelectedShard], source: Path) -> list[Path]:
        """Writes the files that speak of all shards, in `shards`' order, and returns their paths.

        source: the dataset or folder of shards. `folder.done(shard)` is what `write_shard` returned.
        """

    def write(
        self, source: Path, to: ExportFolder, shards: Sequence[SelectedShard], on_shard: OnShard | None = None
    ) -> list[Path]:
        """Writes `shards` of `source`, except those that `to` has, and what speaks of all. Returns `finish`'s paths.

        on_shard is called after each. Raises UserError if the folder holds something else.
        """
        to.claim()
        stale = list(to.stale(shards))
        if stale:
            raise UserError(
                f"{to.root}: holds {len(stale)} shards that were exported from other data or with other options, "
                f"such as {stale[0]}: export into another folder, or delete this one first"
            )
        for shard in shards:
            if to.done(shard) is None:
                to.finish(shard, self.write_shard(to, shard))
                if on_shard is not None:
                    on_shard(shard)
        return self.finish(to, shards, source)

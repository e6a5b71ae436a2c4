"""Fetches the shards of a store that fit into the cache while training already runs, in a thread of its own.

Nothing waits for it: what is not there yet is read from the store range by range. The ranks of a machine share the
work, since a shard that another process is fetching is passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from x2i.errors import RunError, UserError
from x2i.store.files.cache import FileCache, StoredFile


class ShardPrefetcher:
    """Fetches `files` into `cache`, in order, between `start` and `stop`."""

    def __init__(self, cache: FileCache, files: Sequence[StoredFile]) -> None:
        self._cache, self._files = cache, files
        self._stopped = threading.Event()
        self._error: UserError | RunError | None = None
        self._thread = threading.Thread(target=self._fill, name="cache prefetcher", daemon=True)

    def start(self) -> None:
        """Begins to fetch."""
        self._thread.start()

    def stop(self) -> None:
        """Fetches no further shard; does not wait for the one on its way, which is whole in the cache or not at all."""
        self._stopped.set()

    def wait(self) -> None:
        """Waits until every shard that fits is there. Raises like `check`."""
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raises what went wrong if a shard could not be fetched, after several attempts."""
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        try:
            for file in self._files:
                if self._stopped.is_set():
                    return
                self._cache.fetch(file, wait=False)
        except (UserError, RunError) as error:
            self._error = error

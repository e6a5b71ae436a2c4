"""A DuckDB database that lives as long as a block, holds little in memory, and spills to a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@contextmanager
def scratch_database(memory: str = "256MB") -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens an empty database on disk; `memory` is what it may hold, in DuckDB's spelling. Deletes it at the end."""
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="x2i-") as folder,
        duckdb.connect(str(Path(folder) / "scratch.duckdb"), config={"memory_limit": memory}) as database,
    ):
        database.execute("SET enable_progress_bar = false")  # it would print among a command's own words
        yield database

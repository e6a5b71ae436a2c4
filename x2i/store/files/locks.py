"""Where the lock files of a dataset lie: in it, or on this machine if the dataset is on a store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from x2i.store.files.cache import cache_folder
from x2i.store.files.remote import is_remote


def lock_file(root: Path, name: str) -> Path:
    """Returns the local file whose lock guards `name` in the dataset at `root`."""
    if not is_remote(root):
        return root / "locks" / f"{name}.lock"
    return cache_folder() / "locks" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}-{name}.lock"

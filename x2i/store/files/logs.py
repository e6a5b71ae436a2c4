"""What happened to a dataset, line by line: logs/*.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from x2i.store import paths
from x2i.store.files.remote import append_line


def append_log(root: Path, log: str, document: Mapping[str, Any]) -> None:
    """Adds one line of JSON to the log called `log` of the dataset at `root`."""
    append_line(paths.log_file(root, log), json.dumps(document, ensure_ascii=False))

"""What happened to a dataset, line by line: logs/*.jsonl."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from x2i.store import paths
from x2i.store.files.remote import is_remote


def append_log(root: Path, log: str, document: Mapping[str, Any]) -> None:
    """Adds one line of JSON to the log called `log` of the dataset at `root`.

    The line is a single write, so that lines of several processes do not mix. A store cannot append: there, each line
    becomes a file of its own in a folder, named by the clock.
    """
    path = paths.log_file(root, log)
    line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
    if is_remote(path):
        path = path.with_suffix("") / f"{time.time_ns()}-{secrets.token_hex(4)}.jsonl"
        path.write_bytes(line)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as stream:
        stream.write(line)

"""What lies in a checkpoint's folder, and whether all of it is as it was written: sizes and sha256 in `files.json`.

Every rank sums up the files that it wrote, as DCP names them after ranks; the first one also those without a rank. On
loading each rank looks at its share again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TypedDict

from omnigen.train.parallel import Ranks
from x2i.errors import RunError, UserError
from x2i.store.commits import file_digest

MARKER, STATE_FILE, FILES = "COMPLETE", "state.json", "files.json"
NAME = re.compile(r"step-(\d{7,})")
OF_A_RANK = re.compile(r"__(\d+)_\d+\.distcp")


class FileEntry(TypedDict):
    """What a file was when it was written."""

    bytes: int
    sha256: str


def checkpoint_name(step: int) -> str:
    """Returns the name of the folder of a checkpoint after `step` steps."""
    return f"step-{step:07d}"


def checkpoint_step(checkpoint: Path) -> int:
    """Returns the number of steps done at a checkpoint, by the name of its folder. Raises UserError for any other."""
    named = NAME.fullmatch(checkpoint.name)
    if named is None:
        raise UserError(f"{checkpoint}: not the name of a checkpoint, such as step-0000500")
    return int(named[1])


def all_checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints in a run's folder of checkpoints, whole or not, oldest first; nothing else there."""
    found = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=checkpoint_step)


def complete_checkpoints(folder: Path) -> list[Path]:
    """Returns those that were written to their end, oldest first."""
    return [path for path in all_checkpoints(folder) if (path / MARKER).is_file()]


def written_by(checkpoint: Path, rank: int) -> dict[str, FileEntry]:
    """Returns the entries in `files.json` of the files that a rank wrote, by name."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(checkpoint.iterdir())
        if path.name not in (MARKER, FILES) and _rank_of(path.name) == rank
    }


def require_undamaged(checkpoint: Path, ranks: Ranks) -> None:
    """Raises RunError, on every rank, if a file of a complete checkpoint is not what was written."""
    try:
        written: dict[str, FileEntry] = json.loads((checkpoint / FILES).read_text())
        share = list(written.items())[ranks.rank :: ranks.world]
        problems = [problem for name, entry in share if (problem := _problem(checkpoint / name, entry))]
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        problems = [f"{FILES} cannot be read"]
    if problems := ranks.gather(problems):
        older = [path for path in complete_checkpoints(checkpoint.parent) if path.name < checkpoint.name]
        remedy = (
            f"go back with --resume {older[-1]}" if older else "there is no older one; begin anew with --out elsewhere"
        )
        raise RunError(f"{checkpoint}: damaged: {'; '.join(dict.fromkeys(problems))}. Restore it, or {remedy}")


def _problem(path: Path, entry: FileEntry) -> str:
    try:
        found = path.stat().st_size
        if found != entry["bytes"]:
            return f"{path.name} has {found} bytes, {entry['bytes']} were written"
        return "" if file_digest(path) == entry["sha256"] else f"{path.name} does not hold what was written"
    except OSError as error:
        return f"{path.name}: {error.strerror or error}"


def _rank_of(name: str) -> int:
    of_a_rank = OF_A_RANK.fullmatch(name)
    return int(of_a_rank[1]) if of_a_rank else 0

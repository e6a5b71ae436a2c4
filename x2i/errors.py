"""Errors whose message is for the user: what was found, where, what was expected, what to do."""

from __future__ import annotations

import re

_DATASET_FILE = re.compile(
    r"[^'\"]*?(?:images|columns/\w+|relations|shards|plans/[\w-]+|sightings)/[^'\"/]+\.(?:parquet|tar)"
)
REMEDY = "`x2i verify DATASET` names what is wrong, and with --repair it mends what can be made again"


class UserError(Exception):
    """Bad usage or bad input: a wrong option, a missing file, a broken configuration. Exit code 2."""


class RunError(Exception):
    """Something failed while running: damaged data, a full disk, a diverged loss, a lost server. Exit code 1."""


EXTRAS = {
    "torch": "train",
    "tensorboard": "train",
    "tokenizers": "train",
    "ray": "ray",
    "skimage": "demo",
    "transformers": "models",
    "huggingface_hub": "models",
    "jsonschema": "models",
    "diffusers": "models",
    "open_clip": "models",
    "peft": "models",
    "av": "video",
    "datasets": "datasets",
    "gradio": "ui",
    "bitsandbytes": "quant",
}
"""Optional package -> the extra of x2i that brings it."""


def missing_extra(error: ModuleNotFoundError, what: str) -> UserError | None:
    """Returns the error that names the extra to install, None if the absent module is not part of one.

    what: the command or function that needed the module.
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return UserError(f"{what} needs {package}, which is not installed: pip install 'x2i[{EXTRAS[package]}]'")


def damaged_file(error: Exception) -> RunError | None:
    """Returns the error that names a dataset's file which is damaged or missing, None if `error` is about none.

    error: of pyarrow or DuckDB, which name the file in their messages, or a FileNotFoundError.
    """
    library = type(error).__module__.partition(".")[0]
    found = _DATASET_FILE.search(str(error))
    if found is None:
        return None
    if isinstance(error, FileNotFoundError):
        return RunError(f"{found[0]}: is missing: {REMEDY}")
    if library in ("pyarrow", "duckdb", "_duckdb"):
        return RunError(f"{found[0]}: is damaged: {REMEDY}")
    return None

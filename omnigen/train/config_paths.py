"""Makes the paths in a training configuration absolute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WITH_FOLDER = ("sdxl", "hf", "words")
"""Codecs and tokenizers whose argument is a folder, or a hub id."""


def anchor_paths(document: dict[str, Any], folder: Path) -> None:
    """Makes paths absolute, but for URLs: data.shards, data.class_shards, data.cache_dir, model.init, the folders of
    codec and tokenizer, and the input images of log.prompts.

    Leaves alone what has a wrong type, which validation reports, and names that may be a hub id.
    """
    data, model = document.get("data"), document.get("model")
    for name in ("shards", "class_shards"):
        if isinstance(data, dict) and isinstance(data.get(name), str):
            data[name] = [data[name]]
        if isinstance(data, dict) and isinstance(data.get(name), list):
            data[name] = [_anchored(item, folder) for item in data[name]]
    if isinstance(data, dict) and isinstance(data.get("cache_dir"), str):
        data["cache_dir"] = _anchored(data["cache_dir"], folder)
    if isinstance(model, dict) and isinstance(model.get("init"), str):
        model["init"] = _anchored(model["init"], folder)
    log = document.get("log")
    for prompt in log["prompts"] if isinstance(log, dict) and isinstance(log.get("prompts"), list) else ():
        if isinstance(prompt, dict) and isinstance(prompt.get("input_images"), list):
            prompt["input_images"] = [_anchored(item, folder) for item in prompt["input_images"]]
    for name in ("codec", "tokenizer"):
        if isinstance(model, dict) and isinstance(model.get(name), str):
            model[name] = _anchored_name(model[name], folder)


def _anchored_name(name: str, folder: Path) -> str:
    """Returns `sdxl:FOLDER` or `hf:FOLDER` with an absolute folder, if there is that folder or it begins with a dot."""
    family, _, path = name.partition(":")
    is_folder = path.startswith(("./", "../")) or (folder / path).is_dir()
    return f"{family}:{_anchored(path, folder)}" if family in WITH_FOLDER and path and is_folder else name


def _anchored(path: Any, folder: Path) -> Any:
    return str((folder / path).resolve()) if isinstance(path, str) and "://" not in path else path

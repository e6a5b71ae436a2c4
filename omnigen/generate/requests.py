"""What is to be generated: a prompt with its input images and options, from the command line or a JSONL file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnigen.generate.options import GenerationOptions
from x2i.errors import UserError
from x2i.options import check
from x2i.settings import from_mapping


@dataclass(frozen=True)
class Request:
    """A prompt, the files of its input images, and how to sample; options.seed is that of the first image."""

    prompt: str
    images: tuple[Path, ...]
    options: GenerationOptions


def read_requests(path: Path, options: GenerationOptions) -> list[Request]:
    """Reads one JSON object a line: prompt, input_images (paths, relative to the file) and any option by name.

    options: for what a line does not say. Raises UserError naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {path}: cannot be read: {error}") from error
    requests = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            requests.append(_parse(line, f"--prompts {path}:{number}", path.parent, options))
    if not requests:
        raise UserError(f"--prompts {path}: holds no prompts; expected a JSON object a line, with the key prompt")
    return requests


def _parse(line: str, where: str, folder: Path, options: GenerationOptions) -> Request:
    try:
        document: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("prompt"), str):
        raise UserError(f"{where}: expected a JSON object with the key prompt")
    images = document.pop("input_images", [])
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise UserError(f"{where}: input_images: found {images!r}, expected a list of paths")
    prompt = document.pop("prompt")
    own = from_mapping(GenerationOptions, {**asdict(options), **document}, where)
    check(own, where)
    return Request(prompt, tuple(folder / image for image in images), own)

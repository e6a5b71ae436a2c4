"""The files that stand beside a network's weights: its tokenizer's, its VAE's, and what makes a diffusers pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnigen.tokenizer import WORDS
from omnigen.weights.formats import (
    CONFIG_FILE,
    INSIDE,
    PIPELINE_FILE,
    SCHEDULER_FILE,
    Description,
    pipeline_document,
    scheduler_document,
)
from omnigen.weights.json_files import read_document
from x2i.errors import UserError
from x2i.store.files.atomic import atomic_file, write_json

TOKENIZER_FILES = (
    "added_tokens.json", "chat_template.jinja", "merges.txt", "special_tokens_map.json", "tokenizer.json",
    "tokenizer.model", "tokenizer_config.json", "vocab.json",
)  # fmt: skip
REPAIR = "copy the file again, or remove it"
VAE_SUFFIXES = (".json", ".safetensors")


@dataclass(frozen=True)
class SideFiles:
    """Files to copy along; empty where there are none.

    tokenizer_kind: the model_type in the config.json beside the tokenizer: transformers chooses its class by that.
    """

    tokenizer: tuple[Path, ...] = ()
    vae: tuple[Path, ...] = ()
    tokenizer_kind: str | None = None

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in (*self.tokenizer, *self.vae))


def find_side_files(description: Description) -> SideFiles:
    """Returns the files of the tokenizer and the VAE that the description names, if they are on this machine."""
    tokenizer, vae = _tokenizer_folder(description), _folder_of(description.codec, "sdxl")
    if vae is not None and (vae / "vae" / "config.json").is_file():
        vae = vae / "vae"
    texts = [] if tokenizer is None else [tokenizer / name for name in TOKENIZER_FILES]
    parts = [] if vae is None or not (vae / "config.json").is_file() else sorted(vae.iterdir())
    return SideFiles(
        tuple(path for path in texts if path.is_file()),
        tuple(path for path in parts if path.is_file() and path.suffix in VAE_SUFFIXES) if _is_vae(vae) else (),
        _model_type(tokenizer),
    )


def moved(description: Description, side_files: SideFiles, root: Path) -> Description:
    """Returns the description for a new folder: names of files that come along, or belong, into it are `./...`."""
    tokenizer, codec = description.tokenizer, description.codec
    if side_files.tokenizer or _is_within(_tokenizer_folder(description), root):
        tokenizer = f"{tokenizer.partition(':')[0]}:{INSIDE}tokenizer"
    if side_files.vae or _is_within(_folder_of(description.codec, "sdxl"), root):
        codec = f"sdxl:{INSIDE}vae"
    return replace(description, tokenizer=tokenizer, codec=codec)


def tokenizer_size(folder: Path) -> int:
    """Returns one more than the largest id in a folder's tokenizer.json; 0 where there is none.

    Raises UserError if it is none that the tokenizers library writes.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return 0
    document = read_document(path)
    try:
        vocabulary = (document.get("model") or {}).get("vocab") or {}
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else list(range(len(vocabulary)))
        ids += [token["id"] for token in document.get("added_tokens") or []]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a tokenizer as the tokenizers library writes it ({error!r}); {REPAIR}") from error
    strange = [one for one in ids if type(one) is not int]
    if strange:
        raise UserError(
            f"{path}: found the id {strange[0]!r}, expected whole numbers in model.vocab and added_tokens; {REPAIR}"
        )
    return max(ids, default=-1) + 1


def write_side_files(out: Path, layout: str, side_files: SideFiles) -> None:
    """Copies the files to where `layout` has them."""
    for path in side_files.tokenizer:
        _copy(path, out / path.name if layout == "official" else out / "tokenizer" / path.name)
    if side_files.tokenizer and side_files.tokenizer_kind and layout != "official":
        write_json(out / "tokenizer" / CONFIG_FILE, {"model_type": side_files.tokenizer_kind})
    for path in side_files.vae:
        _copy(path, out / "vae" / path.name)


def write_pipeline(out: Path, side_files: SideFiles, carried: Mapping[str, Any]) -> None:
    """Writes the scheduler of a diffusers pipeline and, if tokenizer and VAE are there, its model_index.json."""
    write_json(out / "scheduler" / SCHEDULER_FILE, carried.get("scheduler") or scheduler_document())
    if side_files.tokenizer and side_files.vae:
        index = pipeline_document(out / "tokenizer")
        write_json(out / PIPELINE_FILE, carried.get("model_index") or index)


def missing_notes(description: Description, side_files: SideFiles) -> list[str]:
    """Returns a line for each kind of file that the new folder's description names, but that did not come along."""
    notes = []
    if description.tokenizer == f"hf:{INSIDE}tokenizer" and not side_files.tokenizer:
        notes.append("the source holds no tokenizer files (tokenizer.json...): put them into the new folder")
    if description.codec == f"sdxl:{INSIDE}vae" and not side_files.vae:
        notes.append(
            "the source holds no vae/ with config.json and safetensors: put the VAE into the new folder's vae/"
        )
    return notes


def _tokenizer_folder(description: Description) -> Path | None:
    return _folder_of(description.tokenizer, "hf") or _folder_of(description.tokenizer, WORDS)


def _folder_of(name: str, family: str) -> Path | None:
    head, colon, path = name.partition(":")
    return Path(path) if colon and head == family else None


def _model_type(folder: Path | None) -> str | None:
    path = folder / CONFIG_FILE if folder else None
    return read_document(path).get("model_type") if path is not None and path.is_file() else None


def _is_within(path: Path | None, root: Path) -> bool:
    return path is not None and path.absolute().is_relative_to(root.absolute())


def _is_vae(folder: Path | None) -> bool:
    path = folder / "config.json" if folder else None
    return path is not None and path.is_file() and read_document(path).get("_class_name") == "AutoencoderKL"


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as reading, atomic_file(target) as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)

"""Conversion: reads a network in a folder of any layout and writes another, a tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnigen.network.config import ModelConfig
from omnigen.weights.atomic_folder import new_folder, require_free
from omnigen.weights.configs import PUBLISHED_CHANNELS
from omnigen.weights.formats import (
    CARRIED_FILE,
    CONFIG_FILE,
    DIFFUSERS_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Description,
    ModelFolder,
    foreign_documents,
    open_folder,
    our_document,
)
from omnigen.weights.options import Conversion
from omnigen.weights.side_files import (
    find_side_files,
    missing_notes,
    moved,
    tokenizer_size,
    write_pipeline,
    write_side_files,
)
from x2i.errors import UserError
from x2i.store.files.atomic import write_json

if TYPE_CHECKING:
    from omnigen.weights.lora.delta import Adapter
    from omnigen.weights.tensor_reader import LazyTensor

CARRIED_NOTE = "what the config.json beside this file has no place for; omnigen convert reads it"


@dataclass(frozen=True)
class Written:
    """What a conversion did. notes: what the user should know of."""

    source_layout: str
    layout: str
    num_parameters: int
    num_bytes: int
    files: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    source: Path,
    out: Path,
    conversion: Conversion,
    adapters: Sequence[Adapter] = (),
    on_bytes: Callable[[int, int], object] = lambda count, total: None,
) -> Written:
    """Writes the network in `source` as a new folder `out`, whole or not at all.

    adapters: are added to the weights. on_bytes(count, total): called after each tensor: `count` more bytes are
    written, of `total`. Raises UserError for whatever the user can mend, before anything is written where that can be
    known.
    """
    from omnigen.weights.fingerprint import require_base
    from omnigen.weights.writer import assign_files, write

    require_free(out)
    found = open_folder(source)
    layout = conversion.layout or ("ours" if found.layout == "phi3" else found.layout)
    weights, description = _network(found, conversion)
    require_base(source, weights, adapters)
    weights = _changed(weights, conversion.dtype, adapters)
    side_files = find_side_files(description)
    described = moved(description, side_files, found.root)
    file = DIFFUSERS_WEIGHTS_FILE if layout == "diffusers" else WEIGHTS_FILE
    files = assign_files(weights, _target_names(layout), file, conversion.max_shard_size)
    with new_folder(out, files.num_bytes + side_files.num_bytes) as folder:
        place = folder / "transformer" if layout == "diffusers" else folder
        write(place, files, lambda size: on_bytes(size, files.num_bytes))
        _write_documents(place, layout, described, _retyped(found.carried, conversion.dtype))
        write_side_files(folder, layout, side_files)
        if layout == "diffusers":
            write_pipeline(folder, side_files, found.carried)
    written = tuple(sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()))
    notes = [*_source_notes(found), *missing_notes(described, side_files)]
    return Written(found.layout, layout, network_size(described.config), files.num_bytes, written, tuple(notes))


def network_size(config: ModelConfig) -> int:
    """Returns the number of a network's trainable parameters."""
    from omnigen.weights.load import network_shapes

    return sum(math.prod(shape) for name, shape in network_shapes(config).items() if name != "pos_embed")


def _network(found: ModelFolder, conversion: Conversion) -> tuple[Mapping[str, LazyTensor], Description]:
    from omnigen.weights.load import open_network
    from omnigen.weights.phi3 import resized_embedding, with_fresh_rest

    weights = open_network(found, mixed=conversion.dtype != "keep")
    if found.layout != "phi3":
        if conversion.codec:
            raise UserError(
                f"--codec {conversion.codec!r}: {found.root} is no Phi-3 but a whole network, trained with the codec "
                f"{found.description.codec!r}; leave --codec out"
            )
        return weights, found.description
    codec = conversion.codec or found.description.codec
    config = found.description.config
    config = replace(
        config, in_channels=_channels(codec), vocab_size=max(config.vocab_size, tokenizer_size(found.root))
    )
    weights = resized_embedding(weights, config.vocab_size, conversion.seed)
    described = replace(found.description, config=config, codec=codec, image_size=None)
    return with_fresh_rest(weights, config, conversion.seed), described


def _changed(weights: Mapping[str, LazyTensor], dtype: str, adapters: Sequence[Adapter]) -> Mapping[str, LazyTensor]:
    import torch

    from omnigen.weights.transforms import cast, merged

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    weights = merged(weights, adapters, rounded=dtype == "keep") if adapters else weights
    return weights if dtype == "keep" else cast(weights, dtypes[dtype])


def _target_names(layout: str) -> Callable[[str], tuple[str, ...]]:
    from omnigen.weights.names import diffusers_names

    return diffusers_names if layout == "diffusers" else lambda name: (name,)


def _write_documents(place: Path, layout: str, description: Description, carried: Mapping[str, Any]) -> None:
    """config.json, and omnigen.json where that cannot say all; ours says all."""
    if layout == "ours":
        write_json(place / CONFIG_FILE, our_document(description, carried))
        return
    document, rest = foreign_documents(layout, description, carried)
    write_json(place / CONFIG_FILE, document)
    if rest:
        write_json(place / CARRIED_FILE, {"about": CARRIED_NOTE, **rest})


def _retyped(carried: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Returns carried configurations that name the dtype that the weights have now."""
    if dtype == "keep":
        return dict(carried)
    name = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype]
    return {
        layout: {key: name if key in ("torch_dtype", "dtype") else value for key, value in document.items()}
        for layout, document in carried.items()
    }


def _source_notes(found: ModelFolder) -> list[str]:
    notes = []
    if found.layout == "phi3":
        notes.append("a Phi-3 language model: its decoder is taken, the layers around it are new and must be trained")
        window = found.document.get("sliding_window")
        if window and window < found.description.config.max_position_embeddings:
            notes.append(f"its sliding_window of {window} is left out: OmniGen attends to the whole sample")
    return notes


def _channels(codec: str) -> int:
    """Returns the latent channels that a codec's name tells, or those of the published autoencoder."""
    from omnigen.codecs.base import codec_channels

    channels = codec_channels(codec)
    return PUBLISHED_CHANNELS if channels is None else channels

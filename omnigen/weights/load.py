"""Networks from folders of any layout, and into a folder of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen.network.config import ModelConfig
from omnigen.weights.configs import differences
from omnigen.weights.formats import CONFIG_FILE, WEIGHTS_FILE, Description, ModelFolder, open_folder, our_document
from x2i.errors import UserError
from x2i.store.files.atomic import write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from omnigen.network.model import OmniGen
    from omnigen.weights.lora.delta import Adapter
    from omnigen.weights.tensor_reader import LazyTensor

SINGLE_FILE = 1 << 62


@dataclass(frozen=True)
class SavedModel:
    """A network read from a folder, in eval mode, with the folder's description."""

    model: OmniGen
    description: Description


def save_model(
    folder: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    tokenizer: str,
    codec: str,
    image_size: int | None = None,
    timestep_shift: float = 1.0,
) -> None:
    """Writes a model folder: model.safetensors, then config.json, each whole or not at all.

    state: our state dict (of the network, or of its average); saved in the dtypes it has. tokenizer, codec: names, as
    `load_tokenizer` and `load_codec` take them. image_size: pixels of the longer side it was trained at.
    timestep_shift: it was trained with.
    """
    from omnigen.weights.tensor_reader import in_memory
    from omnigen.weights.writer import assign_files, write

    weights = {name: in_memory(tensor.detach()) for name, tensor in state.items()}
    write(folder, assign_files(weights, lambda name: (name,), WEIGHTS_FILE, SINGLE_FILE))
    description = Description(config, tokenizer, codec, image_size, timestep_shift)
    write_json(folder / CONFIG_FILE, our_document(description, {}))


def load_model(
    folder: Path, device: str = "cpu", adapters: Sequence[Adapter] = (), dtype: torch.dtype | None = None
) -> SavedModel:
    """Reads a folder with an OmniGen network, in any layout, for use: in eval mode. Never holds two copies of it.

    A published or diffusers folder names no tokenizer and codec: they are those that it holds itself. Of weights in
    several dtypes, all get the widest, unless `dtype` asks for one. adapters: are added to the weights. Raises
    UserError if files are missing, or the weights do not fit the configuration.
    """
    from omnigen.weights.fingerprint import require_base
    from omnigen.weights.transforms import cast, merged, uniform

    found = open_folder(folder)
    if found.layout == "phi3":
        raise UserError(f"{folder}: a Phi-3 language model, not an OmniGen network; omnigen convert makes one of it")
    own = open_network(found, mixed=True)
    require_base(folder, own, adapters)
    weights = uniform(merged(own, adapters)) if dtype is None else cast(merged(own, adapters, rounded=False), dtype)
    return SavedModel(_assemble(found.description.config, weights, device).eval(), found.description)


def load_initial_weights(path: Path, wanted: ModelConfig, seed: int) -> OmniGen:
    """Returns a network to begin training with, in fp32: from a model folder of any layout, or a Phi-3 checkpoint.

    wanted: the network to be trained. The one at `path` must be the same, but for its vocabulary: the token embedding
    is cut, or gets new rows by `seed`. Of a Phi-3 the decoder is taken; the rest is fresh, by `seed`, as `init_weights`
    makes it. Raises UserError that names the fields in which the two differ.
    """
    import torch

    from omnigen.weights.phi3 import resized_embedding, with_fresh_rest
    from omnigen.weights.transforms import cast

    found = open_folder(path)
    unequal = _differences(found, wanted)
    if unequal:
        raise UserError(
            f"{path}: another network than the one configured: {'; '.join(unequal)}. Set model.overrides to its values"
        )
    weights = resized_embedding(open_network(found, mixed=True), wanted.vocab_size, seed)
    if found.layout == "phi3":
        weights = with_fresh_rest(weights, wanted, seed)
    return _assemble(wanted, cast(weights, torch.float32), "cpu", own=True).train()


def open_network(found: ModelFolder, mixed: bool = False) -> dict[str, LazyTensor]:
    """Returns a folder's weights under our names, complete and of the shapes that its config.json says.

    Of a Phi-3 only the decoder. mixed: see `from_diffusers_weights`. Raises UserError for missing, unknown and
    misshapen parameters, by the names they have in the folder.
    """
    from omnigen.network.embedders import position_table
    from omnigen.weights.names import diffusers_names, require_names
    from omnigen.weights.phi3 import from_phi3
    from omnigen.weights.tensor_reader import in_memory
    from omnigen.weights.transforms import TABLE, from_diffusers_weights

    config = found.description.config
    shapes = network_shapes(config)
    weights = found.open()
    if found.layout == "phi3":
        weights = from_phi3(found.place, weights, shapes)
    elif found.layout == "diffusers":
        expected = _diffusers_shapes(shapes)
        require_names(found.place, weights, expected, optional=diffusers_names(TABLE))
        _require_tensors(found.place, weights, expected)
        weights = from_diffusers_weights(found.place, weights, mixed)
    else:
        require_names(found.place, weights, shapes, optional=[TABLE])
    _require_tensors(found.place, weights, shapes)
    if TABLE not in weights and found.layout != "phi3":
        weights[TABLE] = in_memory(position_table(config.hidden_size, config.pos_embed_max_size))
    return weights


def network_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor of a network's state dict."""
    return {name: tuple(tensor.shape) for name, tensor in _skeleton(config).state_dict().items()}


def _diffusers_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes by diffusers' names: a fused parameter's parts have equal numbers of its rows."""
    from omnigen.weights.names import diffusers_names

    return {
        theirs: (rows // len(parts), *rest)
        for name, (rows, *rest) in shapes.items()
        for parts in [diffusers_names(name)]
        for theirs in parts
    }


def _require_tensors(origin: object, weights: Mapping[str, LazyTensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    from omnigen.weights.tensor_reader import READ

    for name, one in weights.items():
        if one.shape != shapes[name]:
            raise UserError(
                f"{origin}: {name}: found {one.shape}, expected {shapes[name]}; the weights do not belong to the "
                f"config.json beside them"
            )
        if one.dtype not in READ:
            raise UserError(
                f"{origin}: {name}: found {one.dtype}, expected {', '.join(map(str, READ))}: quantized weights are not "
                f"read. Save them in one of these where they were made"
            )


def _differences(found: ModelFolder, wanted: ModelConfig) -> list[str]:
    """Returns a line for each field in which the network found cannot become the one wanted."""
    ignored = {"vocab_size"}
    if found.layout == "phi3":
        ignored |= {"in_channels", "patch_size", "pos_embed_max_size"}
    config = found.description.config
    if config.rope_short_factors is wanted.rope_short_factors is None:
        ignored |= {"max_position_embeddings", "original_max_position_embeddings"}  # plain RoPE knows no lengths
    unequal = differences(config, wanted)
    return [f"{name} {theirs} there, {ours} here" for name, (theirs, ours) in unequal.items() if name not in ignored]


def _skeleton(config: ModelConfig) -> OmniGen:
    import torch

    from omnigen.network.model import OmniGen

    with torch.device("meta"):
        return OmniGen(config)


def _assemble(config: ModelConfig, weights: Mapping[str, LazyTensor], device: str, own: bool = False) -> OmniGen:
    """own: the tensors may be written to, so none may be a view of a file."""
    model = _skeleton(config)
    state = {name: one.read().to(device, copy=own) for name, one in weights.items()}
    model.load_state_dict(state, assign=True)
    return model

"""Starting from a Phi-3 language model: its decoder and token embedding, and fresh weights for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from omnigen.network.config import ModelConfig
from omnigen.weights.names import OUR_DECODER, PHI3_HEAD, phi3_name, require_names
from omnigen.weights.tensor_reader import LazyTensor, Weights, in_memory

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDING = "llm.embed_tokens.weight"
ROTARY = ".rotary_emb.inv_freq"  # of old checkpoints; a function of the configuration


def from_phi3(origin: object, weights: Weights, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, LazyTensor]:
    """Returns the decoder's weights under our names. Raises UserError if they are not those of a Phi-3 of that depth.

    shapes: of the OmniGen network's parameters, by our names.
    """
    ours = [name for name in shapes if name.startswith(OUR_DECODER)]
    kept = [name for name in weights if name != PHI3_HEAD and not name.endswith(ROTARY)]
    require_names(origin, kept, [phi3_name(name) for name in ours])
    return {name: weights[phi3_name(name)] for name in ours}


def with_fresh_rest(decoder: Weights, config: ModelConfig, seed: int) -> dict[str, LazyTensor]:
    """Returns a whole network: the decoder, and the image, time and final layers as `init_weights` makes them."""
    from omnigen.network.model import OmniGen

    # A network with the smallest decoder: all but the decoder's parameters are what they are in the whole one.
    rest = OmniGen.initialized(replace(config, num_layers=1, intermediate_size=1, vocab_size=1), seed).state_dict()
    fresh = {name: in_memory(tensor) for name, tensor in rest.items() if not name.startswith(OUR_DECODER)}
    return {**decoder, **fresh}


def resized_embedding(weights: Weights, vocab_size: int, seed: int) -> dict[str, LazyTensor]:
    """Returns the weights with a token embedding of `vocab_size` rows.

    Rows beyond it are left out; new rows are drawn from N(0, 0.02) by `seed`, as `init_weights` draws all.
    """
    one = weights[EMBEDDING]
    rows, width = one.shape
    if rows == vocab_size:
        return dict(weights)

    def read() -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        fresh = torch.empty(max(0, vocab_size - rows), width).normal_(std=0.02, generator=generator)
        return torch.cat([one.read()[:vocab_size], fresh.to(one.dtype)])

    return {**weights, EMBEDDING: LazyTensor((vocab_size, width), one.dtype, read)}

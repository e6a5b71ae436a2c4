"""Tells one network's weights from another's by a sample of every tensor: the same in every layout and dtype that holds
the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from omnigen.weights.transforms import TABLE
from x2i.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from omnigen.weights.lora.delta import Adapter
    from omnigen.weights.tensor_reader import LazyTensor

SAMPLED = 1024
"""Values of each tensor, at even distances."""
LEFT_OUT = (TABLE, "llm.embed_tokens.weight")
"""A table that is computed, and one whose rows depend on the tokenizer in use."""


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Returns a hash of a network's weights, by our names: 32 hexadecimal digits."""
    return joined({name: sample_of(tensor) for name, tensor in tensors.items() if name not in LEFT_OUT})


def joined(samples: Mapping[str, bytes]) -> str:
    """Returns the hash of samples that were taken one by one (`sample_of`)."""
    digest = hashlib.blake2b(digest_size=16)
    for name, sample in sorted(samples.items()):
        digest.update(f"{name} {len(sample)} ".encode())
        digest.update(sample)
    return digest.hexdigest()


def sample_of(tensor: Tensor) -> bytes:
    """Returns the values of a tensor that its hash is made of, as float32."""
    flat = tensor.detach().reshape(-1)
    count = min(SAMPLED, flat.numel())
    places = torch.arange(count, device=flat.device) * flat.numel() // max(count, 1)
    return flat[places].float().cpu().numpy().tobytes()


def require_base(origin: object, weights: Mapping[str, LazyTensor], adapters: Sequence[Adapter]) -> None:
    """Raises UserError if an adapter knows its base, and that has other weights than these. Reads all of them.

    origin: the folder of the weights, for the message.
    """
    knowing = [adapter for adapter in adapters if adapter.base]
    if not knowing:
        return
    found = joined({name: sample_of(one.read()) for name, one in weights.items() if name not in LEFT_OUT})
    for adapter in knowing:
        if adapter.base != found:
            raise UserError(
                f"{adapter.origin}: was trained beside other weights than those of {origin}: fingerprint "
                f"{adapter.base} there, {found} here. Give the model that it was trained on, or --any-base to use it "
                f"with this one"
            )

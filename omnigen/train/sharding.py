"""A network over several ranks: sharded by FSDP2, whole groups side by side (HSDP), and whole again for pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from omnigen.network.model import OmniGen
from omnigen.train.parallel import Ranks
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.train.config import ParallelConfig


def require_possible(config: ParallelConfig, world: int) -> None:
    """Raises UserError if `world` ranks cannot be arranged as `config` says."""
    if config.mode != "hsdp":
        return
    if not config.shard or world % config.shard:
        raise UserError(
            f"parallel.shard: found {config.shard}, expected a divisor of the number of ranks ({world}): the ranks of "
            f"one machine, as a rule"
        )


def shard(model: OmniGen, ranks: Ranks, config: ParallelConfig, bf16: bool) -> None:
    """Shards the parameters of `model` over the ranks, layer by layer, in place; their names stay.

    The parameters stay fp32; with `bf16` they are gathered and computed with in bf16, and gradients are reduced in
    fp32. Gradients are summed over ranks, as `Ranks.sum_gradients` does.
    """
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = _mesh(ranks, config)
    # Inputs are not cast: timesteps need all their digits, and what can be in bf16 is cast where it is used.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for layer in model.llm.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other way


def build_sharded(
    build: Callable[[], OmniGen], shape: Callable[[], OmniGen], ranks: Ranks, config: ParallelConfig, bf16: bool
) -> OmniGen:
    """Returns `build()` sharded. Only the first rank calls it; the others receive their shards.

    shape: makes the same network without contents, on the meta device.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    model = shape()
    shard(model, ranks, config, bf16)
    model.to_empty(device=ranks.device)
    whole = build().state_dict() if ranks.is_main else {}
    ranks.wait()
    set_model_state_dict(model, whole, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    return model


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Returns the unsharded state dict on the CPU, on the first rank; {} on the others. All ranks must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast("dict[str, Tensor]", get_model_state_dict(model, options=options))


def reshard(model: nn.Module) -> None:
    """Lets go of what the last forward pass gathered, so that the parameters are this rank's shards again."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def sync_gradients(model: nn.Module, wanted: bool) -> None:
    """Says whether the next backward pass reduces a sharded network's gradients over the ranks, or keeps them whole."""
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(model, FSDPModule)
    model.set_requires_gradient_sync(wanted)


def local(tensor: Tensor) -> Tensor:
    """Returns this rank's part of a sharded tensor; any other tensor as it is. Changes to it change the tensor."""
    to_local: Callable[[], Tensor] | None = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()


def whole(tensor: Tensor) -> Tensor:
    """Returns a tensor, sharded or not, whole."""
    full_tensor: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if full_tensor is None else full_tensor()


def _mesh(ranks: Ranks, config: ParallelConfig) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    kind = ranks.device.type
    if config.mode == "hsdp":
        shape = (ranks.world // config.shard, config.shard)
        return init_device_mesh(kind, shape, mesh_dim_names=("replicate", "shard"))
    return init_device_mesh(kind, (ranks.world,), mesh_dim_names=("shard",))

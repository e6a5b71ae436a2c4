"""The ranks of a run: one process, or as many as `torchrun` started; each sums what it must share with the others.

Gradients are summed, not averaged: the loss is already divided by the target tokens of the whole step, so ranks with
more packs weigh more, as they should, and a rank may have more packs than another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(hours=2)  # nccl ends a run whose ranks wait ten minutes while one draws, loads or writes
BUCKET_ELEMENTS = 8 * 1024 * 1024  # fp32 gradients of 32 MB go in one message


@dataclass(frozen=True)
class Ranks:
    """This process's place among all. owns_group: whether `start` began their process group. patient: a group of the
    same ranks, in host memory, that bears waiting for one of them.
    """

    rank: int
    world: int
    device: torch.device
    owns_group: bool = False
    patient: dist.ProcessGroup | None = None

    @classmethod
    def start(cls) -> Ranks:
        """Joins the process group that torchrun's environment describes, if any: nccl on CUDA, gloo on a CPU."""
        world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        begins = world > 1 and not dist.is_initialized()  # Ray Train has begun it
        if begins:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if world == 1:
            return cls(0, 1, device)
        patient = cast("dist.ProcessGroup", dist.new_group(backend="gloo", timeout=PATIENCE))
        return cls(dist.get_rank(), world, device, begins, patient)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sum of `values`, on the CPU, over all ranks, the same on each; no device waits for it."""
        if self.world > 1:
            dist.all_reduce(values, group=self.patient)
        return values

    def sum_gradients(self, model: nn.Module) -> None:
        """Replaces every gradient by its sum over all ranks; a parameter this rank did not use counts as zero."""
        if self.world == 1:
            return
        for bucket in _buckets(p for p in model.parameters() if p.requires_grad):
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients])):
                gradient.copy_(part.view_as(gradient))

    def gather(self, items: list[Any]) -> list[Any]:
        """Returns the items of all ranks, by rank."""
        if self.world == 1:
            return items
        gathered: list[Any] = [None] * self.world
        dist.all_gather_object(gathered, items, group=self.patient)
        return [item for part in gathered for item in part]

    def wait(self) -> None:
        """Returns when every rank is here."""
        if self.world > 1:
            dist.barrier(group=self.patient)

    def stop(self) -> None:
        """Leaves the process group, if it was begun here."""
        if self.owns_group and dist.is_initialized():
            dist.destroy_process_group()


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        bucket.append(parameter)
        size += parameter.numel()
        if size >= BUCKET_ELEMENTS:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket

"""The GPUs of this machine, and how workers share them; without torch, by CUDA_VISIBLE_DEVICES and nvidia-smi."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Sequence

from x2i.resources import Resources

_ROUNDING = 1e-9


def visible_gpus(limit: int | None = None) -> list[str]:
    """Returns the names of the GPUs that may be used, `limit` at most, as CUDA_VISIBLE_DEVICES takes them.

    Where that variable is not set, a `limit` is taken at its word, and without one nvidia-smi is asked.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")][:limit]
    return [str(number) for number in range(limit)] if limit is not None else _nvidia_smi("index")


def smallest_gpu_gb() -> float | None:
    """Returns the memory of this machine's smallest GPU in GiB; None if it cannot be found out."""
    sizes = [float(size) for size in _nvidia_smi("memory.total") if size.isdecimal()]  # MiB
    return min(sizes) / 1024 if sizes else None


def gpu_share(resources: Resources, gpu_gb: float | None) -> float:
    """Returns how many GPUs a worker takes: a share of one, or a whole number.

    gpu_gb: the memory of a GPU; where it is unknown, a worker takes a whole one.
    """
    if resources.gpus or not resources.gpu_memory_gb:
        return resources.gpus if resources.gpus <= 1 else math.ceil(resources.gpus)
    return min(1.0, resources.gpu_memory_gb / gpu_gb) if gpu_gb else 1.0


def deal(gpus: Sequence[str], share: float) -> list[str]:
    """Returns CUDA_VISIBLE_DEVICES of as many workers as fit, where each takes `share` GPUs (`gpu_share`).

    Where several workers share a GPU, the first ones get different GPUs.
    """
    if share <= 1:
        return [*gpus] * fitting(1, share)
    each = int(share)
    return [",".join(gpus[start : start + each]) for start in range(0, len(gpus) - each + 1, each)]


def fitting(total: float, each: float) -> int:
    """Returns how many times `each` (above 0) fits into `total`."""
    return int(total / each + _ROUNDING)


def _nvidia_smi(field: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []

"""What one worker of a stage needs of a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Needs of one worker: CPU cores, GPUs (a fraction shares one), memory of a GPU in GB (0: whatever it has)."""

    cpus: float = 1
    gpus: float = 0
    gpu_memory_gb: float = 0

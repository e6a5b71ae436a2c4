"""What fixes an adapter besides its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from x2i.errors import UserError


@dataclass(frozen=True)
class LoraConfig:
    """Which linear layers an adapter changes, and how. Raises UserError on construction if a value does not fit.

    rank: of the change B A; alpha: the change is multiplied by alpha / rank; None: alpha = rank, so by 1.
    targets: names of the layers, each the whole name or its last parts, as `qkv_proj` for that of every block.
    rslora: multiply by alpha / sqrt(rank) instead (arXiv 2312.03732).
    """

    rank: int = 8
    alpha: float | None = None
    targets: tuple[str, ...] = ("qkv_proj", "o_proj")
    rslora: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise UserError(f"lora.rank: found {self.rank!r}, expected a whole number above zero")
        number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if self.alpha is not None and not (number and math.isfinite(self.alpha) and self.alpha > 0):
            raise UserError(f"lora.alpha: found {self.alpha!r}, expected a number above zero")
        if not self.targets or not all(isinstance(target, str) and target for target in self.targets):
            raise UserError(f"lora.targets: found {self.targets!r}, expected names of linear layers, such as qkv_proj")

    @property
    def scaling(self) -> float:
        """The factor of the change."""
        alpha = float(self.rank) if self.alpha is None else self.alpha
        return alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def is_target(self, name: str) -> bool:
        """Returns whether the layer `name` is one of the targets."""
        return any(name == target or name.endswith(f".{target}") for target in self.targets)

"""How often torch.compile may compile a function again, and that it must not give up unnoticed."""

from __future__ import annotations

import torch

RECOMPILE_LIMIT = 64
"""Of torch.compile, whose own 8 would be used up by modes that differ: gradients or none, adapters, precisions."""


def limit_recompiles() -> None:
    """Sets the limit, and makes going beyond it an error: torch would go on uncompiled, with FlexAttention by the whole
    matrix of scores, and say so in a line of its log only.
    """
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, RECOMPILE_LIMIT)
    config.fail_on_recompile_limit_hit = True

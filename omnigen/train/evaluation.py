"""Judges the averaged network as it stands: by its loss on held-out samples, and by what it draws."""

from __future__ import annotations

import math
from typing import Any

from omnigen.train.sample_grid import GridRow, sample_rows
from omnigen.train.setup import PhaseParts, Setup
from x2i.errors import UserError


def validate(setup: Setup, parts: PhaseParts, step: int) -> dict[str, Any] | None:
    """Returns what `ValidationSet.evaluate` says of the average, at the beginning of a phase with "mean_predictor"
    beside it; None if nothing is held out. All ranks must call it, and have the same.

    Raises UserError if a loss is not finite.
    """
    validation = parts.validation
    if validation is None:
        return None
    with setup.average.applied_to(setup.model), setup.autocast():
        values = validation.evaluate(setup.model, parts.phase.train.attention, in_step=setup.sharded)
    if wrong := [task for task, loss in values["tasks"].items() if not math.isfinite(loss)]:
        raise UserError(
            f"step {step}: the validation loss of {', '.join(wrong)} is not finite. Look at the held-out samples; "
            f"if the loss had been rising, lower train.lr"
        )
    values = {"phase": parts.phase.index + 1, **values}
    if step == parts.phase.first:
        values["mean_predictor"] = validation.mean_predictor()
    return values


def sample_images(setup: Setup, parts: PhaseParts) -> list[GridRow]:
    """Returns what the average draws: the targets of held-out samples, then the prompts that are logged.

    All ranks must call it; the first one has the rows, the others [].
    """
    log = setup.config.log
    planned_samples = parts.validation.planned_samples[: log.sample_held_out] if parts.validation is not None else ()
    if not (planned_samples or log.prompts):
        return []
    ranks, mine = setup.ranks, list[tuple[int, GridRow]]()
    with setup.average.applied_to(setup.model):
        # Of a sharded network the first rank alone has a whole copy; otherwise the ranks share the rows.
        model = setup.whole_copy() if setup.sharded else setup.model
        if model is not None:
            mine = sample_rows(
                model,
                setup.tokenizer,
                setup.codec,
                planned_samples,
                log,
                max_side=parts.phase.max_side,
                seed=setup.config.train.seed,
                bf16=setup.bf16,
                share=(0, 1) if setup.sharded else (ranks.rank, ranks.world),
            )
    rows = sorted(ranks.gather(mine), key=lambda numbered: numbered[0])
    return [row for _, row in rows] if ranks.is_main else []

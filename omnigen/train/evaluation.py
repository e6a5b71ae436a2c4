"""Evaluates the averaged network: its loss on held-out samples, and the images that it generates."""

from __future__ import annotations

import math
from typing import Any

from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.train.sample_grid import GridRow, sample_rows
from omnigen.train.setup import PhaseParts, Setup
from x2i.errors import RunError


def validate(setup: Setup, parts: PhaseParts, step: int) -> dict[str, Any] | None:
    """Returns what `ValidationSet.evaluate` gives for the average, at the beginning of a phase with "mean_predictor"
    beside it; None if nothing is held out. All ranks must call it, and have the same.

    Raises RunError if a loss is not finite.
    """
    validation = parts.validation
    if validation is None:
        return None
    with setup.average.applied_to(setup.model), setup.autocast():
        values = validation.evaluate(setup.model, parts.phase.train.attention, in_step=setup.sharded)
    if wrong := [task for task, loss in values["tasks"].items() if not math.isfinite(loss)]:
        raise RunError(
            f"step {step}: the validation loss of {', '.join(wrong)} is not finite. Look at the held-out samples; "
            f"if the loss had been rising, lower train.lr"
        )
    values = {"phase": parts.phase.index + 1, **values}
    if step == parts.phase.first:
        values["mean_predictor"] = validation.mean_predictor()
    return values


def sample_images(setup: Setup, parts: PhaseParts) -> list[GridRow]:
    """Returns images that the average generates: for held-out samples, then for the prompts of the log.

    All ranks must call it; the first one has the rows, the others [].
    """
    log = setup.config.log
    held_out = parts.validation.samples[: log.sample_held_out] if parts.validation is not None else ()
    if not (held_out or log.prompts):
        return []
    ranks, mine = setup.ranks, list[tuple[int, GridRow]]()
    with setup.average.applied_to(setup.model):
        # Of a sharded network the first rank alone has a whole copy; otherwise the ranks share the rows.
        model = setup.whole_copy() if setup.sharded else setup.model
        if model is not None:
            mine = sample_rows(
                OmniGenPipeline(model, setup.tokenizer, setup.codec, parts.phase.max_side, setup.bf16),
                held_out,
                log,
                shift=parts.phase.train.timestep_shift,
                seed=setup.config.train.seed,
                share=(0, 1) if setup.sharded else (ranks.rank, ranks.world),
            )
    rows = sorted(ranks.gather(mine), key=lambda numbered: numbered[0])
    return [row for _, row in rows] if ranks.is_main else []

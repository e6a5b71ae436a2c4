"""The lines that a run prints as it starts, at its events, and at its end."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from omnigen.network.flops import FP32
from omnigen.train.checkpoint import RunState
from omnigen.train.memory import format_bytes
from omnigen.train.phases import Phase
from omnigen.train.run_folder import BAD_SAMPLES, RunFolder
from omnigen.train.setup import Setup
from omnigen.train.trainer import Event

MOST_SHOWN = 3


def start_lines(setup: Setup, run: RunFolder, checkpoint: Path | None) -> str:
    """Returns what is trained on what, and from where."""
    ranks = setup.ranks
    whole, trained = (sum(p.numel() for p in group) for group in (setup.model.parameters(), setup.trained))
    network = f"{whole / 1e6:.1f} million parameters"
    if trained < whole:
        size = format_bytes(FP32 * trained)
        network += f"; what is trained is an adapter of {trained:,} parameters, {size}"
    spread = f", {setup.config.parallel.mode}" if setup.sharded else ""
    return "\n".join(
        [
            *setup.data.describe(setup.phases[0].too_long),
            f"{network}, {ranks.world} {'ranks' if ranks.world > 1 else 'rank'} on {ranks.device.type}{spread}",
            *(line for parts in setup.phases for line in (_phase_line(parts.phase), *parts.caches.lines)),
            f"continuing from {checkpoint}" if checkpoint else f"a new run in {run.path}",
        ]
    )


def event_line(event: Event, setup: Setup) -> str:
    """Returns the line of an event; "" if it needs none."""
    values, total = event.values, setup.phases[-1].phase.last
    head = f"step {event.step:>{len(str(total))}}/{total}"
    if event.kind == "phase" and len(setup.phases) > 1:
        return f"{head}  {_phase_line(values['phase'])}"
    if event.kind == "metrics":
        timing = values["timing"]
        minutes, seconds = divmod(round((total - event.step) * timing["seconds_per_step"]), 60)
        mfu = f"MFU {timing['mfu']:.1%}  " if timing["mfu"] else ""
        passed_over = f"passed over {values['bad_samples']}  " if values["bad_samples"] else ""
        return (
            f"{head}  loss {values['loss']:.4f}  gradient {values['grad_norm']:.3g}  fill {values['fill']:.1%}  "
            f"{timing['tokens_per_second']:,.0f} tokens/s  {mfu}waiting {timing['data_wait_share']:.0%}  {passed_over}"
            f"{minutes}:{seconds:02d} left"
        )
    if event.kind == "bad_samples":
        samples = values["samples"]
        shown = [f"{head}  passed over {one.key} of {one.tar}: {one.reason}" for one in samples[:MOST_SHOWN]]
        more = [f"{head}  passed over {len(samples) - MOST_SHOWN} more: see {BAD_SAMPLES}"]
        return "\n".join(shown + more if len(samples) > MOST_SHOWN else shown)
    if event.kind == "validation":
        error = values["standard_error"]
        text = f"{head}  validation loss {values['loss']:.4f}" + (f" ± {error:.4f}" if error else "")
        mean = values.get("mean_predictor")
        if mean is None:
            return text
        return f"{text} {'so far' if event.step else 'untrained'}; {mean['loss']:.4f} for predicting the mean"
    if event.kind == "grid":
        return f"{head}  pictures in {values['path']}"
    if event.kind == "stopped":
        return f"{head}  stopped as asked, and saved; the same command continues"
    return ""


def end_lines(run: RunFolder, state: RunState) -> str:
    """Returns where to look, once a run is over."""
    made = f"the adapter is in {run.adapter}" if run.adapter.is_dir() else f"the network is in {run.model}"
    lines = [f"trained; {made}, the numbers are in {run.summary}"]
    if state.bad:
        lines.append(f"passed over {len(state.bad)} samples that could not be decoded: see {run.path / BAD_SAMPLES}")
    if state.best_step:
        where = f"in {run.best}" if run.best.is_dir() else "the last one"
        lines.append(f"lowest validation loss: {state.best_loss:.4f} at step {state.best_step}, {where}")
    pictures = sorted(run.samples.glob("*.png"))
    if pictures:
        lines.append(f"pictures of held-out samples: {pictures[-1]}")
    lines.append(f"curves: tensorboard --logdir {quote(str(run.path / 'tensorboard'))}")
    lines.append(f'draw: omnigen generate --model {quote(str(run.path))} --prompt "..." --out picture.png')
    return "\n".join(lines)


def _phase_line(phase: Phase) -> str:
    train = phase.train
    return (
        f"{phase.prefix}{train.steps} steps at {phase.max_side} px, {train.packs_per_step} x {train.pack_tokens} "
        f"tokens a step, learning rate {train.lr:g}"
    )

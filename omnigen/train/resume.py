"""Which checkpoint a run goes on from, and whether it may with the settings it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnigen.train.checkpoint_files import MARKER, checkpoint_step, complete_checkpoints
from omnigen.train.config import TrainingConfig, differences, load_config
from omnigen.train.config_paths import WITH_FOLDER
from omnigen.train.phases import phase_at, require_same_past, run_phases
from omnigen.train.run_folder import RunFolder
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.train.checkpoint import RunState

# Settings that may change from one life of a run to the next: they do not change what any step computes, but for
# train.steps, which lengthens a run (and, with the cosine schedule, the way the learning rate falls from there on).
# What may change of `phases` is for `require_same_past` to say.
FREE_SECTIONS = ("log", "checkpoint", "parallel", "phases")
FREE_KEYS = (
    "data.shards",
    "data.class_shards",
    "data.workers",
    "data.bad_samples",
    "data.cache_dir",
    "data.cache_bytes",
    "data.text",
    "train.steps",
    "train.checkpointing",
    "train.compile",
    "train.threads",
    "model.init",
)


def checkpoint_to_resume(run: RunFolder, settings: TrainingConfig, resume: str) -> Path | None:
    """Returns the complete checkpoint that the run in `run` goes on from; None to begin.

    resume: as of `omnigen train --resume`. A checkpoint that is named may be the run's own or, in a folder without a
    run, another's, and is taken with any settings. Raises UserError if `resume` asks for what is not there or for what
    would mix two runs, or if the run was begun with other settings.
    """
    own = complete_checkpoints(run.checkpoints)
    holds = f"{run.path}: holds a run of {checkpoint_step(own[-1])} steps" if own else ""
    if resume == "auto":
        if own:
            _require_same(run, settings, checkpoint_step(own[-1]))
        return own[-1] if own else None
    if resume == "never":
        if own:
            raise UserError(
                f"{holds}, and --resume never was given; give another folder with --out, or remove this one"
            )
        return None
    checkpoint = _named(Path(resume))
    if own and checkpoint.resolve() not in [path.resolve() for path in own]:
        raise UserError(
            f"{holds}, which --resume {resume} does not belong to; leave --resume out to go on with it, or give "
            f"another folder with --out"
        )
    return checkpoint


def require_continuable(checkpoint: Path, state: RunState, begun: RunState, config: TrainingConfig) -> None:
    """Raises UserError unless a run that would begin as `begun` may go on from `checkpoint`, whose state is `state`:
    the samples, the frozen weights, codec and tokenizer must be the same, and its steps be among those of `config`.
    """
    if state.catalog != begun.catalog:
        raise UserError(
            f"{checkpoint}: was trained on other samples than data.shards and data.validation_fraction now give; "
            f"to train on these from its weights, begin a new run with model.init"
        )
    if state.base and state.base != begun.base:
        raise UserError(
            f"{checkpoint}: its adapter was trained beside other weights than those in model.init "
            f"({config.model.init}): fingerprint {state.base} there, {begun.base} here. Give the folder that it was "
            f"begun with, or begin anew with --out elsewhere"
        )
    for what in ("codec", "tokenizer"):
        there, here = getattr(state, what), getattr(begun, what)
        if there not in ("", here):
            raise UserError(
                f"{checkpoint}: was trained with another {what} than that of model.{what} "
                f"({getattr(config.model, what)}); give the one that it was begun with"
            )
    phases = run_phases(config)
    if state.step > phases[-1].last:
        raise UserError(
            f"{checkpoint}: has taken {state.step} steps, the configuration has {phases[-1].last}; lengthen it with "
            f"train.steps (or the last phase's steps), or resume an earlier checkpoint"
        )
    index = phase_at(phases, state.step - 1).index
    if state.step and index != state.phase:
        raise UserError(
            f"{checkpoint}: its last step was of phase {state.phase + 1}, by the configuration it is of phase "
            f"{index + 1}; restore the phases it was trained with"
        )


def _named(path: Path) -> Path:
    if (path / MARKER).is_file():
        return path
    found = complete_checkpoints(RunFolder(path).checkpoints)
    if not found:
        raise UserError(f"--resume {path}: expected auto, never, or the folder of a run or of a complete checkpoint")
    return found[-1]


def _moved(name: str, old: Any, new: Any) -> bool:
    """Whether a setting names a codec or a tokenizer of the same family in another folder.

    The checkpoint knows whether what lies there is the same.
    """
    if name not in ("model.codec", "model.tokenizer"):
        return False
    family = old.partition(":")[0]
    return family in WITH_FOLDER and family == new.partition(":")[0]


def _require_same(run: RunFolder, settings: TrainingConfig, step: int) -> None:
    try:
        if not (run.config).read_bytes().strip():
            raise UserError(f"{run.config}: is empty")
        before = load_config(run.config)
    except (OSError, UserError) as error:
        raise UserError(
            f"{error}. That is the run's own record of its settings; to go on without comparing them, say "
            f"--resume {run.path}"
        ) from error
    changed = {
        name: values
        for name, values in differences(before, settings).items()
        if name not in FREE_KEYS and name.split(".")[0] not in FREE_SECTIONS and not _moved(name, *values)
    }
    if changed:
        listed = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changed.items())
        raise UserError(
            f"{run.config}: this run was begun with other settings: {listed}. Restore them, or begin anew with "
            f"--out elsewhere"
        )
    require_same_past(run_phases(before), run_phases(settings), step)

"""The phases of a run: which steps each takes, and the settings that hold in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from omnigen.train.config import OptimizationConfig, PhaseConfig, TrainingConfig
from x2i.errors import UserError
from x2i.seeding import stable_hash

OF_OPTIMIZATION = (
    "steps", "pack_tokens", "packs_per_step", "lr", "warmup", "schedule", "min_lr_ratio", "timestep_shift",
)  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """Steps [first, last) of a run.

    train: the settings in force, `train.steps` being this phase's alone and `train.seed` its own. max_side: of images,
    in pixels. weights: of the tasks; None: every sample counts the same.
    """

    index: int
    name: str
    first: int
    last: int
    train: OptimizationConfig
    max_side: int
    weights: Mapping[str, float] | None

    @property
    def prefix(self) -> str:
        """What an error message about the phase begins with; "" for the only phase of a run without `phases`."""
        return f"{self.name}: " if self.name else ""

    @property
    def tokens_per_step(self) -> int:
        """Tokens that the packs of one step can hold."""
        return self.train.packs_per_step * self.train.pack_tokens


def run_phases(config: TrainingConfig) -> tuple[Phase, ...]:
    """Returns the phases of a run in order; a run without `phases` is one phase."""
    phases: list[Phase] = []
    for index, given in enumerate(config.phases or (PhaseConfig(config.train.steps),)):
        changes = {name: value for name, value in asdict(given).items() if value is not None}
        train = replace(config.train, **{name: changes[name] for name in OF_OPTIMIZATION if name in changes})
        if index:  # sample indices of a phase begin at 0 again, and must not get the same noise again
            train = replace(train, seed=stable_hash("stage", config.train.seed, index))
        first = phases[-1].last if phases else 0
        max_side, weights = changes.get("max_side", config.data.max_side), changes.get("weights", config.data.weights)
        name = given.name or (f"phase {index + 1}" if config.phases else "")
        phases.append(Phase(index, name, first, first + given.steps, train, max_side, weights))
    return tuple(phases)


def phase_at(phases: Sequence[Phase], step: int) -> Phase:
    """Returns the phase that takes step number `step` (from 0); the last one for a step beyond the end."""
    return next((phase for phase in phases if step < phase.last), phases[-1])


def require_same_past(before: Sequence[Phase], now: Sequence[Phase], step: int) -> None:
    """Checks that a run of `step` steps may go on with other phases than it began with.

    Phases that are over must be the same; of the one under way only the length may change; what comes after is free.
    Raises UserError naming the phase.
    """
    for old in before:
        if old.first >= step:
            return
        new = now[old.index] if old.index < len(now) else None
        allowed = old
        if new is not None and step <= old.last:
            allowed = replace(old, last=new.last, train=replace(old.train, steps=new.train.steps))
        if allowed != new or new.last < min(step, old.last):
            raise UserError(
                f"phases: {old.name or 'the run'} was begun with other settings, and {step} steps are taken; only how "
                f"long the current phase lasts, and what comes after it, may change. Restore them, or begin anew with "
                f"--out elsewhere"
            )

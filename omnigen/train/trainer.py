"""The training loop: a generator that takes steps and yields events, which its caller shows.

A run's life is a sequence of steps that the configuration determines; a kill at any moment loses only what came after
the last complete checkpoint, and that is computed again to the same numbers.

The device need not wait for the host: a step's numbers are read when the next one is begun, whose packs were prepared
meanwhile. Only before a line of the log, an evaluation or a checkpoint is the step before it read to the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnigen.data.loading.loader import StepLoader
from omnigen.data.loading.sample import BadSample
from omnigen.data.order.packing import PackingState
from omnigen.train import evaluation
from omnigen.train.ahead import PreparedAhead
from omnigen.train.checkpoint import Checkpoints, RunState, load_checkpoint
from omnigen.train.metrics import RunLog
from omnigen.train.optimizer import build_optimizer, learning_rate
from omnigen.train.phases import phase_at
from omnigen.train.prepare import PreparedStep, prepare_step
from omnigen.train.resume import require_continuable
from omnigen.train.run_folder import BAD_SAMPLES, METRICS, TIMING, VALIDATION, RunFolder
from omnigen.train.sample_grid import write_grid
from omnigen.train.setup import PhaseParts, Setup
from omnigen.train.step import BegunStep, Stepper
from omnigen.train.step_metrics import BAD, NOT_FINITE, SAMPLES, StepMetrics, report
from omnigen.train.throughput import Throughput
from x2i.errors import RunError

MOST_NAMED = 3


@dataclass(frozen=True)
class Event:
    """What happened at a step.

    kind: start, phase, metrics, bad_samples, validation, grid, checkpoint, stopped or trained.
    """

    kind: str
    step: int
    values: Mapping[str, Any]


class Trainer:
    """Trains `setup` in the run folder `run`. should_stop: asked at every step; True saves and ends the loop."""

    def __init__(self, setup: Setup, run: Path, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.setup, self.run_folder, self._should_stop = setup, run, should_stop
        self.config, self.ranks = setup.config, setup.ranks
        config = self.config.train
        self.optimizer = build_optimizer(
            setup.model, config.lr, config.weight_decay, config.lr_scales, config.optimizer
        )
        self.stepper = Stepper(
            setup.model,
            self.optimizer,
            setup.average,
            setup.ranks,
            setup.autocast,
            setup.sharded,
            self.config.parallel.sync == "step",
        )
        keeping = self.config.checkpoint
        self.checkpoints = Checkpoints(RunFolder(run).checkpoints, keeping.keep, setup.ranks, keeping.background)
        self.state = RunState(
            catalog=setup.data.fingerprint(),
            base=setup.base,
            codec=setup.codec.fingerprint,
            tokenizer=setup.tokenizer.fingerprint,
        )
        self._last = setup.phases[-1].phase.last
        is_lora = self.config.lora.rank > 0
        self._throughput = Throughput(setup.ranks, setup.model.config, is_lora, self.config.log.peak_tflops)
        self._log: RunLog | None = None
        self._new_bad: list[BadSample] = []

    def resume(self, checkpoint: Path) -> list[Path]:
        """Continues from `checkpoint`; returns the later checkpoints of the run, which it removes.

        Raises UserError if it is of another network, of other samples or of other phases, before anything is removed.
        """
        setup = self.setup
        state = load_checkpoint(checkpoint, setup.model, self.optimizer, setup.average, self.ranks)
        require_continuable(checkpoint, state, self.state, self.config)
        self.state = replace(state, base=setup.base, codec=self.state.codec, tokenizer=self.state.tokenizer)
        return self.checkpoints.clear_after(state.step)

    def train(self) -> Iterator[Event]:
        """Takes the steps that are left."""
        if self.ranks.is_main:
            self._log = RunLog(
                self.run_folder, self.state.step, self.state.phase + 1, evaluated=not self.state.evaluation_due
            )
            if self.config.log.wandb:
                self._log.open_wandb(self.config.log.wandb, self.config.to_dict())
        yield Event("start", self.state.step, {"steps": self._last})
        if self.state.evaluation_due:
            yield from self._evaluate(self.setup.phases[self.state.phase])
        stopped = False
        while self.state.step < self._last and not stopped:
            parts = self.setup.phases[phase_at([p.phase for p in self.setup.phases], self.state.step).index]
            if parts.phase.index != self.state.phase:
                self.state = replace(self.state, phase=parts.phase.index, data=PackingState(), best_step=0)
                yield Event("phase", self.state.step, {"phase": parts.phase})
                yield from self._validate(parts)
            for event in self._train_phase(parts):
                stopped = stopped or event.kind == "stopped"
                yield event
        self.checkpoints.wait()
        if not stopped:
            self._require_trained()
            yield Event("trained", self.state.step, {})

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()

    def _train_phase(self, parts: PhaseParts) -> Iterator[Event]:
        throughput = self._throughput
        throughput.resume()
        with closing(iter(self._loader(parts))) as loaded:
            ahead = PreparedAhead(
                throughput.waited_for(loaded), lambda step: prepare_step(step, self.setup, parts), self.ranks.device
            )
            ahead.fetch()
            unread: tuple[PreparedStep, BegunStep] | None = None
            for step in range(self.state.step, parts.phase.last):
                prepared = ahead.take()
                assert prepared is not None, "the loader gives every step of the phase"
                begun = self._begin(prepared, parts, step)
                stop = bool(self.ranks.sum(torch.tensor(int(self._should_stop())))) and step + 1 < self._last
                if unread is not None:
                    self._read(*unread, parts)
                ahead.fetch()
                unread = prepared, begun
                if stop or self._is_due(step + 1, parts):
                    self._read(*unread, parts)
                    unread = None
                    yield from self._after_step(parts, stop)
                    if stop:
                        self.checkpoints.wait()
                        yield Event("stopped", self.state.step, {})
                        return
                    throughput.resume()

    def _is_due(self, step: int, parts: PhaseParts) -> bool:
        """Whether something is to be done after step `step`, for which its numbers or its weights are needed."""
        log = self.config.log
        periods = (log.every, log.validate_every, log.sample_every, self.config.checkpoint.every)
        return step == parts.phase.last or any(_due(step, period) for period in periods)

    def _loader(self, parts: PhaseParts) -> StepLoader:
        return StepLoader(
            parts.schedule,
            self.state.data,
            self.state.step,
            parts.phase.last,
            workers=self.config.data.workers,
            rank=self.ranks.rank,
            world=self.ranks.world,
            latents=parts.caches.latents,
        )

    def _begin(self, prepared: PreparedStep, parts: PhaseParts, step: int) -> BegunStep:
        train = parts.phase.train
        return self.stepper.begin(prepared.packs, train, step, learning_rate(step - parts.phase.first, train))

    def _read(self, prepared: PreparedStep, begun: BegunStep, parts: PhaseParts) -> None:
        """Moves the state past a step that was begun. Raises RunError if its numbers are not finite: on every rank, or
        on none.
        """
        norm, packs = begun.read()
        metrics, wrong = StepMetrics(prepared.scheduled.tasks), list[str]()
        for pack, numbers in packs:
            wrong += metrics.add_pack(pack, numbers)
        metrics.add(BAD, len(prepared.bad))
        metrics.sums = self.ranks.sum(metrics.sums)
        if metrics[NOT_FINITE] or not math.isfinite(norm):
            raise self._not_finite(wrong, [key for pack, _ in packs for key in pack.keys], metrics[NOT_FINITE] > 0)
        planned, capacity = prepared.scheduled.num_tokens, parts.phase.tokens_per_step
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            data=prepared.scheduled.state,
            samples=self.state.samples + int(metrics[SAMPLES]),
            target_tokens=self.state.target_tokens + begun.tokens,
            tokens=self.state.tokens + planned,
            sums=metrics.accumulate(self.state.sums, planned, capacity, norm),
        )
        self._throughput.stepped(prepared.scheduled)
        if metrics[BAD]:
            self._count_bad(prepared.bad)

    def _after_step(self, parts: PhaseParts, stop: bool) -> Iterator[Event]:
        log, step, last = self.config.log, self.state.step, self.state.step == parts.phase.last
        if self._new_bad:
            yield Event("bad_samples", step, {"samples": tuple(self._new_bad)})
            self._new_bad = []
        if last or _due(step, log.every):
            yield self._log_metrics(parts)
        if stop:  # whoever asked may not wait for long: save first, and evaluate in the next life
            self.state = replace(self.state, evaluation_due=True)
        else:
            yield from self._evaluate(parts)
        is_best = self.config.checkpoint.best and self.state.best_step == step
        if stop or last or is_best or _due(step, self.config.checkpoint.every):
            if self._log is not None:
                self._log.sync()  # a checkpoint without the lines before it would leave a hole in them
            path = self.checkpoints.save(self.state, self.setup.model, self.optimizer, self.setup.average)
            yield Event("checkpoint", step, {"path": path})

    def _evaluate(self, parts: PhaseParts) -> Iterator[Event]:
        """Validates and samples images, whichever is due after this step."""
        log, step, last = self.config.log, self.state.step, self.state.step == parts.phase.last
        if last or _due(step, log.validate_every):
            yield from self._validate(parts)
        if log.sample_every and (last or _due(step, log.sample_every)):
            yield from self._sample_images(parts)
        self.state = replace(self.state, evaluation_due=False)

    def _log_metrics(self, parts: PhaseParts) -> Event:
        step, phase = self.state.step, {"phase": parts.phase.index + 1}
        values = {
            **phase,
            **report(self.state.sums),
            "lr": self.optimizer.param_groups[0]["lr"],
            "samples": self.state.samples,
            "target_tokens": self.state.target_tokens,
            "tokens": self.state.tokens,
            "bad_samples": len(self.state.bad),
        }
        timing = self._throughput.interval()
        if self._log is not None:
            self._log.write(METRICS, step, values)
            self._log.write(TIMING, step, {**phase, **timing})
        self.state = replace(self.state, sums={})
        return Event("metrics", step, {**values, "timing": timing})

    def _validate(self, parts: PhaseParts) -> Iterator[Event]:
        values = evaluation.validate(self.setup, parts, self.state.step)
        if values is None:
            return
        if self._log is not None:
            self._log.write(VALIDATION, self.state.step, values)
        if self.state.step > parts.phase.first and (not self.state.best_step or values["loss"] < self.state.best_loss):
            self.state = replace(self.state, best_step=self.state.step, best_loss=values["loss"])
        yield Event("validation", self.state.step, values)

    def _sample_images(self, parts: PhaseParts) -> Iterator[Event]:
        rows = evaluation.sample_images(self.setup, parts)
        if not rows:
            return
        path = RunFolder(self.run_folder).samples / f"step-{self.state.step:07d}.png"
        write_grid(path, rows)
        if self._log is not None:
            self._log.show("samples", self.state.step, path)
        yield Event("grid", self.state.step, {"path": path})

    def _not_finite(self, wrong: list[str], all_keys: list[str], in_loss: bool) -> RunError:
        """Returns the error of a step with the samples of all ranks whose loss is not finite; of a gradient that is
        not, with all of the step. Nothing was kept of it: what would keep it reads it first.
        """
        keys = self.ranks.gather(wrong if in_loss else all_keys)
        what = "the loss of these samples" if in_loss else "the gradient"
        among = "" if in_loss else "; samples of the step"
        return RunError(
            f"step {self.state.step + 1}: {what} is not finite{among}: {', '.join(keys)}. Look at these samples with "
            f"x2i inspect; if the loss had been rising, lower train.lr. Nothing of this step was kept"
        )

    def _count_bad(self, bad: Sequence[BadSample]) -> None:
        """Logs the samples that were passed over for the first time; too many of them end the run, on every rank."""
        new: dict[str, BadSample] = {}
        for sample in self.ranks.gather(list(bad)):
            if sample.key not in self.state.bad:
                new.setdefault(sample.key, sample)
        for sample in new.values():
            if self._log is not None:
                values = {"key": sample.key, "tar": sample.tar, "reason": sample.reason}
                self._log.write(BAD_SAMPLES, self.state.step, values)
        self._new_bad += new.values()
        self.state = replace(self.state, bad=(*self.state.bad, *new))
        known = len(self.state.bad)
        if known > self.config.data.bad_samples:
            raise RunError(
                f"{known} samples could not be decoded, more than data.bad_samples "
                f"({self.config.data.bad_samples}): {', '.join(self.state.bad)}; reasons in "
                f"{self.run_folder / BAD_SAMPLES}"
            )
        if self.state.samples == 0 and known == self.setup.data.counts().get("training_samples"):
            self._require_trained()

    def _require_trained(self) -> None:
        """Raises RunError if no sample of the run has counted so far."""
        if self.state.target_tokens:
            return
        if self.state.samples:
            raise RunError("nothing was trained: in every sample the output equals the input, which teaches nothing")
        raise RunError(
            f"nothing was trained: every sample was passed over; {len(self.state.bad)} could not be decoded, such as "
            f"{', '.join(self.state.bad[:MOST_NAMED])}; reasons in {self.run_folder / BAD_SAMPLES}"
        )


def _due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0

"""The training loop: a generator that takes steps and yields events, which its caller shows.

A run's life is a sequence of steps that the configuration determines; a kill at any moment loses only what came after
the last complete checkpoint, and that is computed again to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnigen.data.loading.collate import PackBatch
from omnigen.data.loading.loader import LoadedStep, StepLoader
from omnigen.data.loading.sample import BadSample
from omnigen.data.order.packing import PackingState
from omnigen.train import evaluation
from omnigen.train.checkpoint import Checkpoints, RunState, load_checkpoint
from omnigen.train.metrics import RunLog
from omnigen.train.objective import FlowPack, SampleLosses, count_tokens, idle_pack, prepare_pack, sample_losses
from omnigen.train.optimizer import build_optimizer, learning_rate, set_learning_rate
from omnigen.train.phases import phase_at
from omnigen.train.run_folder import BAD_SAMPLES, METRICS, TIMING, VALIDATION, RunFolder
from omnigen.train.sample_grid import write_grid
from omnigen.train.setup import PhaseParts, Setup
from omnigen.train.sharding import sync_gradients, whole
from omnigen.train.step_metrics import BAD, SAMPLES, STOP, StepMetrics, report
from omnigen.train.throughput import Throughput
from x2i.errors import RunError, UserError

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
    """Trains `setup` in the run folder `run`. should_stop: asked after every step; True saves and ends the loop."""

    def __init__(self, setup: Setup, run: Path, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.setup, self.run_folder, self._should_stop = setup, run, should_stop
        self.config, self.ranks = setup.config, setup.ranks
        config = self.config.train
        self.optimizer = build_optimizer(
            setup.model, config.lr, config.weight_decay, config.lr_scales, config.optimizer
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
        if state.catalog != self.state.catalog:
            raise UserError(
                f"{checkpoint}: was trained on other samples than data.shards and data.validation_fraction now give; "
                f"to train on these from its weights, begin a new run with model.init"
            )
        if state.base and state.base != self.setup.base:
            raise UserError(
                f"{checkpoint}: its adapter was trained beside other weights than those in model.init "
                f"({self.config.model.init}): fingerprint {state.base} there, {self.setup.base} here. Give the folder "
                f"that it was begun with, or begin anew with --out elsewhere"
            )
        for what in ("codec", "tokenizer"):
            there, here = getattr(state, what), getattr(self.state, what)
            if there not in ("", here):
                raise UserError(
                    f"{checkpoint}: was trained with another {what} than that of model.{what} "
                    f"({getattr(self.config.model, what)}); give the one that it was begun with"
                )
        self._require_fitting_step(checkpoint, state)
        self.state = replace(state, base=setup.base, codec=self.state.codec, tokenizer=self.state.tokenizer)
        return self.checkpoints.clear_after(state.step)

    def _require_fitting_step(self, checkpoint: Path, state: RunState) -> None:
        if state.step > self._last:
            raise UserError(
                f"{checkpoint}: has taken {state.step} steps, the configuration has {self._last}; lengthen it with "
                f"train.steps (or the last phase's steps), or resume an earlier checkpoint"
            )
        index = phase_at([parts.phase for parts in self.setup.phases], state.step - 1).index
        if state.step and index != state.phase:
            raise UserError(
                f"{checkpoint}: its last step was of phase {state.phase + 1}, by the configuration it is of phase "
                f"{index + 1}; restore the phases it was trained with"
            )

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
        for loaded in self._loader(parts):
            throughput.loaded()
            stop = self._step(loaded, parts)
            throughput.stepped(loaded.scheduled)
            yield from self._after_step(parts, stop)
            if stop:
                self.checkpoints.wait()
                yield Event("stopped", self.state.step, {})
                return
            throughput.resume()

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

    def _step(self, loaded: LoadedStep, parts: PhaseParts) -> bool:
        """Takes one optimizer step and moves the state past it; returns whether some rank was asked to stop."""
        config, setup = parts.phase.train, self.setup
        packs = self._prepare(loaded.packs, parts)
        tokens = self.ranks.sum(torch.tensor(float(count_tokens(packs)), dtype=torch.float64)).item()
        self.optimizer.zero_grad(set_to_none=True)
        done: list[tuple[FlowPack, SampleLosses]] = []
        for number, pack in enumerate(packs, 1):
            if setup.sharded and self.config.parallel.sync == "step":
                sync_gradients(setup.model, number == len(packs))
            with setup.autocast():
                losses = sample_losses(setup.model, pack, config.attention, config.checkpointing)
            (losses.weighted_S.sum() / max(tokens, 1.0)).backward()  # type: ignore[no-untyped-call]
            done.append((pack, losses))
        if not setup.sharded:
            self.ranks.sum_gradients(setup.model)
        norm = float(whole(torch.nn.utils.clip_grad_norm_(setup.trained, config.clip)))
        self._require_finite(done, norm)
        phase_step = self.state.step - parts.phase.first
        set_learning_rate(self.optimizer, learning_rate(phase_step, config))
        self.optimizer.step()
        setup.average.update(setup.model, self.state.step)
        metrics = StepMetrics(loaded.scheduled.tasks)
        for pack, losses in done:
            metrics.add_pack(pack, losses)
        bad = [sample for pack in loaded.packs for sample in pack.bad]
        metrics.add(BAD, len(bad))
        metrics.add(STOP, self._should_stop())
        metrics.sums = self.ranks.sum(metrics.sums).cpu()
        planned, capacity = loaded.scheduled.num_tokens, parts.phase.tokens_per_step
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            data=loaded.scheduled.state,
            samples=self.state.samples + int(metrics[SAMPLES]),
            target_tokens=self.state.target_tokens + int(tokens),
            tokens=self.state.tokens + planned,
            sums=metrics.accumulate(self.state.sums, planned, capacity, norm),
        )
        if metrics[BAD]:
            self._count_bad(bad)
        return metrics[STOP] > 0 and self.state.step < self._last

    def _prepare(self, loaded: tuple[PackBatch, ...], parts: PhaseParts) -> list[FlowPack]:
        """Encodes this rank's packs. Sharded ranks work in step: each has as many, some of which may count nothing."""
        setup = self.setup
        prepared = [prepare_pack(pack, setup.codec, parts.phase.train, self.ranks.device) for pack in loaded]
        packs = [pack for pack in prepared if pack is not None]
        if self.config.model.image_attention == "causal":
            packs = [replace(pack, layout=pack.layout.with_causal_images()) for pack in packs]
        if setup.sharded:
            wanted = -(-parts.phase.train.packs_per_step // self.ranks.world)
            packs += [idle_pack(setup.codec.channels, self.ranks.device) for _ in range(wanted - len(packs))]
        return packs

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

    def _require_finite(self, done: list[tuple[FlowPack, SampleLosses]], norm: float) -> None:
        """Before anything is changed: weights and checkpoints stay as they were. Every rank raises, or none."""
        bad = [
            key
            for pack, losses in done
            for key, finite in zip(pack.keys, torch.isfinite(losses.weighted_S).tolist())
            if not finite
        ]
        found = self.ranks.sum(torch.tensor(float(len(bad)), dtype=torch.float64)).item()
        if not found and math.isfinite(norm):
            return
        keys = self.ranks.gather(bad if found else [key for pack, _ in done for key in pack.keys])
        what = "the loss of these samples" if found else "the gradient"
        among = "" if found else "; samples of the step"
        raise RunError(
            f"step {self.state.step + 1}: {what} is not finite{among}: {', '.join(keys)}. Look at these samples with "
            f"x2i inspect; if the loss had been rising, lower train.lr. Nothing of this step was kept"
        )

    def _count_bad(self, bad: list[BadSample]) -> None:
        """Logs the samples that were passed over for the first time; too many of them end the run, on every rank."""
        new: dict[str, BadSample] = {}
        for sample in self.ranks.gather(bad):
            if sample.key not in self.state.bad:
                new.setdefault(sample.key, sample)
        for sample in new.values():
            if self._log is not None:
                values = {"key": sample.key, "tar": sample.tar, "reason": sample.reason}
                self._log.write(BAD_SAMPLES, self.state.step, values)
        self._new_bad = list(new.values())
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

"""The training loop: a generator that takes steps and tells what happened; files and terminal are its reader's to see.

A run's life is a sequence of steps that the configuration determines; a kill at any moment loses only what came after
the last complete checkpoint, and that is computed again to the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnigen.data.loader import LoadedStep, StepLoader
from omnigen.train.checkpoint import Checkpoints, RunState, load_checkpoint
from omnigen.train.ledger import Ledger
from omnigen.train.metrics import BAD_SAMPLES, METRICS, TIMING, VALIDATION, RunLog
from omnigen.train.objective import FlowPack, count_tokens, prepare_pack, sample_losses
from omnigen.train.optimizer import build_optimizer, learning_rate, set_learning_rate
from omnigen.train.setup import Setup
from x2i.errors import UserError


@dataclass(frozen=True)
class Event:
    """Something that happened. kind: start, metrics, validation, grid, checkpoint, stopped or trained."""

    kind: str
    step: int
    values: Mapping[str, Any]


class Trainer:
    """Trains `setup` in the run folder `run`. should_stop: asked after every step; True saves and ends the loop."""

    def __init__(self, setup: Setup, run: Path, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.setup, self.run_folder, self._should_stop = setup, run, should_stop
        self.config, self.ranks = setup.config, setup.ranks
        self.optimizer = build_optimizer(setup.model, self.config.train)
        self.checkpoints = Checkpoints(run / "checkpoints", self.config.checkpoint.keep, setup.ranks)
        self.ledger = Ledger(setup.catalog.tasks)
        self.state = RunState(catalog=setup.catalog.fingerprint())
        self._log: RunLog | None = None

    def resume(self, checkpoint: Path) -> None:
        """Continues from `checkpoint`. Raises UserError if it was trained on other samples."""
        setup = self.setup
        state = load_checkpoint(checkpoint, setup.model, self.optimizer, setup.average, self.ranks)
        if state.catalog != self.state.catalog:
            raise UserError(
                f"{checkpoint}: was trained on other samples than data.shards and data.validation_fraction now give; "
                f"to train on these from its weights, begin a new run with model.init"
            )
        self.state = state

    def train(self) -> Iterator[Event]:
        """Takes the steps that are left."""
        first = self.state.step
        if self.ranks.is_main:
            self._log = RunLog(self.run_folder, first or -1)
        yield Event("start", first, {"steps": self.config.train.steps})
        if first == 0:
            yield from self._validate()
        clock = _Clock()
        for loaded in self._loader():
            clock.loaded()
            stop = self._step(loaded)
            clock.stepped(loaded.plan.num_tokens)
            yield from self._after_step(clock, stop)
            if stop:
                yield Event("stopped", self.state.step, {})
                return
            clock.resume()
        yield Event("trained", self.state.step, {})

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()

    def _loader(self) -> StepLoader:
        data, state = self.config.data, self.state
        return StepLoader(
            self.setup.planner,
            state.data,
            state.step,
            self.config.train.steps,
            max_side=data.max_side,
            workers=data.workers,
            rank=self.ranks.rank,
            world=self.ranks.world,
            latents=self.setup.caches.latents,
        )

    def _step(self, loaded: LoadedStep) -> bool:
        """Takes one optimizer step and moves the state past it; returns whether some rank was asked to stop."""
        config, setup = self.config.train, self.setup
        prepared = [prepare_pack(pack, setup.codec, config, self.ranks.device) for pack in loaded.packs]
        packs = [pack for pack in prepared if pack is not None]
        tokens = self.ranks.sum(torch.tensor(float(count_tokens(packs)), dtype=torch.float64)).item()
        self.optimizer.zero_grad(set_to_none=True)
        sums = self.ledger.empty()
        for pack in packs:
            with self._autocast():
                losses = sample_losses(setup.model, pack, config.attention, config.checkpointing)
            self._require_finite(losses.weighted_S, pack)
            (losses.weighted_S.sum() / max(tokens, 1.0)).backward()  # type: ignore[no-untyped-call]
            self.ledger.add(sums, pack, losses)
        self.ranks.sum_gradients(setup.model)
        norm = torch.nn.utils.clip_grad_norm_(setup.model.parameters(), config.clip)
        set_learning_rate(self.optimizer, learning_rate(self.state.step, config))
        self.optimizer.step()
        setup.average.update(setup.model, self.state.step)
        bad = [sample for pack in loaded.packs for sample in pack.bad]
        sums[self.ledger.bad], sums[self.ledger.stop] = float(len(bad)), float(self._should_stop())
        sums = self.ranks.sum(sums).cpu()
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            data=loaded.plan.state,
            samples=self.state.samples + int(sums[self.ledger.samples]),
            target_tokens=self.state.target_tokens + int(tokens),
            tokens=self.state.tokens + loaded.plan.num_tokens,
            sums=self.ledger.accumulate(self.state.sums, sums, loaded.plan.num_tokens, float(norm)),
        )
        if sums[self.ledger.bad]:
            self._count_bad([(sample.key, sample.tar, sample.reason) for sample in bad])
        return bool(sums[self.ledger.stop]) and self.state.step < config.steps

    def _after_step(self, clock: _Clock, stop: bool) -> Iterator[Event]:
        log, step, last = self.config.log, self.state.step, self.state.step == self.config.train.steps
        if last or _due(step, log.every):
            yield self._log_metrics(clock)
        if not stop and (last or _due(step, log.validate_every)):
            yield from self._validate()
        if not stop and (last or _due(step, log.sample_every)) and log.sample_every:
            yield from self._draw()
        if stop or last or _due(step, self.config.checkpoint.every):
            path = self.checkpoints.save(self.state, self.setup.model, self.optimizer, self.setup.average)
            yield Event("checkpoint", step, {"path": path})

    def _log_metrics(self, clock: _Clock) -> Event:
        planned = self.config.train.packs_per_step * self.config.train.pack_tokens
        values = {
            **self.ledger.report(self.state.sums, planned),
            "lr": learning_rate(self.state.step - 1, self.config.train),
            "samples": self.state.samples,
            "target_tokens": self.state.target_tokens,
            "tokens": self.state.tokens,
            "bad_samples": len(self.state.bad),
        }
        timing = clock.lap()
        if self._log is not None:
            self._log.write(METRICS, self.state.step, values)
            self._log.write(TIMING, self.state.step, timing)
        self.state = replace(self.state, sums={})
        return Event("metrics", self.state.step, {**values, "clock": timing})

    def _validate(self) -> Iterator[Event]:
        setup = self.setup
        if setup.validation is None:
            return
        with setup.average.applied_to(setup.model), self._autocast():
            values = setup.validation.evaluate(setup.model, self.config.train.attention)
        if self.state.step == 0:
            values["mean_predictor"] = setup.validation.mean_predictor()
        if self._log is not None:
            self._log.write(VALIDATION, self.state.step, values)
        yield Event("validation", self.state.step, values)

    def _draw(self) -> Iterator[Event]:
        from omnigen.train.grid import draw_rows, write_sheet

        setup, log = self.setup, self.config.log
        slots = setup.validation.slots[: log.sample_held_out] if setup.validation is not None else ()
        if not self.ranks.is_main or not (slots or log.prompts):
            return
        with setup.average.applied_to(setup.model):
            rows = draw_rows(
                setup.model,
                setup.tokenizer,
                setup.codec,
                slots,
                log,
                max_side=self.config.data.max_side,
                seed=self.config.train.seed,
            )
        path = self.run_folder / "samples" / f"step-{self.state.step:07d}.png"
        write_sheet(path, rows)
        yield Event("grid", self.state.step, {"path": path})

    def _autocast(self) -> AbstractContextManager[Any]:
        precision, device = self.config.train.precision, self.ranks.device.type
        if precision == "bf16" or (precision == "auto" and device == "cuda"):
            return torch.autocast(device, torch.bfloat16)
        return nullcontext()

    def _require_finite(self, losses_S: torch.Tensor, pack: FlowPack) -> None:
        if not torch.isfinite(losses_S).all():
            raise UserError(
                f"step {self.state.step}: the loss is not finite; samples of the pack: {', '.join(pack.keys)}. Lower "
                f"train.lr, or look at these samples with x2i inspect; the last checkpoint is unharmed"
            )

    def _count_bad(self, bad: list[tuple[str, str, str]]) -> None:
        found = self.ranks.gather(bad)
        for key, tar, reason in found:
            if self._log is not None:
                self._log.write(BAD_SAMPLES, self.state.step, {"key": key, "tar": tar, "reason": reason})
        keys = tuple(dict.fromkeys([*self.state.bad, *(key for key, _, _ in found)]))
        self.state = replace(self.state, bad=keys)
        if len(keys) > self.config.data.bad_samples:
            raise UserError(
                f"{len(keys)} samples could not be decoded, more than data.bad_samples "
                f"({self.config.data.bad_samples}): {', '.join(keys)}; reasons in {self.run_folder / BAD_SAMPLES}"
            )


class _Clock:
    """Where the time of an interval goes, in seconds of the wall clock. None of it reaches the deterministic files."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()
        self._waiting = self._stepping = 0.0
        self._steps = self._tokens = 0

    def loaded(self) -> None:
        self._waiting += self._since_mark()

    def stepped(self, tokens: int) -> None:
        self._stepping += self._since_mark()
        self._steps += 1
        self._tokens += tokens

    def resume(self) -> None:
        """Leaves out the time since `stepped`: validation, pictures, checkpoints."""
        self._mark = time.perf_counter()

    def lap(self) -> dict[str, float]:
        """Returns the interval's numbers and begins the next."""
        seconds = self._waiting + self._stepping
        values = {
            "time": time.time(),
            "seconds_per_step": seconds / self._steps,
            "tokens_per_second": self._tokens / seconds,
            "data_wait_share": self._waiting / seconds,
        }
        self._waiting = self._stepping = 0.0
        self._steps = self._tokens = 0
        return values

    def _since_mark(self) -> float:
        now = time.perf_counter()
        passed, self._mark = now - self._mark, now
        return passed


def _due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0

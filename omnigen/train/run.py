"""Trains a run from its configuration: finds where to continue, trains, and leaves the run folder complete."""

from __future__ import annotations

import errno
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from omnigen.train.run_folder import RunFolder
from x2i.errors import RunError, UserError
from x2i.store.files.atomic import remove_temporaries, write_bytes

if TYPE_CHECKING:
    from omnigen.train.config import TrainingConfig
    from omnigen.train.parallel import Ranks

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE)


def train(config: Path, overrides: list[str], resume: str = "auto", out: Path | None = None) -> Path:
    """Trains as `config` says in the run folder `out` (default: runs/<name of the config>); returns the run folder.

    resume: `auto` continues the run that is there, `never` refuses to, or the path of a run or of a checkpoint to
    continue from. Raises UserError for mistakes in the input, RunError if the run fails.
    """
    from omnigen.train.config import load_config

    return train_settings(load_config(config, overrides), resume, out or Path("runs") / config.stem)


def train_settings(settings: TrainingConfig, resume: str, out: Path) -> Path:
    """Like `train`, with settings that are read already."""
    from omnigen.train.phases import run_phases
    from omnigen.train.resolve import resolve

    run = RunFolder(out)
    settings, lines = resolve(settings, run.tokenizer)
    if _finished(run, settings, resume):
        steps = run_phases(settings)[-1].last
        typer.echo(f"{run.path}: trained already, {steps} steps; nothing to do. See {run.summary}")
        return run.path

    from omnigen.train.parallel import Ranks
    from omnigen.train.run_lock import lock_run_folder

    ranks = Ranks.start()
    try:
        if ranks.is_main and lines:
            typer.echo("\n".join(lines))
        with lock_run_folder(run.path, ranks):
            _train(run, settings, resume, ranks)
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        raise RunError(
            f"{error.filename or run.path}: {error.strerror}; once that is mended, the same command goes on from the "
            f"last complete checkpoint"
        ) from error
    finally:
        ranks.stop()
    return run.path


def _train(run: RunFolder, settings: TrainingConfig, resume: str, ranks: Ranks) -> None:
    from omnigen.train.console import end_lines, event_line, start_lines
    from omnigen.train.export import export
    from omnigen.train.resume import checkpoint_to_resume
    from omnigen.train.setup import assemble
    from omnigen.train.trainer import Trainer

    checkpoint = checkpoint_to_resume(run, settings, resume)
    setup = assemble(settings, ranks, typer.echo if ranks.is_main else lambda line: None)
    with _stop_on_sigterm() as stop, _reproducible(settings.train.threads, ranks.device.type == "cpu"):
        trainer = Trainer(setup, run.path, lambda: bool(stop))
        trainer.checkpoints.clear_incomplete()
        removed = trainer.resume(checkpoint) if checkpoint is not None else []
        if ranks.is_main:
            for folder in (run.path, *(path for path in run.path.glob("*") if path.is_dir())):
                remove_temporaries(folder)  # of lives that were killed as they wrote
            for later in removed:
                typer.echo(f"removed {later}, which this life of the run does not continue")
            run.summary.unlink(missing_ok=True)  # first: with the new configuration it would say "trained"
            write_bytes(run.config, settings.to_yaml().encode())
            typer.echo(start_lines(setup, run, checkpoint))
        stopped = False
        for event in trainer.train():
            stopped = event.kind == "stopped"
            if ranks.is_main and (line := event_line(event, setup)):
                typer.echo(line)
        trainer.close()
    if not stopped:
        export(setup, trainer.optimizer, trainer.state, run)
        if ranks.is_main:
            typer.echo(end_lines(run, trainer.state))
    ranks.wait()


def estimate(settings: TrainingConfig) -> str:
    """Returns the memory that a run takes, and which devices it fits; builds nothing, and reads no data unless the
    settings leave to it what a step holds.
    """
    from omnigen.train.memory import planned_network, report
    from omnigen.train.resolve import resolve

    settings, _ = resolve(settings)
    network, notes = planned_network(settings)
    return "\n".join([*notes, report(settings, network)])


def plan(settings: TrainingConfig, mfu: float) -> str:
    """Returns what common GPUs hold of a run, and the hours that it takes there; reads what `estimate` reads.

    A fine-tune without data is planned for the packs of one sample: its target, and two input images of its size.
    """
    from dataclasses import replace

    from omnigen.images import TOKEN_PIXELS
    from omnigen.train.memory import planned_network
    from omnigen.train.plan import TEXT
    from omnigen.train.plan import plan as plan_run
    from omnigen.train.resolve import resolve, resolve_folder

    settings, lines = resolve(settings) if settings.data.shards else resolve_folder(settings)
    train = settings.train
    if not train.pack_tokens:
        pack = 3 * (settings.data.max_side // TOKEN_PIXELS) ** 2 + TEXT
        settings = replace(settings, train=replace(train, pack_tokens=pack, packs_per_step=train.packs_per_step or 1))
        lines.append(f"without --data: packs of {pack} tokens, which hold a target and two input images")
    network, notes = planned_network(settings)
    return "\n".join([*lines, *notes, plan_run(settings, network, mfu)])


def _finished(run: RunFolder, settings: TrainingConfig, resume: str) -> bool:
    """Whether the run was trained to its end with these settings, so that not even the data need be opened.

    What is missing or damaged of its results is made again from the last checkpoint.
    """
    from omnigen.train.config import load_config
    from omnigen.train.phases import run_phases

    kept = settings.model.image_attention == "bidirectional"
    results = run.adapter if settings.lora.rank else run.model
    if resume != "auto" or (kept and not list(results.glob("*config.json"))):
        return False
    try:
        summary = json.loads(run.summary.read_text())
        return summary["steps"] == run_phases(settings)[-1].last and load_config(run.config) == settings
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return False


@contextmanager
def _stop_on_sigterm() -> Iterator[list[int]]:
    """Gives a list that is empty until SIGTERM or SIGINT comes; a second one ends the process as usual.

    In a thread, as Ray Train runs workers, signals are the process's own affair.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _reproducible(threads: int, deterministic: bool) -> Iterator[None]:
    """Sets the number of threads and lets torch use deterministic kernels only; sets both back at the end.

    A resumed run then equals the uninterrupted one bit for bit, on one CPU rank and for equal numbers of threads.
    """
    import torch

    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads or before[0])
    if deterministic:
        torch.use_deterministic_algorithms(True)
        # It would fill every fresh tensor, to no end: nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]

"""What `omnigen train` does: read the configuration, find where to continue, train, leave the run folder complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from x2i.errors import UserError
from x2i.store.atomic import write_bytes

if TYPE_CHECKING:
    from omnigen.train.config import TrainingConfig

CONFIG_FILE, SUMMARY_FILE = "config.yaml", "summary.json"
# Settings that may change from one life of a run to the next: they do not change what any step computes, but for
# train.steps, which lengthens a run (and, with the cosine schedule, the way the learning rate falls from there on).
# What may change of `stages` is for `require_same_past` to say.
FREE_SECTIONS = ("log", "checkpoint", "parallel", "stages")
FREE_KEYS = (
    "data.shards",
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


def train(config: Path, overrides: list[str], resume: str = "auto", out: Path | None = None) -> Path:
    """Trains as `config` says in the run folder `out` (default: runs/<name of the config>); returns the run folder.

    resume: `auto` continues the run that is there, `never` refuses to, or the path of a run or of a checkpoint to
    continue from. Raises UserError for whatever the user can mend.
    """
    from omnigen.train.config import load_config
    from omnigen.train.stages import run_stages

    settings = load_config(config, overrides)
    run = out or Path("runs") / config.stem
    if _finished(run, settings, resume):
        steps = run_stages(settings)[-1].last
        typer.echo(f"{run}: trained already, {steps} steps; nothing to do. See {run / SUMMARY_FILE}")
        return run

    from omnigen.train.export import export
    from omnigen.train.narrate import closing, describe, opening
    from omnigen.train.parallel import Ranks
    from omnigen.train.setup import assemble
    from omnigen.train.trainer import Trainer

    ranks = Ranks.start()
    try:
        checkpoint = _checkpoint_to_resume(run, settings, resume)
        setup = assemble(settings, ranks, typer.echo if ranks.is_main else lambda line: None)
        with _stop_on_sigterm() as stop, _reproducible(settings.train.threads, ranks.device.type == "cpu"):
            trainer = Trainer(setup, run, lambda: bool(stop))
            trainer.checkpoints.clear_incomplete()
            if checkpoint is not None:
                trainer.resume(checkpoint)
            if ranks.is_main:
                write_bytes(run / CONFIG_FILE, settings.to_yaml().encode())
                typer.echo(opening(setup, run, checkpoint))
            stopped = False
            for event in trainer.train():
                stopped = event.kind == "stopped"
                if ranks.is_main and (line := describe(event, setup)):
                    typer.echo(line)
            trainer.close()
        if not stopped:
            export(setup, trainer.state, run)
            if ranks.is_main:
                typer.echo(closing(run))
        ranks.wait()
    finally:
        ranks.stop()
    return run


def plan(config: Path, overrides: list[str]) -> str:
    """Returns what a run would take, and which devices it fits; builds nothing and reads no data."""
    from omnigen.codec import load_codec
    from omnigen.tokenizer import load_tokenizer
    from omnigen.train.config import load_config
    from omnigen.train.fits import report
    from omnigen.train.setup import network_config

    settings = load_config(config, overrides)
    tokenizer, codec = load_tokenizer(settings.model.tokenizer), load_codec(settings.model.codec)
    return report(settings, network_config(settings, tokenizer, codec))


def _finished(run: Path, settings: TrainingConfig, resume: str) -> bool:
    """Whether the run was trained to its end with these settings, so that not even the data need be opened."""
    from omnigen.train.config import load_config

    if resume != "auto" or not (run / SUMMARY_FILE).is_file() or not (run / CONFIG_FILE).is_file():
        return False
    return load_config(run / CONFIG_FILE) == settings


def _checkpoint_to_resume(run: Path, settings: TrainingConfig, resume: str) -> Path | None:
    if resume not in ("auto", "never"):
        return _newest(Path(resume))
    checkpoints = sorted(marker.parent for marker in (run / "checkpoints").glob("step-*/COMPLETE"))
    if resume == "never":
        if checkpoints:
            raise UserError(
                f"{run}: holds a run of {checkpoints[-1].name.removeprefix('step-').lstrip('0')} steps, and --resume "
                f"never was given; give another folder with --out, or remove this one"
            )
        return None
    if checkpoints:
        _require_same(run, settings, int(checkpoints[-1].name.removeprefix("step-")))
    return checkpoints[-1] if checkpoints else None


def _newest(path: Path) -> Path:
    if (path / "COMPLETE").is_file():
        return path
    found = sorted(marker.parent for marker in (path / "checkpoints").glob("step-*/COMPLETE"))
    if not found:
        raise UserError(f"--resume {path}: expected auto, never, or the folder of a run or of a complete checkpoint")
    return found[-1]


def _require_same(run: Path, settings: TrainingConfig, step: int) -> None:
    from omnigen.train.config import differences, load_config
    from omnigen.train.stages import require_same_past, run_stages

    before = load_config(run / CONFIG_FILE)
    changed = {
        name: values
        for name, values in differences(before, settings).items()
        if name not in FREE_KEYS and name.split(".")[0] not in FREE_SECTIONS
    }
    if changed:
        listed = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changed.items())
        raise UserError(
            f"{run / CONFIG_FILE}: this run was begun with other settings: {listed}. Restore them, or begin anew with "
            f"--out elsewhere"
        )
    require_same_past(run_stages(before), run_stages(settings), step)


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

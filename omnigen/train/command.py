"""What `omnigen train` does: read the configuration, find where to continue, train, leave the run folder complete."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from x2i.errors import UserError
from x2i.store.atomic import write_bytes, write_json

if TYPE_CHECKING:
    from omnigen.train.config import TrainingConfig
    from omnigen.train.setup import Setup
    from omnigen.train.trainer import Event

CONFIG_FILE, SUMMARY_FILE = "config.yaml", "summary.json"
# Settings that may change from one life of a run to the next: they do not change what any step computes, but for
# train.steps, which lengthens a run (and, with the cosine schedule, the way the learning rate falls from there on).
FREE_SECTIONS = ("log", "checkpoint")
FREE_KEYS = (
    "data.shards",
    "data.workers",
    "data.bad_samples",
    "data.text",
    "train.steps",
    "train.checkpointing",
    "train.threads",
    "model.init",
)


def train(config: Path, overrides: list[str], resume: str = "auto", out: Path | None = None) -> Path:
    """Trains as `config` says in the run folder `out` (default: runs/<name of the config>); returns the run folder.

    resume: `auto` continues the run that is there, `never` refuses to, or the path of a run or of a checkpoint to
    continue from. Raises UserError for whatever the user can mend.
    """
    from omnigen.train.config import load_config

    settings = load_config(config, overrides)
    run = out or Path("runs") / config.stem
    if _finished(run, settings, resume):
        typer.echo(f"{run}: trained already, {settings.train.steps} steps; nothing to do. See {run / SUMMARY_FILE}")
        return run

    from omnigen.train.parallel import Ranks
    from omnigen.train.setup import assemble
    from omnigen.train.trainer import Trainer

    ranks = Ranks.start()
    try:
        checkpoint = _checkpoint_to_resume(run, settings, resume)
        setup = assemble(settings, ranks)
        with _stop_on_sigterm() as stop, _reproducible(settings.train.threads, ranks.device.type == "cpu"):
            trainer = Trainer(setup, run, lambda: bool(stop))
            trainer.checkpoints.clear_incomplete()
            if checkpoint is not None:
                trainer.resume(checkpoint)
            if ranks.is_main:
                write_bytes(run / CONFIG_FILE, settings.to_yaml().encode())
                typer.echo(_opening(setup, run, checkpoint))
            stopped = False
            for event in trainer.train():
                stopped = event.kind == "stopped"
                if ranks.is_main and (line := _line(event, settings)):
                    typer.echo(line)
            trainer.close()
        if ranks.is_main and not stopped:
            _export(setup, trainer.state.to_json(), run)
            typer.echo(_closing(run))
        ranks.wait()
    finally:
        ranks.stop()
    return run


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
        _require_same(run, settings)
    return checkpoints[-1] if checkpoints else None


def _newest(path: Path) -> Path:
    if (path / "COMPLETE").is_file():
        return path
    found = sorted(marker.parent for marker in (path / "checkpoints").glob("step-*/COMPLETE"))
    if not found:
        raise UserError(f"--resume {path}: expected auto, never, or the folder of a run or of a complete checkpoint")
    return found[-1]


def _require_same(run: Path, settings: TrainingConfig) -> None:
    from omnigen.train.config import differences, load_config

    changed = {
        name: values
        for name, values in differences(load_config(run / CONFIG_FILE), settings).items()
        if name not in FREE_KEYS and name.split(".")[0] not in FREE_SECTIONS
    }
    if changed:
        listed = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changed.items())
        raise UserError(
            f"{run / CONFIG_FILE}: this run was begun with other settings: {listed}. Restore them, or begin anew with "
            f"--out elsewhere"
        )


@contextmanager
def _stop_on_sigterm() -> Iterator[list[int]]:
    """Gives a list that is empty until SIGTERM or SIGINT comes; a second one ends the process as usual."""
    received: list[int] = []

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


def _export(setup: Setup, state: dict[str, Any], run: Path) -> None:
    """Writes the averaged weights as a model folder, then the summary."""
    from omnigen import __version__
    from omnigen.convert import save_model
    from omnigen.train.metrics import METRICS, VALIDATION, read_lines

    config = setup.config
    weights = setup.average.state_dict(setup.model)
    names = {"tokenizer": setup.tokenizer.name, "codec": setup.codec.name}
    save_model(run / "model", setup.model.config, weights, image_size=config.data.max_side, **names)
    lines = read_lines(run / VALIDATION)
    untrained = next((line for line in lines if line["step"] == 0), None)
    final = lines[-1] if lines else None
    metrics = read_lines(run / METRICS)
    document = {
        "omnigen": __version__,
        "steps": state["step"],
        "samples": state["samples"],
        "tokens": state["tokens"],
        "target_tokens": state["target_tokens"],
        "parameters": setup.num_parameters,
        "training_samples": len(setup.catalog) - int(setup.catalog.held_out.sum()),
        "held_out_samples": int(setup.catalog.held_out.sum()),
        "too_long": setup.too_long,
        "bad_samples": state["bad"],
        "training_loss": metrics[-1]["loss"] if metrics else None,
        "validation": {
            "untrained": untrained and {key: untrained[key] for key in ("loss", "tasks", "timesteps")},
            "mean_predictor": untrained and untrained["mean_predictor"],
            "trained": final and {key: final[key] for key in ("loss", "tasks", "timesteps")},
        },
    }
    write_json(run / SUMMARY_FILE, document)


def _opening(setup: Setup, run: Path, checkpoint: Path | None) -> str:
    catalog, config = setup.catalog, setup.config
    held_out = int(catalog.held_out.sum())
    lines = [
        f"{len(catalog) - held_out} samples of {len(catalog.tasks)} tasks to train on, {held_out} held out, from "
        f"{len(catalog.shards)} shards" + (f"; {setup.too_long} left out as too long" if setup.too_long else ""),
        f"{setup.num_parameters / 1e6:.1f} million parameters, {config.train.packs_per_step} packs of "
        f"{config.train.pack_tokens} tokens a step, {setup.ranks.world} ranks on {setup.ranks.device.type}",
        *setup.caches.lines,
        f"continuing from {checkpoint}" if checkpoint else f"a new run in {run}",
    ]
    return "\n".join(lines)


def _line(event: Event, config: TrainingConfig) -> str:
    values, total = event.values, config.train.steps
    head = f"step {event.step:>{len(str(total))}}/{total}"
    if event.kind == "metrics":
        clock = values["clock"]
        minutes, seconds = divmod(round((total - event.step) * clock["seconds_per_step"]), 60)
        return (
            f"{head}  loss {values['loss']:.4f}  gradient {values['grad_norm']:.2f}  fill {values['fill']:.1%}  "
            f"{clock['tokens_per_second']:,.0f} tokens/s  {minutes}:{seconds:02d} left"
        )
    if event.kind == "validation":
        text = f"{head}  validation loss {values['loss']:.4f}"
        mean = values.get("mean_predictor")
        return f"{text} untrained; {mean['loss']:.4f} for predicting the mean" if mean else text
    if event.kind == "grid":
        return f"{head}  pictures in {values['path']}"
    if event.kind == "stopped":
        return f"{head}  stopped as asked, and saved; the same command continues"
    return ""


def _closing(run: Path) -> str:
    lines = [f"trained; the network is in {run / 'model'}, the numbers are in {run / SUMMARY_FILE}"]
    pictures = sorted((run / "samples").glob("*.png"))
    if pictures:
        lines.append(f"pictures of held-out samples: {pictures[-1]}")
    lines.append(f"curves: tensorboard --logdir {run / 'tensorboard'}")
    lines.append(f'draw: omnigen generate --model {run} --prompt "..." --out picture.png')
    return "\n".join(lines)

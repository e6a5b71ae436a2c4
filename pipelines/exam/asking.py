"""Asks a trained network for pictures, all in one pack, and keeps the scores in the summary of its run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from x2i.store.files.atomic import write_json

if TYPE_CHECKING:
    from omnigen.generate.pipeline import OmniGenPipeline

Pixels = NDArray[np.uint8]


def ask(
    pipeline: OmniGenPipeline,
    asked: Sequence[tuple[str, Sequence[Pixels]]],
    size: int,
    *,
    steps: int,
    guidance: float = 1.0,
) -> list[Pixels]:
    """Returns a picture of `size` x `size` pixels for each instruction and its input images.

    guidance: strength of the whole condition against none (1: no guidance). Picture n starts from the noise of seed n.
    """
    from omnigen.generate.options import GenerationOptions

    options = GenerationOptions(
        height=size, width=size, steps=steps, guidance=guidance, image_guidance=0.0, shift=pipeline.shift
    )
    jobs = [pipeline.job(text, images, options, [number]) for number, (text, images) in enumerate(asked)]
    return pipeline.decode(pipeline.integrate(jobs, options))


def add_to_summary(run: Path, **scores: Any) -> None:
    """Writes scores into the run's summary.json, each under its name."""
    path = run / "summary.json"
    write_json(path, {**json.loads(path.read_text()), **scores})


def describe_training(run: Path) -> str:
    """Returns in a line what was trained, for how long and on what, as the run's files say."""
    summary = json.loads((run / "summary.json").read_text())
    weights = f"{summary['parameters'] / 1e6:.1f} million weights, from random ones"
    return f"{weights}, {summary['steps']} steps{_minutes(run)} on {summary['training_samples']} samples"


def _minutes(run: Path) -> str:
    """Returns how long the steps took, by timing.jsonl; "" if it says nothing."""
    path, seconds, before = run / "timing.jsonl", 0.0, 0
    if not path.is_file():
        return ""
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        seconds += entry["seconds_per_step"] * max(0, entry["step"] - before)
        before = entry["step"]
    return f" ({seconds / 60:.0f} min)" if seconds >= 60 else f" ({seconds:.0f} s)" if seconds else ""

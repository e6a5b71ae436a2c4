"""`make learn`: draws scenes, cuts photographs, trains on both cores for half an hour, and examines the network."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from pipelines.demo.typed_commands import run
from pipelines.script import run_script

NAME = "learn"
"""Of the manifest and of the training configuration."""
SIZE = 64


def learn(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path(NAME),
    workers: Annotated[int, typer.Option(min=1, help="Processes that build, and that train.")] = 2,
) -> None:
    """Trains a network of two million weights on drawn scenes and parts of photographs, and examines it."""
    from pipelines.learn.examine import Length, examine, lines
    from pipelines.learn.photographs import write_training_parts
    from pipelines.manifest import find_manifest, load_manifest
    from pipelines.stages.crawl.stage import CrawlStage

    started = time.monotonic()
    parts, trained = out / "photographs", out / "run"
    typer.echo(f"{write_training_parts(parts, SIZE)} parts of photographs are in {parts}")
    manifest = load_manifest(find_manifest(Path(NAME)), [])
    (crawl,) = (stage for stage in manifest.stages if isinstance(stage, CrawlStage))
    sources = json.dumps([*crawl.sources, str(parts)])
    run("x2i", "build", NAME, "--out", str(out / "data"), "--workers", str(workers),
        "--set", f"crawl.sources={sources}")  # fmt: skip
    # A rank a core: what a step of so small a network takes is mostly the calls, which threads do not share.
    run("torchrun", "--standalone", "--nproc-per-node", str(workers), "-m", "omnigen.cli", "train", NAME,
        "--set", f"data.shards=[{out / 'data'}]", "--out", str(trained))  # fmt: skip
    sheet = examine(trained, manifest, Length())
    run("x2i", "report", str(out / "data"), "--run", str(trained), "--html", str(out / "report.html"))
    typer.echo(f"\nDone in {(time.monotonic() - started) / 60:.0f} min. The exam, on what was never trained on:")
    for line in lines(json.loads((trained / "summary.json").read_text())):
        typer.echo(line)
    typer.echo(f"The same at a glance: {sheet}; curves: {out}/report.html; numbers: {trained}/summary.json")


if __name__ == "__main__":
    run_script(learn, NAME)

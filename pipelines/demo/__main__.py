"""`make demo`: serves the demo site, runs the commands a user would type against it, and says what was made."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.demo.photographs import PHOTOGRAPHS
from pipelines.demo.server import serve_site, site_address
from pipelines.demo.site import write_site
from x2i.errors import UserError, missing_extra

SCENES = "scenes"
PROMPT = "a purple ring on the left, on white"
PROMPTS, EDITS = 24, 6
GUIDANCE = 2.5  # so short a training knows the words better than it dares to show


def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo"),
    port: Annotated[
        int,
        typer.Option(
            min=1,
            max=65535,
            help="Port of the demo web site on 127.0.0.1. Part of its addresses, so of every record made.",
        ),
    ] = 8471,
    workers: Annotated[int, typer.Option(help="Worker processes for the data stages.")] = 2,
    manifest: Annotated[str, typer.Option(help="What is built: demo, or models for models of the Hub.")] = "demo",
) -> None:
    """Builds datasets of real photographs, served over real HTTP, and of drawn scenes; trains on both, and judges."""
    started = time.monotonic()
    data, scenes = out / "data", out / "scenes"
    site, address = out / "site", site_address(port)
    write_site(site, address)
    drawing = _start(out / "scenes.log", "x2i", "build", SCENES, "--out", str(scenes), "--workers", "1")
    with serve_site(site, port):
        typer.echo(f"A web site with {len(PHOTOGRAPHS)} real photographs is up at {address}/index.html")
        sources = f"crawl.sources=[{address}/index.html, {site}/urls.csv]"
        _run("x2i", "build", manifest, "--out", str(data), "--executor", "ray", "--workers", str(workers),
             "--set", sources)  # fmt: skip
    _finish(drawing, out / "scenes.log")
    _run("omnigen", "generate", "--model", str(scenes / "run"), "--prompt", PROMPT, "--guidance", str(GUIDANCE),
         "--out", str(out / "generated.png"))  # fmt: skip
    sheet = _examine(scenes / "run", data / "run")
    _run("x2i", "report", str(scenes), "--html", str(scenes / "report.html"))
    _tell(out, data, scenes, sheet, time.monotonic() - started)


def _examine(run: Path, photographs: Path) -> Path:
    """Asks the network of `run` for held-out scenes, adds the scores to its summary, and returns the sheet."""
    from omnigen.generate.pipeline import OmniGenPipeline
    from pipelines.demo.exam import add_to_summary, answer, prompts, recolorings, scores
    from pipelines.demo.exam_sheet import write_sheet

    pipeline = OmniGenPipeline.from_pretrained(run)
    size = pipeline.max_side
    drawn = answer(pipeline, prompts(PROMPTS, size), GUIDANCE)
    edited = answer(pipeline, recolorings(EDITS, size), GUIDANCE)
    found = scores(drawn, edited)
    add_to_summary(run, found)
    summary = json.loads((run / "summary.json").read_text())
    trained = (
        f"{summary['parameters'] / 1e6:.1f} million weights, from random ones, {summary['steps']} steps on "
        f"{summary['training_samples']} samples; no scene below was among them"
    )
    path = run / "samples" / "exam.png"
    write_sheet(path, drawn, edited, found, trained, max((photographs / "samples").glob("*.png"), default=None))
    return path


def _run(*arguments: str) -> None:
    """Runs one of this environment's commands as a user would, and ends with its status if it fails."""
    typer.secho(f"\n$ {' '.join(arguments)}", bold=True)
    status = subprocess.run(_command(*arguments), check=False).returncode
    if status:
        sys.exit(status)


def _start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts a command beside what follows: training takes one core, and so does most of the rest."""
    typer.secho(f"\n$ {' '.join(arguments)} > {log} &", bold=True)
    with log.open("wb") as output:
        return subprocess.Popen(_command(*arguments), stdout=output, stderr=subprocess.STDOUT)


def _finish(running: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for what `_start` began; ends with its status and its words if it fails."""
    typer.secho("\n$ wait", bold=True)
    if status := running.wait():
        typer.echo(log.read_text(errors="replace"))
        sys.exit(status)
    typer.echo("\n".join(log.read_text(errors="replace").splitlines()[-6:]))


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]


def _tell(out: Path, data: Path, scenes: Path, sheet: Path, seconds: float) -> None:
    """The last ten lines: what was made and where to look."""
    from x2i.store import Dataset

    run = data / "run"
    dataset = Dataset.open(data)
    rows = dataset.images(["status"])["status"].to_pylist()
    shards = dataset.shards()
    counts = {shard.name: shard.index(["key"]).num_rows for shard in shards}
    tasks = {name.rsplit("-", 2)[0] for name in counts}
    summary = json.loads((run / "summary.json").read_text())
    lines = [
        f"Done in {seconds:.0f} s. {len(rows)} image addresses were tried, {rows.count('ok')} images kept.",
        f"{sum(counts.values())} samples of {len(tasks)} tasks in {len(shards)} training shards:  {data}/shards",
        f"Every file checked against its record:                        x2i verify {data}",
        f"What the samples look like (contact sheet):                   {data}/sheet.png",
        f"All samples, with task filter and lineage (open in a browser): {data}/gallery/index.html",
        f"From addresses to samples, every loss with its reason:        {data}/report.html",
        _describe_validation(summary),
        _describe_scores(json.loads((scenes / "run" / "summary.json").read_text())["scenes"]),
        f"The same at a glance, beside the photographs:                 {sheet}",
        f'Drawn for "{PROMPT}":  {out}/generated.png',
        f"Go on: omnigen generate --model {scenes}/run --prompt ... ; x2i build scenes --out more ; README.md",
    ]
    typer.echo("")
    for line in lines:
        typer.echo(line)
    losses = _losses(summary)
    if losses["trained"] >= losses["mean_predictor"]:
        raise UserError(
            f"the network has learned nothing: a held-out loss of {losses['trained']:.3f}, where predicting the mean "
            f"gives {losses['mean_predictor']:.3f}; please report this"
        )


def _describe_scores(found: dict[str, Any]) -> str:
    return (
        f"Held-out scenes drawn from words, judged from their pixels: color and side right in "
        f"{found['color_and_side']:.0%} of {found['prompts']} prompts "
        f"({found['color_and_side_of_unseen_pairs']:.0%} where color and shape were never trained on together), "
        f"shape too in {found['color_side_and_shape']:.0%}; recolored right: {found['recolored']:.0%} of "
        f"{found['edits']}"
    )


def _losses(summary: dict[str, Any]) -> dict[str, float]:
    return {name: summary["validation"][name]["loss"] for name in ("untrained", "mean_predictor", "trained")}


def _describe_validation(summary: dict[str, Any]) -> str:
    losses = _losses(summary)
    return (
        f"Loss on held-out photographs: {losses['trained']:.3f} trained, {losses['untrained']:.3f} untrained, "
        f"{losses['mean_predictor']:.3f} for predicting the mean"
    )


if __name__ == "__main__":
    try:
        typer.run(demo)
    except UserError as error:
        typer.secho(f"demo: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        message = missing_extra(error, "the demo")
        if message is None:
            raise
        typer.secho(f"demo: {message}", fg=typer.colors.RED, err=True)
        sys.exit(2)

"""`make demo`: serves the demo site, runs the commands a user would type against it, and says what was made."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.demo.photographs import PHOTOGRAPHS
from pipelines.demo.server import serve_site, site_address
from pipelines.demo.site import write_site
from pipelines.demo.typed_commands import finish, run, start
from pipelines.script import run_script
from x2i.errors import UserError

SCENES = "scenes"
PROMPT = "a purple ring on the left, on white"
PROMPTS, EDITS = 24, 6
GUIDANCE = 2.5


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
    drawing = start(out / "scenes.log", "x2i", "build", SCENES, "--out", str(scenes), "--workers", "1")
    with serve_site(site, port):
        typer.echo(f"A web site with {len(PHOTOGRAPHS)} real photographs is up at {address}/index.html")
        sources = f"crawl.sources=[{address}/index.html, {site}/urls.csv]"
        run("x2i", "build", manifest, "--out", str(data), "--executor", "ray", "--workers", str(workers),
            "--set", sources)  # fmt: skip
    finish(drawing, out / "scenes.log")
    run("omnigen", "generate", "--model", str(scenes / "run"), "--prompt", PROMPT, "--guidance", str(GUIDANCE),
        "--out", str(out / "generated.png"))  # fmt: skip
    sheet = _examine(scenes / "run", data / "run")
    run("x2i", "report", str(scenes), "--html", str(scenes / "report.html"))
    _tell(out, data, scenes, sheet, time.monotonic() - started)


def _examine(trained: Path, photographs: Path) -> Path:
    """Asks the network of a run for held-out scenes, adds the scores to its summary, and returns the sheet."""
    from omnigen.generate.pipeline import OmniGenPipeline
    from pipelines.exam.asking import add_to_summary, describe_training
    from pipelines.exam.scenes import answer, prompt_scores, prompts, recoloring_scores, recolorings
    from pipelines.exam.sections import edit_section, prompt_sections
    from pipelines.exam.sheet import Section, write_sheet

    pipeline = OmniGenPipeline.from_pretrained(trained)
    drawn = answer(pipeline, prompts(PROMPTS, pipeline.max_side))
    edited = answer(pipeline, recolorings(EDITS, pipeline.max_side))
    add_to_summary(trained, scenes={**prompt_scores(drawn), **recoloring_scores(edited)})
    sections = [
        *prompt_sections(drawn, f"{describe_training(trained)}; no scene below was among them"),
        edit_section("Held-out scenes recolored", edited, "; edits are learned last"),
    ]
    if beside := max((photographs / "samples").glob("*.png"), default=None):
        too_little = "too few photographs, and too little time"
        sections.append(Section("Beside it, held-out photographs", too_little, picture=beside))
    path = trained / "samples" / "exam.png"
    write_sheet(path, sections)
    return path


def _tell(out: Path, data: Path, scenes: Path, sheet: Path, seconds: float) -> None:
    """The last ten lines: what was made and where to look."""
    from x2i.store import Dataset

    dataset = Dataset.open(data)
    rows = dataset.images(["status"])["status"].to_pylist()
    shards = dataset.shards()
    counts = {shard.name: shard.index(["key"]).num_rows for shard in shards}
    tasks = {name.rsplit("-", 2)[0] for name in counts}
    summary = json.loads((data / "run" / "summary.json").read_text())
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
    run_script(demo, "demo")

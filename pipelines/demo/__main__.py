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

PROMPT = "A ginger tabby cat looks straight into the camera"


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
    """Builds a small dataset from real photographs served over real HTTP, trains a tiny model on it and generates."""
    started = time.monotonic()
    data, run = out / "data", out / "data" / "run"
    site, address = out / "site", site_address(port)
    write_site(site, address)
    with serve_site(site, port):
        typer.echo(f"A web site with {len(PHOTOGRAPHS)} real photographs is up at {address}/index.html")
        sources = f"crawl.sources=[{address}/index.html, {site}/urls.csv]"
        _run("x2i", "build", manifest, "--out", str(data), "--executor", "ray", "--workers", str(workers),
             "--set", sources)  # fmt: skip
    _run("omnigen", "generate", "--model", str(run), "--prompt", PROMPT, "--out", str(out / "generated.png"),
         "--height", "64", "--width", "64")  # fmt: skip
    _tell(out, data, run, time.monotonic() - started)


def _run(*arguments: str) -> None:
    """Runs one of this environment's commands as a user would, and ends with its status if it fails."""
    typer.secho(f"\n$ {' '.join(arguments)}", bold=True)
    command = [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


def _tell(out: Path, data: Path, run: Path, seconds: float) -> None:
    """The last ten lines: what was made and where to look."""
    from x2i.store import Dataset

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
        f"What it draws after a minute (patches of color, no pictures yet: docs/guides/training.md):  {run}/samples",
        f'Drawn for "{PROMPT}":  {out}/generated.png',
        f"Go on: omnigen generate --model {run} --prompt ... ; make train OUT={data} ; README.md",
    ]
    typer.echo("")
    for line in lines:
        typer.echo(line)
    losses = _losses(summary)
    if losses["trained"] >= losses["mean_predictor"]:
        raise UserError(
            f"the network has learnt nothing: a held-out loss of {losses['trained']:.3f}, where predicting the mean "
            f"gives {losses['mean_predictor']:.3f}; please report this"
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

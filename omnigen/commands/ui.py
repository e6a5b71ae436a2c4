"""`omnigen ui`: a page in the browser on which to generate images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnigen.generate.loading import Loading
from x2i.command_options import with_options


@with_options
def command(
    model: Annotated[
        Path, typer.Option(help="Folder of a training run, a model folder of any layout, or an adapter's.")
    ],
    loading: Loading,
    lora: Annotated[
        list[Path] | None, typer.Option(help="An adapter's folder to choose from on the page; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the images, and for copies of input images.")] = Path("drawn"),
    any_base: Annotated[
        bool, typer.Option("--any-base", help="Use adapters with other weights than they were trained beside.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to serve; 0.0.0.0 for all of the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
) -> None:
    """Serve a page on which to generate images: prompt, input images, gallery, metadata, adapters.

    omnigen ui --model runs/mine
    """
    from omnigen.generate.page import Studio, build_page

    studio = Studio(model, lora or [], out, any_base, loading)
    studio.drawing("", 1.0)  # mistakes in the arguments are reported now
    page = build_page(studio)
    _, address, _ = page.launch(
        server_name=host, server_port=port or None, prevent_thread_lock=True, quiet=True, allowed_paths=[str(out)]
    )
    typer.echo(f"the page is at {address}; Ctrl-C ends it")
    page.block_thread()

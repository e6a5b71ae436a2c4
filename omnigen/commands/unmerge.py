"""`omnigen unmerge`: take an adapter out of a network's weights again."""

from __future__ import annotations

from omnigen.commands.convert import Out
from omnigen.commands.merge import AdapterFolder, Model, Scale, write_merged
from omnigen.weights.options import WriteOptions
from x2i.command_options import with_options


@with_options
def command(model: Model, adapter: AdapterFolder, out: Out, options: WriteOptions, scale: Scale = 1.0) -> None:
    """Take a merged LoRA adapter out of a network's weights again; they come back up to rounding.

    omnigen unmerge models/style runs/style/adapter models/omnigen-again
    """
    write_merged(model, adapter, out, options, -scale, any_base=True)

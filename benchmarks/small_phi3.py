"""Trains a small Phi-3 language model on text, for the ablation of initialization.

    python benchmarks/small_phi3.py --text /usr/share/vim/vim90/doc --text notes.md --out phi3
    omnigen ablate manifests/train/ablations.yaml --only initialization --phi3 phi3 --set "data.shards=[demo/data]" ...

A network of a laptop's size can only start from a Phi-3 of its own shape, and none is published. This one is
transformers' Phi3ForCausalLM in the shape of a training configuration's network, on the ids of its byte tokenizer. The
last twentieth of every file is held out; the loss on it is in nats per byte (5.5: nothing is known).

Suffixes: B windows, L their tokens.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from omnigen.codecs.base import load_codec
from omnigen.network.config import ModelConfig
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.config import load_config
from omnigen.train.setup import network_config
from omnigen.weights.configs import write_phi3
from x2i.errors import UserError

ROOT = Path(__file__).parents[1]
SUFFIXES = (".txt", ".md", ".rst")
HELD_OUT = 0.05
WINDOW = 256  # bytes; a prompt of the demo's dataset has some hundred
WINDOWS = 8  # in one step
JUDGED = 128  # held-out windows
WARMUP = 50
REPORTS = 10


def main(
    text: Annotated[
        list[Path],
        typer.Option(help="Plain text, UTF-8: a file, or a folder whose .txt, .md and .rst are read; repeat for more."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: config.json and model.safetensors, as --phi3 takes it.")],
    config: Annotated[
        Path, typer.Option(help="Training configuration whose network gives the shape; its tokenizer must be bytes.")
    ] = ROOT / "manifests/train/demo.yaml",
    steps: Annotated[int, typer.Option(min=1, help=f"Each on {WINDOWS} windows of {WINDOW} bytes.")] = 2000,
    lr: Annotated[float, typer.Option(help="Peak learning rate; a warm-up leads to it, a cosine from it.")] = 3e-3,
    threads: Annotated[int, typer.Option(min=1, help="So small a network gains little from a second one.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the weights and of the windows.")] = 0,
    shuffled: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a control: the same numbers of every tensor in random order, and so no language."
        ),
    ] = None,
) -> None:
    """Train a small Phi-3 language model on text, for `omnigen ablate --phi3`; prints its held-out loss."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        shape = network_shape(config)
        seen, held_out = read_texts(text)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{len(seen):,} bytes to train on, {len(held_out):,} held out")
    model = language_model(shape)
    typer.echo(f"{sum(p.numel() for p in model.parameters()):,} weights, held-out loss {judge(model, held_out):.3f}")
    train(model, seen, held_out, steps, lr, np.random.default_rng(seed))
    model.save_pretrained(out)
    typer.echo(f"{out}: held-out loss {judge(model, held_out):.4f} nats per byte")
    if shuffled is not None:
        shuffle(model, torch.Generator().manual_seed(seed))
        model.save_pretrained(shuffled)
        typer.echo(f"{shuffled}: held-out loss {judge(model, held_out):.4f} nats per byte")


@torch.no_grad()
def shuffle(model: Any, generator: torch.Generator) -> None:
    """Puts the numbers of every tensor in random order, in place: their scale stays, what was learnt goes."""
    for parameter in model.parameters():
        order = torch.randperm(parameter.numel(), generator=generator)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))


def network_shape(path: Path) -> ModelConfig:
    """Returns the network of a training configuration."""
    settings = load_config(path)
    if settings.model.tokenizer != ByteTokenizer.name:
        raise UserError(f"{path}: model.tokenizer: found {settings.model.tokenizer}, expected {ByteTokenizer.name}")
    return network_config(settings, ByteTokenizer(), load_codec(settings.model.codec))


def read_texts(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Returns the ids to train on and those held out; files that are no UTF-8 are passed over."""
    tokenizer = ByteTokenizer()
    seen, held_out = [], []
    for file in (file for path in paths for file in text_files(path)):
        try:
            ids = tokenizer.encode(file.read_text(encoding="utf-8"))[1:]
        except UnicodeDecodeError:
            typer.echo(f"{file}: no UTF-8, passed over", err=True)
            continue
        at = len(ids) - int(len(ids) * HELD_OUT)
        seen.append(np.array(ids[:at], np.int16))
        held_out.append(np.array(ids[at:], np.int16))
    if sum(map(len, held_out)) <= WINDOW:
        raise UserError(
            f"--text {', '.join(map(str, paths))}: found {sum(map(len, [*seen, *held_out]))} bytes, expected at least "
            f"{int(WINDOW / HELD_OUT) + 20} in {', '.join(SUFFIXES)}; give more"
        )
    return torch.from_numpy(np.concatenate(seen)), torch.from_numpy(np.concatenate(held_out))


def text_files(path: Path) -> list[Path]:
    """Returns the file itself, or a folder's files of text in the order of their names."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def language_model(shape: ModelConfig) -> Any:
    """Returns a Phi3ForCausalLM with fresh weights, whose decoder is that of an OmniGen network of this shape."""
    from transformers import Phi3Config, Phi3ForCausalLM

    document = write_phi3(shape)
    return Phi3ForCausalLM(Phi3Config(**document, eos_token_id=None, attn_implementation="sdpa"))


def train(model: Any, seen: Tensor, held_out: Tensor, steps: int, lr: float, random: np.random.Generator) -> None:
    """Trains on windows drawn anywhere in `seen`, with a line of progress now and then."""
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.1)
    model.train()
    started = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        loss = byte_loss(model, windows(seen, random.integers(0, len(seen) - WINDOW, WINDOWS)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % max(1, steps // REPORTS) == 0:
            minutes = (time.monotonic() - started) / 60
            typer.echo(
                f"step {step + 1}: loss {loss.item():.3f}, held out {judge(model, held_out):.3f}, {minutes:.1f} min"
            )


def judge(model: Any, held_out: Tensor) -> float:
    """Returns the mean loss in nats per byte of windows spread evenly over the text that was held out."""
    starts = np.linspace(0, len(held_out) - WINDOW, JUDGED).astype(np.int64)
    training = model.training
    model.eval()
    with torch.no_grad():
        losses = [
            byte_loss(model, windows(held_out, part)).item() for part in np.array_split(starts, JUDGED // WINDOWS)
        ]
    model.train(training)
    return float(np.mean(losses))


def windows(ids: Tensor, starts: np.ndarray) -> Tensor:
    """Returns windows of text (B, L), each after the beginning-of-sequence id, as a prompt begins."""
    text_BL = torch.stack([ids[start : start + WINDOW] for start in starts.tolist()]).long()
    assert ByteTokenizer.bos_id is not None
    return torch.cat([torch.full((len(starts), 1), ByteTokenizer.bos_id), text_BL], 1)


def byte_loss(model: Any, ids_BL: Tensor) -> Tensor:
    """Returns the mean cross-entropy of every byte, given those before it in its window."""
    logits = model(input_ids=ids_BL[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids_BL[:, 1:].flatten())


if __name__ == "__main__":
    typer.run(main)

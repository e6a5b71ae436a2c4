"""What `omnigen generate` does: find the model, read the images, draw, write the picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen.weights.formats import is_model_folder
from x2i.errors import UserError
from x2i.image.decode import decode
from x2i.image.encode import encode
from x2i.reasons import DroppedError
from x2i.store.files.atomic import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from omnigen.codecs.codec import Codec
    from omnigen.network.config import ModelConfig
    from omnigen.tokenizer import Tokenizer
    from omnigen.weights.lora.delta import Adapter

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def generate_picture(
    model_folder: Path,
    prompt: str,
    images: list[Path],
    out: Path,
    *,
    height: int | None,
    width: int | None,
    steps: int,
    guidance: float,
    image_guidance: float | None,
    seed: int,
    device: str,
    precision: str = "auto",
    adapters: Sequence[Adapter] = (),
    on_step: Callable[[], object] | None = None,
) -> tuple[int, int]:
    """Writes one picture to `out`, in the format of its ending; returns its (width, height).

    height, width: None takes the first input image's prepared size, or a square of the size the model was trained at.
    adapters: are added to the network's weights. device: `auto` takes a CUDA device if there is one. precision: of the
    matrix products, fp32 or bf16; `auto` is bf16 on CUDA. Raises UserError for whatever the user can mend.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--prompt: not UTF-8 from character {error.start + 1} on") from error
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {out}: expected a name that ends in {', '.join(FORMATS)}")
    folder, own = find_trained(model_folder)
    pixels = [read_image(path) for path in images]
    _require_writable(out)

    from omnigen.codecs.codec import load_codec
    from omnigen.generate.pipeline import generate
    from omnigen.images import TOKEN_PIXELS, prepared_size
    from omnigen.tokenizer import load_tokenizer
    from omnigen.weights import load_model

    device = _choose_device(device)
    saved = load_model(folder, device, [*own, *adapters])
    tokenizer = load_tokenizer(saved.description.tokenizer)
    codec = load_codec(saved.description.codec, device)
    config = saved.model.config
    _require_fit(folder, config, tokenizer, codec)
    side = min(saved.description.image_size or 1024, config.pos_embed_max_size * TOKEN_PIXELS)
    natural = prepared_size(pixels[0].shape[1], pixels[0].shape[0], side) if pixels else (side, side)
    picture = generate(
        saved.model,
        tokenizer,
        codec,
        prompt,
        pixels,
        height=natural[1] if height is None else height,
        width=natural[0] if width is None else width,
        steps=steps,
        guidance=guidance,
        image_guidance=image_guidance,
        seed=seed,
        max_input_side=side,
        bf16=precision == "bf16" or (precision == "auto" and device.startswith("cuda")),
        on_step=on_step,
    )
    try:
        write_bytes(out, encode(picture, FORMATS[out.suffix.lower()]))
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error
    return picture.shape[1], picture.shape[0]


def _require_writable(out: Path) -> None:
    """Before minutes of drawing, not after."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        problem = "is a folder" if out.is_dir() else "" if os.access(out.parent, os.W_OK) else "may not be written"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise UserError(f"--out {out}: {problem}; give another name")


def _require_fit(folder: Path, config: ModelConfig, tokenizer: Tokenizer, codec: Codec) -> None:
    if codec.channels != config.in_channels:
        raise UserError(
            f"{folder}: its codec {codec.name} has {codec.channels} channels, its network takes {config.in_channels}; "
            f"name the codec that it was trained with in config.json"
        )
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"{folder}: its tokenizer {tokenizer.name} has {tokenizer.vocab_size} ids, its network knows "
            f"{config.vocab_size}; name the tokenizer that it was trained with in config.json"
        )


def find_model(folder: Path) -> Path:
    """Returns the model folder of a training run, or `folder` itself if it is one; else raises UserError."""
    for candidate in (folder / "model", folder):
        if is_model_folder(candidate):
            return candidate
    if (folder / "checkpoints").is_dir():
        raise UserError(
            f"{folder}: this run has checkpoints, but no exported model yet (model/config.json); that comes "
            f"when training ends. To finish it, give its configuration to omnigen train again"
        )
    raise UserError(
        f"{folder}: expected the folder of a training run, or a model folder with config.json and model.safetensors"
    )


def find_trained(folder: Path) -> tuple[Path, list[Adapter]]:
    """Returns the model folder to draw with, and the adapter that a run has trained beside it, if it trained one.

    Raises UserError if there is no model.
    """
    adapter = folder / "adapter"
    if is_model_folder(folder / "model") or not (adapter / "adapter_config.json").is_file():
        return find_model(folder), []
    from omnigen.weights.lora.files import base_of, read_adapters

    return find_model(Path(base_of(adapter))), read_adapters([adapter])


def list_adapters(folders: Sequence[Path], scales: Sequence[float]) -> list[Adapter]:
    """Reads adapters; scales: none (1 for each), one for all, or one for each."""
    from omnigen.weights.lora.files import read_adapters

    if len(scales) not in (0, 1, len(folders)) or (scales and not folders):
        raise UserError(
            f"--lora-scale: found {len(scales)} for {len(folders)} of --lora; give one for all, or one for each"
        )
    each = list(scales) * len(folders) if len(scales) == 1 else scales or [1.0] * len(folders)
    return [adapter for folder, scale in zip(folders, each) for adapter in read_adapters([folder], scale)]


def read_image(path: Path) -> np.ndarray:
    """Returns an image file as uint8 RGB (H, W, 3). Raises UserError if it cannot be read."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"--image {path}: {error.strerror or error}") from error
    except DroppedError as error:
        raise UserError(f"--image {path}: not a readable image: {error}") from error


def _choose_device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "meta":
        raise UserError("--device meta: holds no numbers to draw with; use auto or cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not available here ({error}); use auto or cpu") from error
    return device

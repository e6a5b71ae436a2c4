"""Where and how a pipeline's network is held: device, precision, and what waits on the CPU while it is not needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from x2i.errors import UserError
from x2i.options import Option

if TYPE_CHECKING:
    from omnigen.codecs.base import Codec
    from omnigen.network.config import ModelConfig
    from omnigen.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loading:
    """How a network is loaded to generate with."""

    device: Annotated[str, Option("auto, cpu or cuda.")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "int8", "nf4"],
        Option("Of weights and products; auto is bf16 on a GPU. int8 and nf4 (4 bits) need bitsandbytes."),
    ] = "auto"
    offload: Annotated[
        bool, Option("Keep codec, network and the prompt's keys on the CPU while they are not needed.")
    ] = False
    compile: Annotated[bool, Option("Compile the network's layers; pays off after some images.")] = False

    def chosen_device(self) -> str:
        """Returns the device; `auto` takes a CUDA device if there is one. Raises UserError if it is not available."""
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "meta":
            raise UserError("--device meta: holds no numbers to generate with; use auto or cpu")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {self.device}: not available here ({error}); use auto or cpu") from error
        return self.device

    def chosen_precision(self) -> str:
        """Returns the precision; `auto` is bf16 on CUDA."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if self.chosen_device().startswith("cuda") else "fp32"


def require_fit(folder: Path, config: ModelConfig, tokenizer: Tokenizer, codec: Codec) -> None:
    """Raises UserError if a model folder's codec or tokenizer is not one for its network."""
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

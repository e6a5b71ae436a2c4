"""From a prompt and input images to an image: guidance's branches side by side in one pack, integrated from noise.

pipeline = OmniGenPipeline.load(Path("runs/demo"))
rgb = pipeline("a cat on a wall", options=GenerationOptions(steps=25, seed=1))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnigen.codecs.base import Codec, load_codec
from omnigen.generate.find_model import find_trained
from omnigen.generate.kv_cache import KVCache
from omnigen.generate.options import GenerationOptions
from omnigen.generate.sampler import GuidanceWeights, guidance_weights, integrate, schedule
from omnigen.images import TOKEN_PIXELS, prepare_image, prepared_size, to_tensor, to_uint8
from omnigen.network.config import ModelConfig
from omnigen.network.layout import Grid, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.prompt import Prompt, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import Tokenizer, load_tokenizer
from omnigen.weights import load_model
from x2i.errors import UserError
from x2i.sample import placeholder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from omnigen.weights.lora.delta import Adapter

DEFAULTS = GenerationOptions()


@dataclass(frozen=True)
class OmniGenPipeline:
    """A network with its tokenizer and codec, ready to generate images.

    max_side: input images are cut to it, in pixels; the natural size to generate. bf16: of the network's matrix
    products; latents and codec stay float32. shift: of the timesteps, where the options give none.
    """

    model: OmniGen
    tokenizer: Tokenizer
    codec: Codec
    max_side: int = 1024
    bf16: bool = False
    shift: float = 1.0

    @classmethod
    def load(
        cls, folder: Path, adapters: Sequence[Adapter] = (), device: str = "auto", precision: str = "auto"
    ) -> OmniGenPipeline:
        """Returns the pipeline of a training run, or of a model folder of any layout.

        adapters: are added to the network's weights, after a run's own. device: `auto` takes a CUDA device if there is
        one. precision: of the matrix products, fp32 or bf16; `auto` is bf16 on CUDA. Raises UserError if there is no
        model, or its parts do not fit together.
        """
        found = find_trained(folder)
        device = _choose_device(device)
        saved = load_model(found.folder, device, [*found.adapters, *adapters])
        tokenizer = load_tokenizer(saved.description.tokenizer)
        codec = load_codec(saved.description.codec, device)
        config = saved.model.config
        _require_fit(found.folder, config, tokenizer, codec)
        side = min(saved.description.image_size or 1024, config.pos_embed_max_size * TOKEN_PIXELS)
        bf16 = precision == "bf16" or (precision == "auto" and device.startswith("cuda"))
        shift = saved.description.timestep_shift if found.timestep_shift is None else found.timestep_shift
        return cls(saved.model, tokenizer, codec, side, bf16, shift)

    def __call__(
        self,
        prompt: str,
        images: Sequence[NDArray[np.uint8]] = (),
        options: GenerationOptions = DEFAULTS,
        on_step: Callable[[], object] | None = None,
    ) -> NDArray[np.uint8]:
        """Generates one image.

        prompt: marks input image k as `<img><|image_k|></img>`. images: uint8 RGB (H, W, 3), cut to `max_side`.
        on_step: called after each step. The noise is sampled on the CPU, so that it is the same on every device.

        Returns uint8 RGB (height, width, 3). Raises UserError for sizes that do not fit, or a prompt that does not mark
        the images.
        """
        height, width = self._size(images, options)
        parsed = build_prompt(prompt, self.tokenizer)
        _check_marks(parsed, len(images))
        codec, device = self.codec, self.model.pos_embed.device
        generator = torch.Generator().manual_seed(options.seed)
        noise = torch.randn(codec.channels, height // codec.downsample, width // codec.downsample, generator=generator)
        latents = [self._encode(image, generator).to(device) for image in images]
        target = Grid(height // TOKEN_PIXELS, width // TOKEN_PIXELS)
        weights = guidance_weights(options.guidance, options.image_guidance or None, bool(images))
        branches = self._branches(weights, parsed, latents, target)
        times = schedule(options.steps, self.shift if options.shift is None else options.shift)
        with torch.inference_mode():
            z = integrate(_GuidedVelocity(self.model, branches, self.bf16), noise.to(device), times, on_step)
            return to_uint8(codec.decode(z[None])[0])

    def _size(self, images: Sequence[NDArray[np.uint8]], options: GenerationOptions) -> tuple[int, int]:
        """Returns the (height, width) to generate: as asked, or the first image's prepared size, or a square."""
        natural = (self.max_side, self.max_side)
        if images:
            natural = prepared_size(images[0].shape[1], images[0].shape[0], self.max_side)
        height = natural[1] if options.height is None else options.height
        width = natural[0] if options.width is None else options.width
        largest = self.model.config.pos_embed_max_size * TOKEN_PIXELS
        for name, side in (("height", height), ("width", width)):
            if side % TOKEN_PIXELS or not TOKEN_PIXELS <= side <= largest:
                near = min(max(round(side / TOKEN_PIXELS), 1) * TOKEN_PIXELS, largest)
                raise UserError(
                    f"{name}: found {side}, expected a multiple of {TOKEN_PIXELS} pixels up to {largest}, such as "
                    f"{near}"
                )
        return height, width

    def _encode(self, image: NDArray[np.uint8], generator: torch.Generator) -> Tensor:
        return self.codec.encode(to_tensor(prepare_image(image, self.max_side))[None], generator)[0]

    def _branches(self, weights: GuidanceWeights, prompt: Prompt, latents: list[Tensor], target: Grid) -> list[_Branch]:
        """Returns the branches whose weight is not zero, each as short as its own prompt."""
        patch = self.model.config.patch_size
        prompts = (
            (weights.full, prompt),
            (weights.images, images_only_prompt(len(latents), self.tokenizer)),
            (weights.unconditional, unconditional_prompt(self.tokenizer)),
        )
        branches = []
        for weight, each in prompts:
            if weight != 0.0:
                references = tuple(latents[number - 1] for number in each.image_numbers)
                grids = tuple(Grid(latent.shape[1] // patch, latent.shape[2] // patch) for latent in references)
                branches.append(_Branch(weight, SampleLayout(each.pieces, grids, target), references))
        return branches


@dataclass(frozen=True)
class _Branch:
    """One term of guidance: its weight, and the sample that it conditions on."""

    weight: float
    layout: SampleLayout
    references: tuple[Tensor, ...]


class _GuidedVelocity:
    """The weighted sum of the branches' velocities, all computed in one pack."""

    def __init__(self, model: OmniGen, branches: list[_Branch], bf16: bool) -> None:
        references = [latent for branch in branches for latent in branch.references]
        self._device, self._bf16 = model.pos_embed.device.type, bf16
        with self._precision():
            self._cache = KVCache(model, [branch.layout for branch in branches], references)
        self._weights = [branch.weight for branch in branches]

    def __call__(self, z: Tensor, t: float) -> Tensor:
        count = len(self._weights)
        with self._precision():
            velocities = self._cache.velocities([z] * count, torch.full((count,), t, device=z.device))
        return torch.stack([w * v for w, v in zip(self._weights, velocities)]).sum(0)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device, torch.bfloat16, enabled=self._bf16)


def _choose_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "meta":
        raise UserError("--device meta: holds no numbers to generate with; use auto or cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not available here ({error}); use auto or cpu") from error
    return device


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


def _check_marks(prompt: Prompt, num_images: int) -> None:
    marked = len(set(prompt.image_numbers))
    if marked == num_images:
        return
    if num_images and not marked:
        raise UserError(
            f"prompt: {num_images} input image(s) were given, but the prompt does not mark where they belong. Mark the "
            f'first as {placeholder(1)}, for example: "{placeholder(1)} Make it snow."'
        )
    raise UserError(
        f"prompt: it marks {marked} image(s), but {num_images} were given; each image needs a mark, the first "
        f"{placeholder(1)}, and each mark an image"
    )

"""One picture from a prompt, with any input images: encode, read the prompt once, follow the flow, decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnigen.codecs.codec import Codec
from omnigen.generate.kv_cache import KVCache
from omnigen.generate.sampler import GuidanceWeights, guidance_weights, integrate, schedule
from omnigen.images import TOKEN_PIXELS, prepare_image, to_tensor, to_uint8
from omnigen.network.layout import Grid, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.prompt import Prompt, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import Tokenizer
from x2i.errors import UserError
from x2i.sample import placeholder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Branch:
    """One term of guidance: its weight, and the sample that it conditions on."""

    weight: float
    layout: SampleLayout
    references: tuple[Tensor, ...]


def generate(
    model: OmniGen,
    tokenizer: Tokenizer,
    codec: Codec,
    prompt: str,
    images: Sequence[NDArray[np.uint8]] = (),
    *,
    height: int,
    width: int,
    steps: int = 50,
    guidance: float = 2.5,
    image_guidance: float | None = 1.6,
    seed: int = 0,
    shift: float = 1.0,
    max_input_side: int = 1024,
    bf16: bool = False,
    on_step: Callable[[], object] | None = None,
) -> NDArray[np.uint8]:
    """SampleSequence one picture.

    prompt: marks input image k as `<img><|image_k|></img>`. images: uint8 RGB (H, W, 3), cut to `max_input_side`.
    height, width: in pixels, multiples of 16. steps: of Euler's method; `on_step` is called after each.
    guidance, image_guidance: how strongly to follow the text and the images; see `sampler.guidance_weights`.
    seed: of the noise, drawn on the CPU, so that it is the same on every device. shift: see `sampler.schedule`.
    bf16: of the network's matrix products; latents and codec stay float32.

    Returns uint8 RGB (height, width, 3). Raises UserError for sizes that do not fit, or a prompt that does not mark the
    images.
    """
    _check_size(model, height, width)
    parsed = build_prompt(prompt, tokenizer)
    _check_marks(parsed, len(images))
    device = model.pos_embed.device
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(codec.channels, height // codec.downsample, width // codec.downsample, generator=generator)
    latents = [_encode(codec, image, max_input_side, generator).to(device) for image in images]
    target = Grid(height // TOKEN_PIXELS, width // TOKEN_PIXELS)
    weights = guidance_weights(guidance, image_guidance, bool(images))
    branches = _branches(weights, parsed, tokenizer, latents, model.config.patch_size, target)
    with torch.inference_mode():
        z = integrate(_GuidedVelocity(model, branches, bf16), noise.to(device), schedule(steps, shift), on_step)
        return to_uint8(codec.decode(z[None])[0])


def _branches(
    weights: GuidanceWeights, prompt: Prompt, tokenizer: Tokenizer, latents: list[Tensor], patch: int, target: Grid
) -> list[_Branch]:
    """Returns the branches whose weight is not zero, each as short as its own prompt."""
    prompts = (
        (weights.full, prompt),
        (weights.images, images_only_prompt(len(latents), tokenizer)),
        (weights.unconditional, unconditional_prompt(tokenizer)),
    )
    branches = []
    for weight, each in prompts:
        if weight != 0.0:
            references = tuple(latents[number - 1] for number in each.image_numbers)
            grids = tuple(Grid(latent.shape[1] // patch, latent.shape[2] // patch) for latent in references)
            branches.append(_Branch(weight, SampleLayout(each.pieces, grids, target), references))
    return branches


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


def _encode(codec: Codec, image: NDArray[np.uint8], max_side: int, generator: torch.Generator) -> Tensor:
    return codec.encode(to_tensor(prepare_image(image, max_side))[None], generator)[0]


def _check_size(model: OmniGen, height: int, width: int) -> None:
    largest = model.config.pos_embed_max_size * TOKEN_PIXELS
    for name, side in (("height", height), ("width", width)):
        if side % TOKEN_PIXELS or not TOKEN_PIXELS <= side <= largest:
            near = min(max(round(side / TOKEN_PIXELS), 1) * TOKEN_PIXELS, largest)
            raise UserError(
                f"{name}: found {side}, expected a multiple of {TOKEN_PIXELS} pixels up to {largest}, such as {near}"
            )


def _check_marks(prompt: Prompt, num_images: int) -> None:
    marked = len(set(prompt.image_numbers))
    if marked == num_images:
        return
    if num_images and not marked:
        raise UserError(
            f"prompt: {num_images} input image(s) were given, but the prompt does not say where they belong. Mark the "
            f'first as {placeholder(1)}, for example: "{placeholder(1)} Make it snow."'
        )
    raise UserError(
        f"prompt: it marks {marked} image(s), but {num_images} were given; each image needs a mark, the first "
        f"{placeholder(1)}, and each mark an image"
    )

"""What guidance adds up for a prompt: its words and images, its images alone, and what it leads away from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omnigen.generate.guided import Branch
from omnigen.generate.options import GenerationOptions
from omnigen.generate.sampler import guidance_weights
from omnigen.network.layout import Grid, SampleLayout
from omnigen.prompt import Prompt, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import Tokenizer
from x2i.errors import UserError
from x2i.sample import placeholder


def guidance_branches(
    prompt: Prompt,
    latents: Sequence[Tensor],
    target: Grid,
    options: GenerationOptions,
    tokenizer: Tokenizer,
    negative: str | None,
    patch: int,
) -> tuple[Branch, ...]:
    """Returns the branches that are needed, each as short as its own prompt.

    latents: (C, H, W) of the prompt's images. negative: what guidance leads away from; None: the empty condition of
    training. patch: of the network. Raises UserError for a negative prompt that marks an image.
    """
    weights = guidance_weights(options.guidance, options.image_guidance or None, bool(latents))
    nothing = unconditional_prompt(tokenizer) if negative is None else build_prompt(negative, tokenizer)
    if nothing.image_numbers:
        raise UserError("negative_prompt: expected words alone, without the mark of an image")
    prompts = (
        (weights.full, prompt, True),
        (weights.images, images_only_prompt(len(latents), tokenizer), False),
        (weights.unconditional, nothing, False),
    )
    partly = options.guidance_start > 0 or options.guidance_end < 1
    branches = []
    for weight, each, full in prompts:
        if weight != 0.0 or (full and partly):
            references = tuple(latents[number - 1] for number in each.image_numbers)
            grids = tuple(Grid(latent.shape[1] // patch, latent.shape[2] // patch) for latent in references)
            branches.append(Branch(weight, SampleLayout(each.pieces, grids, target), references, full))
    return tuple(branches)


def parse_prompt(text: str, tokenizer: Tokenizer, num_images: int) -> Prompt:
    """Returns the prompt in tokens. Raises UserError unless it marks each of `num_images` images."""
    prompt = build_prompt(text, tokenizer)
    marked = len(set(prompt.image_numbers))
    if marked == num_images:
        return prompt
    if num_images and not marked:
        raise UserError(
            f"prompt: {num_images} input image(s) were given, but the prompt does not mark where they belong. Mark the "
            f'first as {placeholder(1)}, for example: "{placeholder(1)} Make it snow."'
        )
    raise UserError(
        f"prompt: it marks {marked} image(s), but {num_images} were given; each image needs a mark, the first "
        f"{placeholder(1)}, and each mark an image"
    )

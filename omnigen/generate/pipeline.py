"""From prompts and input images to images, with the names of diffusers' pipeline.

pipeline = OmniGenPipeline.from_pretrained("runs/demo")
image = pipeline("a cat on a wall", num_inference_steps=25, seed=1).images[0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from omnigen.codecs.base import Codec, load_codec
from omnigen.generate.branches import guidance_branches, parse_prompt
from omnigen.generate.find_model import find_trained
from omnigen.generate.forecast import ForecastVelocity, Velocity
from omnigen.generate.guided import GuidedVelocity, Job
from omnigen.generate.input_images import read_image
from omnigen.generate.loading import Loading, require_fit
from omnigen.generate.options import GenerationOptions
from omnigen.generate.sampler import integrate, schedule
from omnigen.images import TOKEN_PIXELS, prepare_image, prepared_size, to_tensor, to_uint8
from omnigen.network.blocks import compile_blocks
from omnigen.network.layout import Grid
from omnigen.network.model import OmniGen
from omnigen.tokenizer import Tokenizer, load_tokenizer
from omnigen.weights import load_model
from omnigen.weights.quantized import KINDS, quantize_layers
from x2i.errors import UserError
from x2i.options import check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from omnigen.weights.lora.delta import Adapter

DEFAULTS = GenerationOptions()
REFERENCE_SEED = 0


@dataclass(frozen=True)
class Pictures:
    """What a call of the pipeline gives. images: PIL images, arrays or latents, by prompt. seeds: of each."""

    images: Sequence[Any]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Preview:
    """What is told of images that are becoming.

    show: after every `every` steps it gets the number of steps done, and the guess at each image, uint8 RGB.
    """

    every: int
    show: Callable[[int, list[NDArray[np.uint8]]], object]


@dataclass(frozen=True)
class OmniGenPipeline:
    """A network with its tokenizer and codec, ready to generate images.

    max_side: input images are cut to it, in pixels; the natural size to generate. bf16: of the network's matrix
    products; latents and codec stay float32. shift, negative_prompt: of the timesteps and of guidance, where the
    options give none; a negative prompt of None is the empty condition of training. offload_from: the device on which
    codec and network are only while they are needed; None: they stay where they are.
    """

    model: OmniGen
    tokenizer: Tokenizer
    codec: Codec
    max_side: int = 1024
    bf16: bool = False
    shift: float = 1.0
    negative_prompt: str | None = None
    offload_from: torch.device | None = None

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        adapters: Sequence[Adapter] = (),
        device: str = "auto",
        precision: str = "auto",
        *,
        offload: bool = False,
        compile: bool = False,
    ) -> OmniGenPipeline:
        """Returns the pipeline of a training run, or of a model folder of any layout.

        adapters: are added to the network's weights, after a run's own. Other arguments: see `Loading`. Raises
        UserError if there is no model, its parts do not fit together, or a device or library is missing.
        """
        return cls.load(folder, adapters, Loading(device, precision, offload, compile))  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: str | Path, adapters: Sequence[Adapter], loading: Loading) -> OmniGenPipeline:
        """Like `from_pretrained`."""
        found, device, precision = find_trained(Path(folder)), loading.chosen_device(), loading.chosen_precision()
        waiting = "cpu" if loading.offload else device
        first = "cpu" if precision in KINDS else waiting  # the whole bf16 weights need not fit on the device
        dtype = None if precision == "fp32" else torch.bfloat16
        saved = load_model(found.folder, first, [*found.adapters, *adapters], dtype)
        if precision in KINDS:
            quantize_layers(saved.model, precision)  # type: ignore[arg-type]
            saved.model.to(waiting)
        if loading.compile:
            compile_blocks(saved.model)
        tokenizer = load_tokenizer(saved.description.tokenizer)
        codec = load_codec(saved.description.codec, waiting)
        config = saved.model.config
        require_fit(found.folder, config, tokenizer, codec)
        side = min(saved.description.image_size or 1024, config.pos_embed_max_size * TOKEN_PIXELS)
        shift = saved.description.timestep_shift if found.timestep_shift is None else found.timestep_shift
        negative, place = saved.description.negative_prompt, torch.device(device) if loading.offload else None
        return cls(saved.model, tokenizer, codec, side, precision != "fp32", shift, negative, place)

    @property
    def device(self) -> torch.device:
        """Where the network is computed."""
        return self.offload_from or self.model.pos_embed.device

    def __call__(
        self,
        prompt: str | Sequence[str],
        input_images: Sequence[Any] | None = None,
        *,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = DEFAULTS.steps,
        guidance_scale: float = DEFAULTS.guidance,
        img_guidance_scale: float = DEFAULTS.image_guidance,
        negative_prompt: str | None = None,
        num_images_per_prompt: int = 1,
        seed: int = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        max_input_image_size: int | None = None,
        use_input_image_size_as_output: bool = True,
        guidance_start: float = 0.0,
        guidance_end: float = 1.0,
        shift: float | None = None,
        cache_interval: int = 1,
        cache_order: int = DEFAULTS.cache_order,
        output_type: Literal["pil", "np", "latent"] = "pil",
        on_step: Callable[[], object] | None = None,
        preview: Preview | None = None,
    ) -> Pictures:
        """Generates images, all in one pack; those of a prompt share the work that its condition takes.

        prompt: one, or several. input_images: of one prompt a list of images (PIL, uint8 arrays or paths), of several
        a list of such lists. seed: of the first image of each prompt; the next ones have the numbers after it.
        generator: instead of a seed, one for all images in turn, or one for each. latents: instead of both, the noise
        (images, C, H / 8, W / 8). use_input_image_size_as_output: where height and width are not given; otherwise the
        image is as large as those that the network was trained on. Other names: see `GenerationOptions`.

        Returns the images by prompt, `num_images_per_prompt` of each. Raises UserError as `draw` does.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        given = [input_images or ()] if isinstance(prompt, str) else list(input_images or [()] * len(prompts))
        if len(given) != len(prompts):
            raise UserError(f"input_images: found {len(given)} lists for {len(prompts)} prompts; give one for each")
        if not use_input_image_size_as_output:
            height, width = height or self.max_side, width or self.max_side
        options = GenerationOptions(
            height=height,
            width=width,
            steps=num_inference_steps,
            guidance=guidance_scale,
            image_guidance=img_guidance_scale,
            negative_prompt=negative_prompt,
            guidance_start=guidance_start,
            guidance_end=guidance_end,
            max_input_image_size=max_input_image_size,
            shift=shift,
            cache_interval=cache_interval,
            cache_order=cache_order,
        )
        check(options)
        count = num_images_per_prompt
        seeds = [seed + number for number in range(count)]
        noises = None if latents is None else list(latents.float())
        jobs = []
        for number, (text, images) in enumerate(zip(prompts, given)):
            arrays = [read_image(image) for image in images or ()]
            if noises is not None:
                mine: Sequence[Tensor] | None = noises[number * count : (number + 1) * count]
            elif isinstance(generator, Sequence):
                mine = [self._noise(arrays, options, one) for one in generator[number * count : (number + 1) * count]]
            elif generator is not None:
                mine = [self._noise(arrays, options, generator) for _ in range(count)]
            else:
                mine = None
            jobs.append(self.job(text, arrays, options, seeds, mine))
        made = self.integrate(jobs, options, on_step, preview)
        if output_type == "latent":
            return Pictures(made, seeds * len(prompts))
        arrays = self.decode(made)
        from PIL import Image

        images = arrays if output_type == "np" else [Image.fromarray(array) for array in arrays]
        return Pictures(images, seeds * len(prompts))

    def draw(
        self,
        prompt: str,
        images: Sequence[NDArray[np.uint8]] = (),
        options: GenerationOptions = DEFAULTS,
        on_step: Callable[[], object] | None = None,
        seeds: Sequence[int] = (),
        preview: Preview | None = None,
    ) -> list[NDArray[np.uint8]]:
        """Generates an image for each of `seeds` (by default that of the options), all in one pack.

        prompt: marks input image k as `<img><|image_k|></img>`. images: uint8 RGB (H, W, 3), cut to `max_side`.
        on_step: called after each step. The noise is sampled on the CPU, so that it is the same on every device.

        Returns uint8 RGB (height, width, 3). Raises UserError for sizes that do not fit, or a prompt that does not mark
        the images.
        """
        job = self.job(prompt, images, options, seeds or [options.seed])
        return self.decode(self.integrate([job], options, on_step, preview))

    def job(
        self,
        prompt: str,
        images: Sequence[NDArray[np.uint8]],
        options: GenerationOptions,
        seeds: Sequence[int],
        noises: Sequence[Tensor] | None = None,
    ) -> Job:
        """Returns what is to be integrated for one prompt. noises: the images' own, instead of those of `seeds`."""
        height, width = self._size(images, options)
        device = self.device
        if noises is None:
            noises = [self._noise(images, options, torch.Generator().manual_seed(seed)) for seed in seeds]
        shape = (self.codec.channels, height // self.codec.downsample, width // self.codec.downsample)
        for noise in noises:
            if tuple(noise.shape) != shape:
                raise UserError(f"latents: found {tuple(noise.shape)} for an image, expected {shape}")
        parsed = parse_prompt(prompt, self.tokenizer, len(images))
        # Not of the image's seed: images of one prompt have the same references.
        generator = torch.Generator().manual_seed(REFERENCE_SEED)
        latents = [self._encode(image, options, generator).to(device) for image in images]
        target = Grid(height // TOKEN_PIXELS, width // TOKEN_PIXELS)
        negative = self.negative_prompt if options.negative_prompt is None else options.negative_prompt
        branches = guidance_branches(
            parsed, latents, target, options, self.tokenizer, negative, self.model.config.patch_size
        )
        return Job(branches, tuple(noise.to(device) for noise in noises))

    def integrate(
        self,
        jobs: Sequence[Job],
        options: GenerationOptions,
        on_step: Callable[[], object] | None = None,
        preview: Preview | None = None,
    ) -> list[Tensor]:
        """Returns the latents (C, H, W) of all images of all jobs."""
        times = schedule(options.steps, self.shift if options.shift is None else options.shift)
        guided = options.guidance_start, options.guidance_end
        with torch.inference_mode(), self._present(self.model):
            keep_on = None if self.offload_from is None else torch.device("cpu")
            velocity = GuidedVelocity(self.model, jobs, self.bf16, guided, keep_on)
            following: Velocity = velocity
            if options.cache_interval > 1:
                interval, order = options.cache_interval, options.cache_order
                following = ForecastVelocity(velocity, options.steps, interval, order, velocity.is_guided)

            def show(number: int, estimate: Tensor) -> None:
                if preview is not None and number % preview.every == 0 and number < options.steps:
                    preview.show(number, self.decode(velocity.split(estimate)))

            return velocity.split(integrate(following, velocity.noise(jobs), times, on_step, show))

    def decode(self, latents: Sequence[Tensor]) -> list[NDArray[np.uint8]]:
        """Returns the images, uint8 RGB (H, W, 3), one after the other."""
        with torch.inference_mode(), self._present(self.codec):
            return [to_uint8(self.codec.decode(latent[None])[0]) for latent in latents]

    def _noise(
        self, images: Sequence[NDArray[np.uint8]], options: GenerationOptions, generator: torch.Generator
    ) -> Tensor:
        height, width = self._size(images, options)
        shape = (self.codec.channels, height // self.codec.downsample, width // self.codec.downsample)
        return torch.randn(shape, generator=generator, device=generator.device)

    def _input_side(self, options: GenerationOptions) -> int:
        """Returns the longest side of an input image, in pixels."""
        largest = self.model.config.pos_embed_max_size * TOKEN_PIXELS
        return self.max_side if options.max_input_image_size is None else min(options.max_input_image_size, largest)

    def _size(self, images: Sequence[NDArray[np.uint8]], options: GenerationOptions) -> tuple[int, int]:
        """Returns the (height, width) to generate: as asked, or the first image's prepared size, or a square."""
        natural = (self.max_side, self.max_side)
        if images:
            natural = prepared_size(images[0].shape[1], images[0].shape[0], self._input_side(options))
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

    def _encode(self, image: NDArray[np.uint8], options: GenerationOptions, generator: torch.Generator) -> Tensor:
        prepared = prepare_image(image, self._input_side(options))
        with self._present(self.codec):
            return self.codec.encode(to_tensor(prepared)[None], generator)[0]

    @contextmanager
    def _present(self, part: OmniGen | Codec) -> Iterator[None]:
        """Inside the block a part is on the device, if it waits elsewhere otherwise."""
        if self.offload_from is None:
            yield
            return
        part.to(self.offload_from)
        try:
            yield
        finally:
            part.to("cpu")

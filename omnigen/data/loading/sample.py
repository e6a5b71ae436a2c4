"""One training sample from its reference to its images: dropout of its condition, its layout, its pixels."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from omnigen.data.loading.decode import decode_prepared
from omnigen.data.shards.sample_ref import ImageSpan, SampleRef
from omnigen.images import TOKEN_PIXELS, prepared_size
from omnigen.network.layout import Grid, SampleLayout
from omnigen.prompt import Prompt, build_prompt, images_only_prompt, unconditional_prompt
from omnigen.tokenizer import Tokenizer
from x2i.reasons import DroppedError
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.seeding import unit_interval
from x2i.store.files.ranges import RangeReader


class Dropout(StrEnum):
    """What is taken away from a sample's condition in training, for the branches of classifier-free guidance."""

    NONE = "none"
    TEXT = "text"  # the images stay, without words: guidance's image branch
    IMAGES = "images"  # the words stay
    BOTH = "both"  # `<cfg>` alone: guidance's unconditional branch


@dataclass(frozen=True)
class DropoutRates:
    """Probabilities of each kind of dropout; the rest, 1 - text - images - both, keeps the whole condition."""

    text: float = 0.0
    images: float = 0.0
    both: float = 0.0

    def decide(self, seed: int, index: int, key: str) -> Dropout:
        """Returns what the sample `key` loses at `index` of the run: a function of the arguments alone."""
        value = unit_interval("dropout", seed, index, key)
        for kind, rate in ((Dropout.BOTH, self.both), (Dropout.TEXT, self.text), (Dropout.IMAGES, self.images)):
            if value < rate:
                return kind
            value -= rate
        return Dropout.NONE


@dataclass(frozen=True)
class PlannedSample:
    """A sample laid out for a pack: everything a worker needs to load it.

    index: in the run's sequence of samples. image_numbers: the input image (from 1) at each mark, in reading order.
    mirrored: whether all its images are.
    """

    index: int
    ref: SampleRef
    dropout: Dropout
    image_numbers: tuple[int, ...]
    layout: SampleLayout
    mirrored: bool = False

    @property
    def wanted(self) -> tuple[int, ...]:
        """The numbers of the images to load, each once: those at the marks, then the output's."""
        return (*dict.fromkeys(self.image_numbers), len(self.ref.images))

    @property
    def spans(self) -> tuple[ImageSpan, ...]:
        """Where the images to load lie in the tar."""
        return tuple(self.ref.images[number - 1] for number in self.wanted)


@dataclass(frozen=True)
class LoadedSample:
    """A planned sample with its images: one reference per mark in reading order, and the target.

    All are either pixels, uint8 (height, width, 3), or the posteriors of a latent cache, floating point
    (posterior channels, height / 8, width / 8).
    """

    planned: PlannedSample
    references: tuple[Tensor, ...]
    target: Tensor

    @property
    def encoded(self) -> bool:
        """Whether the images are posteriors, not pixels."""
        return self.target.dtype != torch.uint8

    @property
    def edit_input(self) -> Tensor | None:
        """The image an edit starts from: the sample's only input, if shown and of the target's size; otherwise None."""
        if self.planned.ref.num_inputs != 1 or not self.references:
            return None
        return self.references[0] if self.references[0].shape == self.target.shape else None


@dataclass(frozen=True)
class BadSample:
    """A sample whose images could not be read. It is left out of its pack."""

    index: int
    key: str
    tar: str
    reason: str


def condition(instruction: str, num_inputs: int, dropout: Dropout, tokenizer: Tokenizer) -> Prompt:
    """Returns the prompt of an instruction after dropout; without words or images left it is `<cfg>`."""
    if dropout is Dropout.TEXT and num_inputs:
        return images_only_prompt(num_inputs, tokenizer)
    if dropout is Dropout.IMAGES:
        words = re.sub(r"\s+", " ", PLACEHOLDER_PATTERN.sub(" ", instruction)).strip()
        return build_prompt(words, tokenizer) if words else unconditional_prompt(tokenizer)
    if dropout is not Dropout.NONE:
        return unconditional_prompt(tokenizer)
    return build_prompt(instruction, tokenizer)


class TokenizedPrompts(Protocol):
    """Prompts that were tokenized before, such as those of `omnigen.cache.tokens.TokenCache`."""

    def find(self, ref: SampleRef, dropout: Dropout) -> Prompt | None:
        """Returns what `condition` would give for a sample, or None if it is not there."""
        ...


def make_planned_sample(
    index: int,
    ref: SampleRef,
    dropout: Dropout,
    max_side: int,
    tokenizer: Tokenizer,
    prompts: TokenizedPrompts | None = None,
    mirrored: bool = False,
) -> PlannedSample:
    """Lays out the sample at `index` of a run, its images at most `max_side` pixels a side. Reads no pixels."""
    prompt = prompts.find(ref, dropout) if prompts is not None else None
    if prompt is None:
        prompt = condition(ref.instruction, ref.num_inputs, dropout, tokenizer)
    grids = [image_grid(width, height, max_side) for _, _, width, height in ref.images]
    references = tuple(grids[number - 1] for number in prompt.image_numbers)
    layout = SampleLayout(prompt.pieces, references, grids[-1])
    return PlannedSample(index, ref, dropout, prompt.image_numbers, layout, mirrored)


def image_grid(width: int, height: int, max_side: int) -> Grid:
    """Returns the size in tokens of an image of this size in pixels, once prepared."""
    width, height = prepared_size(width, height, max_side)
    return Grid(height // TOKEN_PIXELS, width // TOKEN_PIXELS)


class Reader(Protocol):
    """Where the images of samples come from: pixels from an ImageReader, posteriors from a latent cache."""

    def read(self, tar: Path, spans: Sequence[ImageSpan]) -> Iterator[Tensor]:
        """Yields the images at `spans` of `tar`, in order. Raises DroppedError at one that cannot be read."""
        ...

    def fetch_ahead(self, samples: Sequence[PlannedSample]) -> None:
        """Starts the requests for what `read` will be asked next, all at once, where requests take long."""
        ...


class ImageReader:
    """Reads, decodes and prepares images to at most `max_side` pixels a side, and keeps the last ones it prepared.

    cache_bytes: how much it keeps. A small dataset is decoded once; what comes out does not depend on it.
    files: what reads the shards' bytes.
    """

    def __init__(self, max_side: int, cache_bytes: int = 256 * 2**20, files: RangeReader | None = None) -> None:
        self._max_side = max_side
        self._files = files or RangeReader()
        self._room = cache_bytes
        self._kept: OrderedDict[tuple[Path, int], Tensor] = OrderedDict()

    def read(self, tar: Path, spans: Sequence[ImageSpan]) -> Iterator[Tensor]:
        """Yields the images at `spans` of `tar`, in order, uint8 (height, width, 3).

        Raises DroppedError at one that cannot be decoded or has another size than its index says, and an error if the
        tar is shorter than it was when the run began.
        """
        kept = [self._kept.get((tar, offset)) for offset, _, _, _ in spans]
        encoded = iter(self._files.read_all(tar, [span[:2] for span, image in zip(spans, kept) if image is None]))
        for (offset, _, width, height), image in zip(spans, kept):
            if image is None:
                image = torch.from_numpy(decode_prepared(next(encoded), (width, height), self._max_side).copy())
            self._keep((tar, offset), image)
            yield image

    def fetch_ahead(self, samples: Sequence[PlannedSample]) -> None:
        """Asks for all images of `samples` at once where a request takes long; drops what the last call left unread."""
        self._files.forget()
        wanted = [
            (planned.ref.tar, offset, size)
            for planned in samples
            for offset, size, _, _ in planned.spans
            if (planned.ref.tar, offset) not in self._kept
        ]
        self._files.fetch_ahead(wanted)

    def _keep(self, name: tuple[Path, int], image: Tensor) -> None:
        if name not in self._kept:
            self._room -= image.numel()
        self._kept[name] = image
        self._kept.move_to_end(name)
        while self._room < 0:
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.numel()


def load(planned: PlannedSample, reader: Reader) -> LoadedSample | BadSample:
    """Returns `planned` with its images, or a BadSample where one of them cannot be read."""
    pixels: dict[int, Tensor] = {}
    try:
        for number, image in zip(planned.wanted, reader.read(planned.ref.tar, planned.spans)):
            assert not planned.mirrored or image.dtype == torch.uint8, "posteriors cannot be mirrored"
            pixels[number] = image.flip(1) if planned.mirrored else image
    except DroppedError as error:
        number = planned.wanted[len(pixels)]
        name = "output" if number == len(planned.ref.images) else f"input {number}"
        return BadSample(planned.index, planned.ref.key, str(planned.ref.tar), f"{name}: {error}")
    return LoadedSample(
        planned, tuple(pixels[number] for number in planned.image_numbers), pixels[len(planned.ref.images)]
    )

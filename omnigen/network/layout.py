"""Which token of a pack is what, where it stands and what it may see: plain index arithmetic, no weights.

One sample is text and reference images in reading order, one time token, the noisy target image. A query token may see
one contiguous run of keys, [lo, hi): lo is its sample's start; hi is its own position + 1 for text and time tokens, and
the end of its own image for image tokens. So text and time are causal, an image sees itself whole and everything before
it, and nothing but noise sees noise. The mask of a whole pack is two int32 vectors, and samples are laid end to end.

Suffixes: T tokens of the pack, S samples, R reference images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omnigen.device_copies import to_device


class TokenKind(IntEnum):
    """What a token of a sequence is made from."""

    TEXT = 0
    REFERENCE = 1
    TIME = 2
    NOISE = 3


class Grid(NamedTuple):
    """Size of an image in tokens; a token is patch_size x patch_size latents, 16 x 16 pixels with the codecs here."""

    rows: int
    columns: int

    @property
    def num_tokens(self) -> int:
        return self.rows * self.columns


class Segment(NamedTuple):
    """Queries [query_start, query_end) of a pack, which see keys from key_lo.

    causal: query i sees keys [key_lo, i + 1), and key_hi == query_end. Otherwise all see keys [key_lo, key_hi).
    """

    query_start: int
    query_end: int
    key_lo: int
    key_hi: int
    causal: bool


def sample_length(pieces: Sequence[Sequence[int]], references: Sequence[Grid], target: Grid) -> int:
    """Returns how many tokens a sample takes: text, reference images, one for time, the target."""
    return sum(map(len, pieces)) + sum(grid.num_tokens for grid in references) + 1 + target.num_tokens


@dataclass(frozen=True)
class SampleLayout:
    """The parts of one sample.

    pieces: token ids of the text before, between and after the reference images (`Prompt.pieces`).
    references: one grid per image mark in reading order; an image that is marked twice stands here twice.
    target: grid of the image to be made.
    """

    pieces: tuple[tuple[int, ...], ...]
    references: tuple[Grid, ...]
    target: Grid

    def __post_init__(self) -> None:
        assert len(self.pieces) == len(self.references) + 1, "text pieces and reference images must alternate"
        object.__setattr__(self, "references", tuple(Grid(*grid) for grid in self.references))
        object.__setattr__(self, "target", Grid(*self.target))

    @property
    def length(self) -> int:
        """Tokens of the whole sample."""
        return sample_length(self.pieces, self.references, self.target)

    @property
    def condition_length(self) -> int:
        """Tokens before the time token: text and reference images."""
        return self.length - self.target.num_tokens - 1


@dataclass(frozen=True)
class PackLayout:
    """Samples laid end to end without padding.

    token_ids_T: int64, the vocabulary id of text tokens, 0 elsewhere.
    kind_T: int8, TokenKind. sample_T: int32, which sample of the pack a token belongs to.
    lo_T, hi_T: int32, the run of keys each token may see, in positions of the pack.
    position_T: int32, RoPE position, counted from 0 in every sample. length_S: int32, tokens of each whole sample.
    longest: the greatest of length_S.
    text_index, reference_index, time_index, noise_index: int64, where the tokens of each kind stand, ascending; the
        concatenated tokens of all reference images in reading order (of all targets in sample order) go there.
    reference_grids, target_grids: sizes in tokens, in the same orders. reference_samples: the sample of each reference.
    segments: the mask again, as runs of queries that partition the pack in order.
    starts: first token of every sample, then the length of the pack.
    """

    token_ids_T: Tensor
    kind_T: Tensor
    sample_T: Tensor
    lo_T: Tensor
    hi_T: Tensor
    position_T: Tensor
    length_S: Tensor
    longest: int
    text_index: Tensor
    reference_index: Tensor
    time_index: Tensor
    noise_index: Tensor
    reference_grids: tuple[Grid, ...]
    reference_samples: tuple[int, ...]
    target_grids: tuple[Grid, ...]
    segments: tuple[Segment, ...]
    starts: tuple[int, ...]

    @classmethod
    def build(cls, samples: Sequence[SampleLayout], conditions_only: bool = False) -> PackLayout:
        """Lays `samples` end to end. CPU tensors; see `to`.

        conditions_only: leave out the time tokens and the targets, which no other token sees. What remains behaves as
        it does in the whole pack (`length_S` stays the whole samples'), so its keys and values can be kept.
        """
        assert samples, "a pack holds at least one sample"
        builder = _Builder(conditions_only)
        for sample in samples:
            builder.add(sample)
        return builder.finish(samples)

    @property
    def num_tokens(self) -> int:
        return self.starts[-1]

    @property
    def num_samples(self) -> int:
        return len(self.starts) - 1

    @property
    def device(self) -> torch.device:
        return self.token_ids_T.device

    def with_causal_images(self) -> PackLayout:
        """Returns the layout in which image tokens, like text, see only what stands before them: for comparisons."""
        segments = tuple(segment._replace(causal=True) for segment in self.segments)
        seen_T = torch.arange(1, self.num_tokens + 1, dtype=torch.int32, device=self.device)
        return replace(self, hi_T=seen_T, segments=segments)

    def to(self, device: torch.device | str) -> PackLayout:
        """Returns the layout with its tensors on `device`; the host does not wait."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = to_device(value, device) if isinstance(value, Tensor) else value
        return PackLayout(**moved)


class _Builder:
    """Collects the runs of a pack: one entry per text, image or time run, expanded to tokens in one go at the end."""

    def __init__(self, conditions_only: bool) -> None:
        self.conditions_only = conditions_only
        self.ids: list[int] = []
        self.runs: list[tuple[TokenKind, int, int]] = []  # kind, sample, length
        self.segments: list[Segment] = []
        self.starts = [0]

    def add(self, sample: SampleLayout) -> None:
        start = end = self.starts[-1]
        index = len(self.starts) - 1
        for i, piece in enumerate(sample.pieces):
            last = i == len(sample.references)
            closing = last and not self.conditions_only
            self.runs.append((TokenKind.TEXT, index, len(piece)))
            self.ids.extend(piece)
            text_end = end + len(piece)
            if closing:  # the time token continues the causal run of the last text
                self.runs.append((TokenKind.TIME, index, 1))
                text_end += 1
            if text_end > end:
                self.segments.append(Segment(end, text_end, start, text_end, causal=True))
            if last and not closing:
                end = text_end
                break
            grid = sample.target if last else sample.references[i]
            self.runs.append((TokenKind.NOISE if last else TokenKind.REFERENCE, index, grid.num_tokens))
            end = text_end + grid.num_tokens
            self.segments.append(Segment(text_end, end, start, end, causal=False))
        self.starts.append(end)

    def finish(self, samples: Sequence[SampleLayout]) -> PackLayout:
        kinds, owners, lengths = (torch.tensor(column) for column in zip(*self.runs))
        kind_T = kinds.repeat_interleave(lengths).to(torch.int8)
        sample_T = owners.repeat_interleave(lengths)
        start_S = torch.tensor(self.starts)
        index_T = torch.arange(self.starts[-1])
        run_end_T = lengths.cumsum(0).repeat_interleave(lengths)
        is_image_T = (kind_T == TokenKind.REFERENCE) | (kind_T == TokenKind.NOISE)
        index_of = {kind: (kind_T == kind).nonzero().squeeze(1) for kind in TokenKind}
        token_ids_T = torch.zeros(self.starts[-1], dtype=torch.int64)
        token_ids_T[index_of[TokenKind.TEXT]] = torch.tensor(self.ids, dtype=torch.int64)
        lo_T = start_S[sample_T]
        return PackLayout(
            token_ids_T=token_ids_T,
            kind_T=kind_T,
            sample_T=sample_T.to(torch.int32),
            lo_T=lo_T.to(torch.int32),
            hi_T=torch.where(is_image_T, run_end_T, index_T + 1).to(torch.int32),
            position_T=(index_T - lo_T).to(torch.int32),
            length_S=torch.tensor([sample.length for sample in samples], dtype=torch.int32),
            longest=max(sample.length for sample in samples),
            text_index=index_of[TokenKind.TEXT],
            reference_index=index_of[TokenKind.REFERENCE],
            time_index=index_of[TokenKind.TIME],
            noise_index=index_of[TokenKind.NOISE],
            reference_grids=tuple(grid for sample in samples for grid in sample.references),
            reference_samples=tuple(i for i, sample in enumerate(samples) for _ in sample.references),
            target_grids=() if self.conditions_only else tuple(sample.target for sample in samples),
            segments=tuple(self.segments),
            starts=tuple(self.starts),
        )

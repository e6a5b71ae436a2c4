"""The layout of a pack: what stands where, and what each token may see."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen.network.layout import Grid, PackLayout, SampleLayout, TokenKind, sample_length
from tests.support.tiny_network import SAMPLES, sample

grids = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def samples(draw: st.DrawFn) -> SampleLayout:
    references = tuple(draw(st.lists(grids, max_size=3)))
    texts = tuple(draw(st.integers(0 if i else 1, 5)) for i in range(len(references) + 1))
    return sample(texts, references, draw(grids))


@settings(deadline=None, max_examples=50)
@given(st.lists(samples(), min_size=1, max_size=4))
def test_lo_and_hi_follow_the_rule_of_each_kind(pack: list[SampleLayout]) -> None:
    layout = PackLayout.build(pack)
    position = 0
    for one in pack:
        start = position
        runs: list[tuple[TokenKind, int]] = []
        for i, piece in enumerate(one.pieces):
            runs += [(TokenKind.TEXT, 1)] * len(piece)
            last = i == len(one.references)
            if last:
                runs.append((TokenKind.TIME, 1))
            runs.append(
                (TokenKind.NOISE, one.target.num_tokens)
                if last
                else (TokenKind.REFERENCE, one.references[i].num_tokens)
            )
        for kind, length in runs:
            for token in range(position, position + length):
                assert layout.kind_T[token] == kind
                assert (int(layout.lo_T[token]), int(layout.hi_T[token])) == (start, position + length)
                assert int(layout.position_T[token]) == token - start
            position += length
        assert position - start == one.length == sample_length(one.pieces, one.references, one.target)
    assert layout.num_tokens == position == int(layout.length_S.sum())


@settings(deadline=None, max_examples=50)
@given(st.lists(samples(), min_size=1, max_size=4))
def test_the_segments_say_the_same_as_lo_and_hi(pack: list[SampleLayout]) -> None:
    layout = PackLayout.build(pack)
    lo, hi = torch.zeros_like(layout.lo_T), torch.zeros_like(layout.hi_T)
    end = 0
    for segment in layout.segments:
        assert segment.query_start == end
        end = segment.query_end
        lo[segment.query_start : end] = segment.key_lo
        seen = torch.arange(segment.query_start, end, dtype=torch.int32) + 1 if segment.causal else segment.key_hi
        hi[segment.query_start : end] = seen
        assert segment.key_hi == end
    assert end == layout.num_tokens
    assert torch.equal(lo, layout.lo_T)
    assert torch.equal(hi, layout.hi_T)


def test_the_indices_cover_the_pack_once_and_carry_the_text() -> None:
    layout = PackLayout.build(SAMPLES)
    parts = (layout.text_index, layout.reference_index, layout.time_index, layout.noise_index)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(layout.num_tokens))
    ids = [token for one in SAMPLES for piece in one.pieces for token in piece]
    assert layout.token_ids_T[layout.text_index].tolist() == ids
    assert layout.reference_grids == tuple(grid for one in SAMPLES for grid in one.references)
    assert layout.reference_samples == (1, 2, 2, 3, 4, 4)
    assert layout.target_grids == tuple(one.target for one in SAMPLES)


def test_conditions_only_keeps_positions_lengths_and_order() -> None:
    whole, conditions = PackLayout.build(SAMPLES), PackLayout.build(SAMPLES, conditions_only=True)
    kept = torch.cat([whole.text_index, whole.reference_index]).sort().values
    assert torch.equal(conditions.position_T, whole.position_T[kept])
    assert torch.equal(conditions.token_ids_T, whole.token_ids_T[kept])
    assert torch.equal(conditions.hi_T - conditions.lo_T, (whole.hi_T - whole.lo_T)[kept])
    assert torch.equal(conditions.length_S, whole.length_S)
    assert conditions.longest == whole.longest
    assert len(conditions.noise_index) == len(conditions.time_index) == 0


def test_a_grid_is_counted_in_tokens() -> None:
    assert Grid(3, 5).num_tokens == 15
    assert sample((4, 2), ((2, 3),), (5, 7)).condition_length == 4 + 6 + 2

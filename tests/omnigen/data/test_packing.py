from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen.data.loading.sample import image_grid
from omnigen.data.order.packing import Packing, PackingState
from omnigen.network.layout import SampleLayout
from x2i.seeding import generator


def mixed_lengths(count: int) -> list[int]:
    """Lengths of a mixed workload at 256 pixels: up to 256 tokens an image, up to three references, all captions."""
    random = generator("lengths")
    references = random.choice(4, count, p=[0.5, 0.3, 0.1, 0.1])
    aspects = random.choice([256, 240, 192, 144], count)
    return [
        int(1 + text + (1 + n) * side) for text, n, side in zip(random.integers(20, 250, count), references, aspects)
    ]


def packs_of(lengths: list[int], budget: int, count: int, look_ahead: int = 96) -> list[tuple[int, ...]]:
    packing = Packing(lambda number: lengths[number % len(lengths)], budget, look_ahead)
    state, packs = PackingState(), []
    for _ in range(count):
        pack, state = packing.next_pack(state)
        packs.append(pack)
    return packs


@pytest.mark.parametrize("budget", [2048, 4096, 16384])
def test_a_mixed_workload_fills_packs_to_98_percent(budget):
    lengths = mixed_lengths(5000)
    packs = packs_of(lengths, budget, 200)
    fills = [sum(lengths[number % 5000] for number in pack) / budget for pack in packs]
    assert sum(fills) / len(fills) >= 0.98
    assert max(fills) <= 1.0


def sample_lengths(count: int) -> list[int]:
    """Lengths as the layout counts them: 256 px at OmniGen's aspect ratios, 0 to 3 inputs, 10 to 200 words' tokens."""
    random = generator("sample lengths")
    sizes = [(1024, 1024), (1280, 720), (720, 1280), (1024, 768), (768, 1024), (1536, 512), (300, 300)]
    lengths = []
    for inputs, words in zip(random.choice(4, count, p=[0.5, 0.3, 0.1, 0.1]), random.integers(10, 201, count)):
        grids = [image_grid(*sizes[place], 256) for place in random.integers(len(sizes), size=inputs + 1)]
        pieces = ((1,) * int(words), *((1, 1),) * int(inputs))
        lengths.append(SampleLayout(pieces, tuple(grids[:-1]), grids[-1]).length)
    return lengths


@pytest.mark.parametrize("budget", [2048, 4096, 8192, 16384, 32768, 65536])
def test_samples_of_every_shape_fill_packs_to_98_percent_at_every_budget(budget):
    lengths = sample_lengths(4000)
    packs = packs_of(lengths, budget, 1_500_000 // budget)
    fills = [sum(lengths[number % 4000] for number in pack) / budget for pack in packs]
    assert sum(fills) / len(fills) >= 0.98
    assert max(fills) <= 1.0
    assert sorted(fills)[len(fills) // 20] >= 0.93  # and hardly any is much emptier


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    look_ahead=st.integers(1, 20),
    count=st.integers(1, 30),
)
def test_no_sample_is_lost_doubled_or_over_the_budget(lengths, look_ahead, count):
    packing = Packing(lambda number: lengths[number % len(lengths)], 60, look_ahead)
    state, packed = PackingState(), []
    for _ in range(count):
        pack, state = packing.next_pack(state)
        assert 0 < sum(lengths[number % len(lengths)] for number in pack) <= 60
        packed.extend(pack)
    assert sorted([*packed, *state.waiting]) == list(range(state.next))


def test_no_sample_waits_for_ever():
    lengths = mixed_lengths(2000)
    for place, pack in enumerate(packs_of(lengths, 4096, 100)):
        assert place - min(pack) / (4096 / 600) < 96


@given(stop=st.integers(0, 29))
@settings(deadline=None, max_examples=30)
def test_packing_goes_on_from_a_saved_state_after_any_pack(stop):
    lengths = mixed_lengths(500)
    packing = Packing(lambda number: lengths[number % 500], 2048, 32)
    state = PackingState()
    for _ in range(stop):
        _, state = packing.next_pack(state)
    saved = PackingState(state.next, tuple(state.waiting))
    rest = []
    for _ in range(30 - stop):
        pack, saved = packing.next_pack(saved)
        rest.append(pack)
    assert rest == packs_of(lengths, 2048, 30, 32)[stop:]


def test_samples_of_length_zero_are_passed_over():
    lengths = [0, 10, 0, 0, 20, 30]
    packs = packs_of(lengths, 60, 3, 4)
    assert all(lengths[number % 6] for pack in packs for number in pack)


def test_a_sample_longer_than_the_budget_is_refused():
    with pytest.raises(ValueError, match="61 tokens, the budget is 60"):
        packs_of([61], 60, 1)

"""The numbers of `timing.jsonl`, worked out by hand from a clock that shows what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from omnigen.data.loading.sample import Dropout, PlannedSample
from omnigen.data.order.packing import PackingState
from omnigen.data.order.schedule import StepPacks
from omnigen.data.shards.sample_ref import SampleRef
from omnigen.network.config import ModelConfig
from omnigen.network.layout import Grid, SampleLayout
from omnigen.train import throughput as clock_module
from omnigen.train.parallel import Ranks
from omnigen.train.throughput import Throughput
from tests.support.in_process_training import CPU

NETWORK = ModelConfig(hidden_size=8, num_layers=3, num_heads=2, intermediate_size=16, vocab_size=300, in_channels=6)
TWO = Ranks(0, 2, CPU.device)

# Three words and the time see 1 + 2 + 3 + 4 tokens, a picture of two tokens sees all six, twice: 22 pairs, six tokens.
DRAWN = SampleLayout(((1, 2, 3),), (), Grid(1, 2))
# A word sees 1; a reference of four sees 5 each; a word and the time see 6 and 7; the target sees 8: 42 pairs, eight.
EDITED = SampleLayout(((1,), (2,)), (Grid(2, 2),), Grid(1, 1))
TOKENS, PAIRS = 2 * 6 + 8, 2 * 22 + 42

MATRICES = 3 * (4 * 8 * 8 + 3 * 8 * 16)  # elements: three layers of four square matrices, and three of the feed-forward
ATTENTION = 2 * 2 * 3 * 8 * PAIRS  # a product with the keys and one with the values, in each of three layers
FORWARD = 2 * MATRICES * TOKENS + ATTENTION


@pytest.fixture
def now(monkeypatch):
    """The clock's time; tests move it."""
    shown = SimpleNamespace(seconds=1000.0)
    times = SimpleNamespace(perf_counter=lambda: shown.seconds, time=lambda: 1e9 + shown.seconds)
    monkeypatch.setattr(clock_module, "time", times)
    return shown


def plan() -> StepPacks:
    """A step of two packs, one on each rank."""
    ref = SampleRef("key", "task", "words", None, (), False)
    planned_samples = [
        PlannedSample(n, ref, Dropout.NONE, (), layout) for n, layout in enumerate((DRAWN, DRAWN, EDITED))
    ]
    return StepPacks(0, (tuple(planned_samples[:2]), tuple(planned_samples[2:])), PackingState())


def take(clock: Throughput, now, waiting: float, stepping: float, after: float = 0.0) -> None:
    """A step as the trainer takes it: waiting for data, computing, then what is not the step's."""

    def data() -> Iterator[StepPacks]:
        now.seconds += waiting
        yield plan()

    clock.resume()
    now.seconds += stepping / 2  # the step before it is still computed
    (loaded,) = clock.waited_for(data())
    now.seconds += stepping / 2
    clock.stepped(loaded)
    now.seconds += after


def test_an_interval_counts_steps_and_leaves_out_what_came_between_them(now):
    clock = Throughput(TWO, NETWORK, lora=False, peak_tflops=0.5)
    now.seconds += 77  # building, validating
    take(clock, now, waiting=1, stepping=2, after=100)
    take(clock, now, waiting=0, stepping=5, after=50)
    told = clock.interval()
    flops = 2 * 3 * FORWARD  # of two steps; backward costs twice the forward pass
    assert told["seconds_per_step"] == 4
    assert told["data_wait_share"] == 1 / 8
    assert told["samples_per_second"] == 2 * 3 / 8
    assert told["tokens_per_second"] == 2 * TOKENS / 8
    assert told["tflops"] == pytest.approx(flops / 8 / 1e12)
    assert told["mfu"] == pytest.approx(flops / 8 / (2 * 0.5e12)), "of what both ranks can do"
    assert told["time"] == 1e9 + now.seconds


def test_every_interval_begins_from_nothing(now):
    clock = Throughput(CPU, NETWORK, lora=False)
    take(clock, now, waiting=3, stepping=9)
    clock.interval()
    now.seconds += 20
    take(clock, now, waiting=1, stepping=1)
    told = clock.interval()
    assert (told["seconds_per_step"], told["data_wait_share"], told["samples_per_second"]) == (2, 0.5, 1.5)
    assert told["mfu"] is None, "nobody knows what this processor can do"


def test_an_adapter_spares_the_gradients_of_the_frozen_matrices(now):
    clock = Throughput(CPU, NETWORK, lora=True)
    take(clock, now, waiting=0, stepping=1)
    assert clock.interval()["tflops"] == pytest.approx((2 * FORWARD + ATTENTION) / 1e12)

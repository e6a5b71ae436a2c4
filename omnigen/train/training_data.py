"""The samples that a run trains on: a catalog of all shards, checked at the start, or a stream of a few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from omnigen.cache.find import Caches, find_caches
from omnigen.codecs.base import Codec
from omnigen.data.loading.sample import PlannedSample, TokenizedPrompts
from omnigen.data.order.sample_sequence import CatalogSequence, SampleSequence
from omnigen.data.order.schedule import rows_that_fit
from omnigen.data.order.stream import ShardStream, StreamSequence, split_shards
from omnigen.data.shards.catalog import CLASS, Catalog, open_cache, task_weights
from omnigen.data.shards.find import find_training_shards
from omnigen.tokenizer import Tokenizer
from omnigen.train.config import DataConfig, TrainingConfig
from omnigen.train.phases import Phase
from omnigen.train.validate import choose_held_out
from x2i.errors import UserError
from x2i.store.files.cache import FileCache
from x2i.store.files.ranges import RangeReader

FEW = 16
NOT_OF_A_STREAM = (
    "streaming, so not promised: tasks in other proportions than the shards have them, an order over more than the "
    "shards of a group, photographs kept apart between training and validation (whole shards are held out), a damaged "
    "shard or a duplicate key reported at the start"
)


@dataclass(frozen=True)
class PhaseSamples:
    """What a phase trains on, and what it is validated on. tasks: of `held_out`; files: what reads its images.
    too_long: samples left out; None where that is not known.
    """

    sequence: SampleSequence
    held_out: tuple[PlannedSample, ...]
    tasks: tuple[str, ...]
    files: RangeReader
    caches: Caches
    too_long: int | None


class TrainingData(Protocol):
    """The samples of a run."""

    def fingerprint(self) -> str:
        """Returns a hash of what the run trains on, by which a checkpoint knows whether it may go on."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Returns training_samples and held_out_samples, as far as they are known."""
        ...

    def describe(self, too_long: int | None) -> list[str]:
        """Returns the lines of the console that say what is trained on."""
        ...

    def for_phase(self, phase: Phase, config: TrainingConfig, codec: Codec, tokenizer: Tokenizer) -> PhaseSamples:
        """Returns the samples of `phase`. Raises UserError if nothing is left to train on, or its settings do not fit
        this kind of data."""
        ...


def open_training_data(data: DataConfig) -> TrainingData:
    """Returns the training data that `data` asks for. Raises UserError for shards that cannot be used."""
    cache = open_cache(data.cache_dir, data.cache_bytes)
    if data.stream:
        return _StreamData.open(data, cache)
    return _CatalogData(open_catalog(data, cache))


def open_catalog(data: DataConfig, cache: FileCache | None) -> Catalog:
    """Returns the catalog of all samples, class pictures and trigger included."""
    class_shards = find_training_shards(data.class_shards) if data.class_shards else ()
    found = [*find_training_shards(data.shards), *class_shards]
    catalog = Catalog.of(found, data.validation_fraction, data.split_seed, cache)
    if class_shards:
        catalog = catalog.with_class_shards({shard.shard.tar for shard in class_shards})
    return catalog.with_trigger(data.trigger) if data.trigger else catalog


def with_class_share(weights: dict[str, float], share: float) -> dict[str, float]:
    """Returns weights of tasks of which CLASS, if it is there, has `share`."""
    if CLASS not in weights:
        return weights
    others = sum(weight for task, weight in weights.items() if task != CLASS)
    return {**weights, CLASS: share / (1 - share) * others}


@dataclass(frozen=True)
class _CatalogData:
    catalog: Catalog

    def fingerprint(self) -> str:
        return self.catalog.fingerprint()

    def counts(self) -> dict[str, int]:
        held_out = int(self.catalog.held_out.sum())
        return {"training_samples": len(self.catalog) - held_out, "held_out_samples": held_out}

    def describe(self, too_long: int | None) -> list[str]:
        counts = self.counts()
        return [
            f"{counts['training_samples']} samples of {len(self.catalog.tasks)} tasks to train on, "
            f"{counts['held_out_samples']} held out, from {len(self.catalog.shards)} shards"
            + (f"; {too_long} left out as too long" if too_long else ""),
            *_worth(counts["held_out_samples"]),
        ]

    def for_phase(self, phase: Phase, config: TrainingConfig, codec: Codec, tokenizer: Tokenizer) -> PhaseSamples:
        catalog = self.catalog
        # What `omnigen encode` kept of the text has no trigger.
        text = "never" if config.data.trigger else config.data.text
        wanted = replace(config.data, max_side=phase.max_side, text=text)
        caches = find_caches(catalog.shards, wanted, codec, tokenizer)
        training = _fitting(catalog, catalog.training_rows(), phase, tokenizer, caches.prompts)
        held_out = _fitting(catalog, catalog.validation_rows(), phase, tokenizer, caches.prompts)
        too_long = len(catalog) - sum(len(rows) for kind in (training, held_out) for rows in kind.values())
        if not any(len(rows) for rows in training.values()):
            raise UserError(
                f"{phase.prefix}data.shards: no sample is left to train on: of {len(catalog)}, "
                f"{int(catalog.held_out.sum())} are held out (data.validation_fraction, data.split_seed), and "
                f"{too_long}, held out or not, are longer than train.pack_tokens ({phase.train.pack_tokens}). Hold "
                f"less out, make packs longer, or give more photographs"
            )
        try:
            given = phase.weights and {**dict.fromkeys({CLASS} & training.keys(), 0.0), **phase.weights}
            weights = with_class_share(task_weights(training, given), config.data.class_share)
        except UserError as error:
            raise UserError(f"{phase.prefix or 'data.'}{error}") from error
        sequence = CatalogSequence(catalog, training, weights, phase.train.seed)
        held_out_samples = _choose(catalog, held_out, phase, config, tokenizer, caches.prompts)
        return PhaseSamples(sequence, held_out_samples, catalog.tasks, catalog.reader(), caches, too_long)


@dataclass(frozen=True)
class _StreamData:
    """held_out: the catalog of as many held-out shards as are open together; None if none is held out."""

    stream: ShardStream
    held_out: Catalog | None
    num_held_out: int

    @classmethod
    def open(cls, data: DataConfig, cache: FileCache | None) -> _StreamData:
        if data.weights is not None:
            raise UserError(
                "data.weights: a stream takes tasks as its shards hold them, since it does not know what is to come. "
                "Remove data.weights, or set data.stream to 0"
            )
        if data.trigger:
            raise UserError(
                "data.trigger: not with a stream; set data.stream to 0, or write the word into the captions"
            )
        if data.class_shards:
            raise UserError("data.class_shards: not with a stream; set data.stream to 0")
        for name in ("latents", "text"):
            if getattr(data, name) == "require":
                raise UserError(f"data.{name}: require: a stream does not use what omnigen encode kept. Set it to auto")
        training, held_out = split_shards(find_training_shards(data.shards), data.validation_fraction, data.split_seed)
        stream = ShardStream(tuple(training), data.stream, cache)
        validated = held_out[: data.stream]
        return cls(stream, Catalog.of(validated, cache=cache) if validated else None, len(held_out))

    def fingerprint(self) -> str:
        return self.stream.fingerprint()

    def counts(self) -> dict[str, int]:
        return {}

    def describe(self, too_long: int | None) -> list[str]:
        shards, at_a_time = len(self.stream.shards), self.stream.at_a_time
        held_out = f", {self.num_held_out} held out" if self.num_held_out else ""
        return [f"{shards} shards to train on, {at_a_time} at a time{held_out}", NOT_OF_A_STREAM]

    def for_phase(self, phase: Phase, config: TrainingConfig, codec: Codec, tokenizer: Tokenizer) -> PhaseSamples:
        if phase.weights is not None:
            raise UserError(f"{phase.prefix}weights: a stream takes tasks as its shards hold them. Remove them")

        def choose(catalog: Catalog) -> npt.NDArray[np.int64]:
            side, budget = phase.max_side, phase.train.pack_tokens
            return rows_that_fit(catalog, np.arange(len(catalog)), tokenizer=tokenizer, max_side=side, budget=budget)

        sequence, unused = StreamSequence(self.stream, phase.train.seed, choose), Caches({}, None, ())
        if self.held_out is None:
            return PhaseSamples(sequence, (), (), RangeReader(), unused, None)
        rows = _fitting(self.held_out, self.held_out.training_rows(), phase, tokenizer, None)
        held_out_samples = _choose(self.held_out, rows, phase, config, tokenizer, None)
        return PhaseSamples(sequence, held_out_samples, self.held_out.tasks, self.held_out.reader(), unused, None)


def _worth(held_out: int) -> list[str]:
    """Returns a line that says what little can be told from few held-out samples."""
    if not 0 < held_out < FEW:
        return []
    return [
        f"{held_out} held-out samples are few: their loss has the standard error that stands behind it, and smaller "
        f"differences tell nothing; data.validation_fraction=0 trains on all samples"
    ]


def _fitting(
    catalog: Catalog,
    rows: Mapping[str, npt.NDArray[np.int64]],
    phase: Phase,
    tokenizer: Tokenizer,
    prompts: TokenizedPrompts | None,
) -> dict[str, npt.NDArray[np.int64]]:
    reading: dict[str, Any] = {"tokenizer": tokenizer, "max_side": phase.max_side, "prompts": prompts}
    budget = phase.train.pack_tokens
    return {task: rows_that_fit(catalog, numbers, budget=budget, **reading) for task, numbers in rows.items()}


def _choose(
    catalog: Catalog,
    rows: Mapping[str, npt.NDArray[np.int64]],
    phase: Phase,
    config: TrainingConfig,
    tokenizer: Tokenizer,
    prompts: TokenizedPrompts | None,
) -> tuple[PlannedSample, ...]:
    seed, count = config.data.split_seed, config.log.validation_samples
    return choose_held_out(
        catalog, rows, count, tokenizer=tokenizer, max_side=phase.max_side, seed=seed, prompts=prompts
    )

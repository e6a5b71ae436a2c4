"""Settings that leave a value to the model folder or to the data get it, so that a run's record is complete."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnigen.generate.find_model import find_model
from omnigen.network.config import CUSTOM
from omnigen.prompt import IMAGE_MARK
from omnigen.tokenizer import WORDS
from omnigen.weights.formats import read_description
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.train.config import TrainingConfig

INIT = "init"
LARGEST_SIDE = 512
"""Pixels at which a folder is fine-tuned if no other side is asked for; an adapter of the full network fits 12 GB."""
SAMPLES_PER_STEP = 4
FEWEST_STEPS = 100
VISITS_OF_ONE = 400
"""How often a single sample is trained on. n samples are trained on 400 sqrt(n) times together, and each at least once:
10 of them some 126 times each, 100 of them 40 times, 10,000 of them 4 times."""


def resolve(settings: TrainingConfig, words: Path | None = None) -> tuple[TrainingConfig, list[str]]:
    """Returns the settings with nothing left open, and a line for each choice that was made.

    words: the folder of a tokenizer that is to be trained; without one, that is left open. Raises UserError if the
    folder of model.init has no network, or the data cannot be opened.
    """
    settings, lines = resolve_folder(settings)
    if words is not None and settings.model.tokenizer == WORDS:
        settings = _with_words(settings, words)
    if settings.train.steps and settings.train.pack_tokens and settings.train.packs_per_step:
        return settings, lines
    settings, more = _from_samples(settings)
    return settings, [*lines, *more]


def resolve_folder(settings: TrainingConfig) -> tuple[TrainingConfig, list[str]]:
    """Like `resolve`, but leaves open what the data decide."""
    model, data, train = settings.model, settings.data, settings.train
    if INIT not in (model.preset, model.codec, model.tokenizer) and data.max_side:
        return settings, []
    if model.init is None:
        raise UserError("model.init: missing; give the model folder that codec, tokenizer, network or side come from")
    found = read_description(find_model(Path(model.init)))
    if model.preset == INIT:
        model = replace(model, preset=CUSTOM, overrides={**found.config.to_dict(), **model.overrides})
    if model.codec == INIT:
        model = replace(model, codec=found.codec)
    if model.tokenizer == INIT:
        model = replace(model, tokenizer=found.tokenizer)
    if not data.max_side:
        data = replace(data, max_side=min(found.image_size or LARGEST_SIDE, LARGEST_SIDE))
    if train.timestep_shift == 1.0:
        train = replace(train, timestep_shift=found.timestep_shift)
    line = f"{model.init}: codec {model.codec}, tokenizer {model.tokenizer}; images of at most {data.max_side} pixels"
    return replace(settings, model=model, data=data, train=train), [line]


def _with_words(settings: TrainingConfig, folder: Path) -> TrainingConfig:
    """Trains the tokenizer on all instructions, unless an earlier life of the run did."""
    from omnigen.data.shards.catalog import open_cache
    from omnigen.tokenizer import WordTokenizer
    from omnigen.train.training_data import open_catalog

    data = settings.data
    if data.stream:
        raise UserError("model.tokenizer: words are learnt from all instructions, which a stream does not know")
    if not (folder / WordTokenizer.FILE).is_file():
        catalog = open_catalog(data, open_cache(data.cache_dir, data.cache_bytes))
        pieces = (IMAGE_MARK.sub(" ", str(text)) for text in catalog.instructions)
        WordTokenizer.train(pieces, folder)
    return replace(settings, model=replace(settings.model, tokenizer=f"{WORDS}:{folder.resolve()}"))


def _from_samples(settings: TrainingConfig) -> tuple[TrainingConfig, list[str]]:
    from omnigen.data.order.schedule import most_tokens
    from omnigen.data.shards.catalog import CLASS, open_cache
    from omnigen.tokenizer import ByteTokenizer, load_tokenizer
    from omnigen.train.training_data import open_catalog

    data, train = settings.data, settings.train
    if data.stream:
        raise UserError("train.steps, pack_tokens, packs_per_step: a stream does not know its samples; give all three")
    catalog = open_catalog(data, open_cache(data.cache_dir, data.cache_bytes))
    counted = [task for task, weight in (data.weights or dict.fromkeys(catalog.tasks, 1.0)).items() if weight > 0]
    by_task = catalog.training_rows()
    of_class = by_task.pop(CLASS, np.empty(0, np.int64))
    rows = np.concatenate([by_task.get(task, np.empty(0, np.int64)) for task in counted])
    if not len(rows):
        return _filled(settings, 1, 1, 1), []  # setup says what is wrong
    known = settings.model.tokenizer != WORDS  # an estimate trains none, and bytes are the more
    tokenizer = load_tokenizer(settings.model.tokenizer if known else ByteTokenizer.name)
    both = np.concatenate([rows, of_class])
    tokens = most_tokens(catalog, both, tokenizer=tokenizer, max_side=data.max_side)
    pack = train.pack_tokens or -(-int(tokens.max()) // 64) * 64
    fitting = tokens[tokens <= pack] if (tokens <= pack).any() else tokens
    a_pack = max(1, int(pack // fitting.mean()))
    packs = train.packs_per_step or math.ceil(SAMPLES_PER_STEP / a_pack)
    own = packs * a_pack * (1 - data.class_share if len(of_class) else 1)  # samples of a step, class pictures left out
    visits = max(len(rows), VISITS_OF_ONE * math.sqrt(len(rows)))
    steps = train.steps or max(FEWEST_STEPS, math.ceil(visits / own))
    beside = f"; {data.class_share:.0%} of a step are class pictures, of {len(of_class):,}" if len(of_class) else ""
    line = (
        f"{steps:,} steps of about {packs * a_pack} samples: each of the {len(rows):,} samples some "
        f"{steps * own / len(rows):,.0f} times{beside}; {packs} x {pack:,} tokens a step"
    )
    return _filled(settings, steps, packs, pack), [line]


def _filled(settings: TrainingConfig, steps: int, packs: int, pack: int) -> TrainingConfig:
    train = settings.train
    filled = replace(
        train,
        steps=train.steps or steps,
        packs_per_step=train.packs_per_step or packs,
        pack_tokens=train.pack_tokens or pack,
    )
    return replace(settings, train=filled)

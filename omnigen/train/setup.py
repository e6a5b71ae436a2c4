"""From a configuration to the objects of a run: data, network, optimizer, validation. Fails before any work is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnigen.codec import Codec, load_codec
from omnigen.config import ModelConfig, preset
from omnigen.convert import load_model
from omnigen.data.augment import Mirroring
from omnigen.data.catalog import Catalog, task_weights
from omnigen.data.plan import Planner, rows_that_fit
from omnigen.data.sample import DropoutRates
from omnigen.generate.command import find_model
from omnigen.images import TOKEN_PIXELS
from omnigen.model import OmniGen
from omnigen.tokenizer import Tokenizer, load_tokenizer
from omnigen.train.caches import Caches, find_caches
from omnigen.train.config import TrainingConfig
from omnigen.train.ema import Average
from omnigen.train.parallel import Ranks
from omnigen.train.validate import ValidationSet, choose_slots
from x2i.errors import UserError
from x2i.seeding import stable_hash


@dataclass(frozen=True)
class Setup:
    """The parts of a run. too_long: samples left out because they do not fit a pack."""

    config: TrainingConfig
    ranks: Ranks
    catalog: Catalog
    planner: Planner
    tokenizer: Tokenizer
    codec: Codec
    model: OmniGen
    average: Average
    validation: ValidationSet | None
    too_long: int
    caches: Caches

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


def assemble(config: TrainingConfig, ranks: Ranks) -> Setup:
    """Opens the data and builds the network. Raises UserError for whatever the user can mend."""
    data, train = config.data, config.train
    if train.packs_per_step < ranks.world:
        raise UserError(
            f"train.packs_per_step: found {train.packs_per_step}, expected at least {ranks.world}, one for every rank"
        )
    tokenizer = load_tokenizer(config.model.tokenizer)
    codec = load_codec(config.model.codec, ranks.device)
    catalog = Catalog.open([Path(path) for path in data.shards], data.validation_fraction, data.split_seed)
    caches = find_caches(catalog.shards, data, codec, tokenizer)
    kinds = (catalog.training_rows(), catalog.validation_rows())
    fitting = [
        {
            task: rows_that_fit(
                catalog,
                rows,
                tokenizer=tokenizer,
                max_side=data.max_side,
                budget=train.pack_tokens,
                prompts=caches.prompts,
            )
            for task, rows in kind.items()
        }
        for kind in kinds
    ]
    training, held_out = fitting
    too_long = len(catalog) - sum(len(rows) for kind in fitting for rows in kind.values())
    if not any(len(rows) for rows in training.values()):
        raise UserError(
            f"data.shards: no sample is left to train on: of {len(catalog)}, {int(catalog.held_out.sum())} are held "
            f"out and {too_long} are longer than train.pack_tokens ({train.pack_tokens})"
        )
    planner = Planner(
        catalog,
        training,
        task_weights(training, data.weights),
        tokenizer=tokenizer,
        seed=train.seed,
        max_side=data.max_side,
        budget=train.pack_tokens,
        packs_per_step=train.packs_per_step,
        dropout=DropoutRates(train.dropout_text, train.dropout_images, train.dropout_both),
        mirroring=Mirroring(data.flip),
        prompts=caches.prompts,
    )
    slots = choose_slots(
        catalog,
        held_out,
        config.log.validation_samples,
        tokenizer=tokenizer,
        max_side=data.max_side,
        seed=data.split_seed,
        prompts=caches.prompts,
    )
    validation = None
    if slots:
        validation = ValidationSet(
            slots, catalog.tasks, codec, data.split_seed, data.max_side, train.pack_tokens, ranks, caches.latents
        )  # fmt: skip
    model = build_model(config, tokenizer, codec).to(ranks.device)
    average = Average(model, train.ema_decay)
    return Setup(config, ranks, catalog, planner, tokenizer, codec, model, average, validation, too_long, caches)


def build_model(config: TrainingConfig, tokenizer: Tokenizer, codec: Codec) -> OmniGen:
    """Returns the network in fp32: with fresh weights that depend on the seed alone, or with those of model.init."""
    wanted = network_config(config, tokenizer, codec)
    if wanted.pos_embed_max_size * TOKEN_PIXELS < config.data.max_side:
        raise UserError(
            f"data.max_side: found {config.data.max_side}, expected at most {wanted.pos_embed_max_size * TOKEN_PIXELS}"
            f", the largest of the network (model.overrides.pos_embed_max_size)"
        )
    if config.model.init is None:
        return OmniGen.initialized(wanted, stable_hash("weights", config.train.seed))
    saved = load_model(find_model(Path(config.model.init)))
    if saved.description.config != wanted:
        found, expected = saved.description.config.to_dict(), wanted.to_dict()
        unequal = [
            f"{name} {found[name]} there, {expected[name]} here" for name in found if found[name] != expected[name]
        ]
        raise UserError(
            f"model.init: {config.model.init}: another network than the one configured: {'; '.join(unequal)}"
        )
    return saved.model.float().train()


def network_config(config: TrainingConfig, tokenizer: Tokenizer, codec: Codec) -> ModelConfig:
    """Returns the preset with the tokenizer's vocabulary, the codec's channels and the overrides."""
    sizes = {"vocab_size": tokenizer.vocab_size, "in_channels": codec.channels}
    return preset(config.model.preset, **{**sizes, **config.model.overrides})

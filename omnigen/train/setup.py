"""From a configuration to the objects of a run: data, network, optimizer, validation. Fails before any work is done."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from omnigen.cache.find import Caches
from omnigen.codecs.base import Codec, load_codec
from omnigen.data.loading.augment import Mirroring
from omnigen.data.loading.sample import DropoutRates
from omnigen.data.order.schedule import PackSchedule, ScheduleOptions
from omnigen.generate.input_images import read_image
from omnigen.images import TOKEN_PIXELS
from omnigen.network.attention import CUDA_ONLY
from omnigen.network.blocks import compile_blocks
from omnigen.network.config import ModelConfig, preset
from omnigen.network.flash_attention_3 import use_flash_attention_3
from omnigen.network.model import OmniGen
from omnigen.prompt import build_prompt
from omnigen.tokenizer import Tokenizer, load_tokenizer
from omnigen.train.config import LogPrompt, LoraSettings, TrainingConfig
from omnigen.train.ema import Average
from omnigen.train.memory import describe, sampling_memory, training_memory, with_sync
from omnigen.train.parallel import Ranks
from omnigen.train.phases import Phase, run_phases
from omnigen.train.run_folder import RunFolder
from omnigen.train.sharding import build_sharded, require_possible, whole_state
from omnigen.train.training_data import TrainingData, open_training_data
from omnigen.train.validate import ValidationSet
from omnigen.weights import load_initial_weights
from omnigen.weights.fingerprint import fingerprint
from omnigen.weights.formats import is_model_folder
from omnigen.weights.lora import add_lora
from omnigen.weights.quantized import KINDS, quantize_layers, require_bitsandbytes
from x2i.errors import UserError
from x2i.seeding import stable_hash


@dataclass(frozen=True)
class PhaseParts:
    """What one phase of a run trains on. too_long: samples left out because they do not fit its packs; None where that
    is not known.
    """

    phase: Phase
    schedule: PackSchedule
    validation: ValidationSet | None
    caches: Caches
    too_long: int | None


@dataclass(frozen=True)
class Setup:
    """The parts of a run. sharded: the network is spread over the ranks. bf16: of the matrix products.

    base: fingerprint of the frozen weights that an adapter is trained beside; "" where all weights are trained.
    """

    config: TrainingConfig
    ranks: Ranks
    data: TrainingData
    tokenizer: Tokenizer
    codec: Codec
    phases: tuple[PhaseParts, ...]
    model: OmniGen
    average: Average
    sharded: bool
    bf16: bool
    base: str = ""

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def autocast(self) -> AbstractContextManager[Any]:
        """Returns the context in which the network computes; a sharded one gathers its weights in bf16 by itself."""
        if self.bf16 and not self.sharded:
            return torch.autocast(self.ranks.device.type, torch.bfloat16)
        return nullcontext()

    def whole_copy(self) -> OmniGen | None:
        """Returns a sharded network as it is now, whole, for use; None on all ranks but the first. All must call it."""
        state = whole_state(self.model)
        if not self.ranks.is_main:
            return None
        copy = _on_meta(self.model.config, self.config.lora)
        copy.load_state_dict(state, assign=True)
        return copy.to(self.ranks.device).eval()


def assemble(config: TrainingConfig, ranks: Ranks, tell: Callable[[str], object] = lambda line: None) -> Setup:
    """Opens the data and builds the network. Raises UserError for whatever the user can mend.

    tell: is given the memory that training takes, before anything takes any of a device's.
    """
    if config.model.image_attention == "causal" and config.log.sample_every:
        raise UserError("model.image_attention: causal is for comparing losses; pictures need log.sample_every=0")
    if config.lora.rank and config.model.init is None:
        raise UserError("lora.rank: an adapter is trained beside weights that are there: say which with model.init")
    require_possible(config.parallel, ranks.world)
    _require_usable(config, ranks)
    tokenizer, codec = load_tokenizer(config.model.tokenizer), load_codec(config.model.codec)
    wanted = network_config(config, tokenizer, codec)
    _require_drawable(config.log.prompts, tokenizer)
    _require_room(wanted, run_phases(config))
    bf16 = config.train.precision == "bf16" or (config.train.precision == "auto" and ranks.device.type == "cuda")
    sharded = config.parallel.is_sharded(ranks.world)
    config = with_sync(config, wanted, ranks.world, bf16, _memory_of(ranks.device))
    tell(describe(training_memory(config, wanted, ranks.world, bf16), sampling_memory(config, wanted, ranks.world)))
    data, codec = open_training_data(config.data), codec.to(ranks.device)
    phases = tuple(_open_phase(phase, config, data, tokenizer, codec, ranks) for phase in run_phases(config))

    bases: list[str] = []

    def build() -> OmniGen:
        return build_model(config, wanted, bases.append)

    if sharded:
        model = build_sharded(build, lambda: _on_meta(wanted, config.lora), ranks, config.parallel, bf16)
    else:
        model = build().to(ranks.device)
    if config.train.compile:
        compile_blocks(model)
    if config.train.attention in ("varlen", "segment"):
        use_flash_attention_3(ranks.device)
    average = Average(model, config.train.ema_decay)
    base = next(iter(ranks.gather(bases)), "")
    return Setup(config, ranks, data, tokenizer, codec, phases, model, average, sharded, bf16, base)


def _open_phase(
    phase: Phase, config: TrainingConfig, data: TrainingData, tokenizer: Tokenizer, codec: Codec, ranks: Ranks
) -> PhaseParts:
    train = phase.train
    if train.packs_per_step < ranks.world:
        raise UserError(
            f"{phase.prefix}train.packs_per_step: found {train.packs_per_step}, expected at least {ranks.world}, one "
            f"for every rank"
        )
    samples = data.for_phase(phase, config, codec, tokenizer)
    schedule = PackSchedule(
        samples.sequence,
        tokenizer,
        ScheduleOptions(
            train.seed,
            phase.max_side,
            train.pack_tokens,
            train.packs_per_step,
            DropoutRates(train.dropout_text, train.dropout_images, train.dropout_both),
            Mirroring(config.data.flip),
        ),
        samples.caches.prompts,
    )
    validation = None
    if samples.held_out:
        validation = ValidationSet(
            samples.held_out,
            samples.tasks,
            codec,
            config.data.split_seed,
            phase.max_side,
            train.pack_tokens,
            ranks,
            samples.caches.latents,
            config.model.image_attention == "causal",
            samples.files,
        )
    return PhaseParts(phase, schedule, validation, samples.caches, samples.too_long)


def build_model(
    config: TrainingConfig, wanted: ModelConfig, note_base: Callable[[str], object] = lambda base: None
) -> OmniGen:
    """Returns the network in fp32: with fresh weights that depend on the seed alone, or with those of model.init.

    With an adapter to train, everything else is frozen, in the precision of lora.frozen, and the adapter is fresh;
    note_base is given the fingerprint of what is frozen.
    """
    seed = stable_hash("weights", config.train.seed)
    if config.model.init is None:
        model = OmniGen.initialized(wanted, seed)
    else:
        given = Path(config.model.init)
        trained = RunFolder(given).model
        model = load_initial_weights(trained if is_model_folder(trained) else given, wanted, seed)
    if config.lora.rank:
        note_base(fingerprint(model.state_dict()))
        _add_adapter(model, config.lora, stable_hash("adapter", config.train.seed))
    return model


def _add_adapter(model: OmniGen, lora: LoraSettings, seed: int) -> None:
    """Freezes the network, in the precision that `lora` asks for, and adds a fresh adapter."""
    adapter = lora.adapter()
    assert adapter is not None
    if lora.frozen != "fp32":
        for parameter in model.parameters():  # the position table is a buffer, and stays fp32
            parameter.data = parameter.data.bfloat16()
    if lora.frozen in KINDS:
        quantize_layers(model, lora.frozen)
    add_lora(model, adapter, seed)


def _on_meta(config: ModelConfig, lora: LoraSettings) -> OmniGen:
    """Returns the network, adapter included, without contents."""
    with torch.device("meta"):
        model = OmniGen(config)
        if lora.rank:
            _add_adapter(model, lora, 0)
    return model


def _memory_of(device: torch.device) -> int | None:
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def _require_usable(config: TrainingConfig, ranks: Ranks) -> None:
    few_bits = {
        "lora.frozen": config.lora.frozen if config.lora.rank and config.lora.frozen in KINDS else None,
        "train.optimizer": config.train.optimizer if config.train.optimizer == "adamw8bit" else None,
    }
    for name, value in few_bits.items():
        if value and config.parallel.is_sharded(ranks.world):
            raise UserError(f"{name}: {value}: not with parallel.mode {config.parallel.mode}; use ddp")
        if value:
            require_bitsandbytes(f"{name}: {value}")
    if config.train.attention in CUDA_ONLY and ranks.device.type != "cuda":
        raise UserError(
            f"train.attention: found {config.train.attention}, which runs on CUDA devices only; set it to auto or "
            f"segment"
        )
    if config.log.wandb and importlib.util.find_spec("wandb") is None:
        raise UserError(f"log.wandb: {config.log.wandb!r}: wandb is not installed: pip install wandb")


def _require_drawable(prompts: Sequence[str | LogPrompt], tokenizer: Tokenizer) -> None:
    """Raises UserError for a prompt of the log whose marks and input images do not agree, or cannot be read."""
    for each in prompts:
        prompt = LogPrompt(each) if isinstance(each, str) else each
        marked = len(set(build_prompt(prompt.prompt, tokenizer).image_numbers))
        if marked != len(prompt.input_images):
            raise UserError(
                f"log.prompts: {prompt.prompt!r}: marks {marked} image(s), and {len(prompt.input_images)} are given; "
                f"give each mark its image, as {{prompt: ..., input_images: [path]}}"
            )
        for path in prompt.input_images:
            read_image(path)


def _require_room(network: ModelConfig, phases: Sequence[Phase]) -> None:
    largest = network.pos_embed_max_size * TOKEN_PIXELS
    for phase in phases:
        if phase.max_side > largest:
            raise UserError(
                f"{phase.prefix}data.max_side: found {phase.max_side}, expected at most "
                f"{largest}, the largest of the network (model.overrides.pos_embed_max_size)"
            )


def network_config(config: TrainingConfig, tokenizer: Tokenizer, codec: Codec) -> ModelConfig:
    """Returns the preset with the tokenizer's vocabulary, the codec's channels and the overrides.

    Raises UserError for overrides that contradict tokenizer or codec.
    """
    sizes = {"vocab_size": tokenizer.vocab_size, "in_channels": codec.channels}
    given = {name: config.model.overrides.get(name, size) for name, size in sizes.items()}
    if isinstance(given["vocab_size"], int) and given["vocab_size"] < tokenizer.vocab_size:
        raise UserError(
            f"model.overrides.vocab_size: found {given['vocab_size']}, expected at least {tokenizer.vocab_size}, the "
            f"ids of the tokenizer {tokenizer.name}"
        )
    if given["in_channels"] != codec.channels:
        raise UserError(
            f"model.overrides.in_channels: found {given['in_channels']}, expected {codec.channels}, the channels of "
            f"the codec {codec.name}; choose another with model.codec"
        )
    return preset(config.model.preset, **{**sizes, **config.model.overrides})

"""What kept latents and decoding at the stage's size save: decoding alone, batches on the CPU, a training step.

    python benchmarks/encode.py [--part decode|batch|prompts|step] [--repeats 3] [--photographs 12]

decode: JPEGs of 0.3 to 12 MP prepared to 256, 512 and 1024 pixels, from a whole decode and from a reduced one; the PSNR
between the two is printed. batch: images encoded one at a time and together; the largest difference of bits is printed.
prompts: 1,000 samples with captions of 60 words, laid out by a Hugging Face byte-level BPE tokenizer and by what
`omnigen encode` kept; the layouts must be equal. step: loading, encoding, forward, backward on 3 MP
JPEGs at 256 pixels (128 for the VAE), a tiny network; from pixels, and from what `omnigen encode` kept in fp32 and
bf16; the losses must agree. `sdxl` is a VAE of SDXL's architecture with random weights, which take the time of real
ones. One thread; the processor's time of this process is what counts; repeats are interleaved. One JSON line a
comparison.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image import make_photographs

from omnigen.cache.encode import encode
from omnigen.cache.files import prompts_key
from omnigen.cache.latents import LatentReader, LatentShard
from omnigen.cache.options import EncodeOptions
from omnigen.cache.tokens import TokenCache, find_prompts
from omnigen.codecs.base import Codec, load_codec
from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.decode import decode_prepared
from omnigen.data.loading.sample import Dropout, ImageReader, PlannedSample, make_planned_sample
from omnigen.data.order.packing import PackingState
from omnigen.data.shards.catalog import Catalog
from omnigen.images import decoding_divisor, prepare_image
from omnigen.tokenizer import load_tokenizer
from omnigen.train.config import TrainingConfig, load_config
from omnigen.train.objective import prepare_pack, sample_losses
from omnigen.train.parallel import Ranks
from omnigen.train.setup import Setup, assemble
from x2i.image import decode, read_header
from x2i.image import encode as encode_image
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store.shards import EncodedImage, find_shards, training_shard

CPU = torch.device("cpu")
Files = Sequence[tuple[bytes, tuple[int, int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("decode", "batch", "prompts", "step"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--photographs", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.part in (None, "decode"):
            measure_decoding(options.repeats)
        if options.part in (None, "batch"):
            measure_batches(Path(folder), options.repeats)
        if options.part in (None, "prompts"):
            measure_prompts(Path(folder), options.repeats)
        if options.part in (None, "step"):
            measure_steps(Path(folder), options.repeats, options.photographs)


def measure_decoding(repeats: int) -> None:
    for megapixels in (0.3, 3.0, 12.0):
        files = [(data, size_of(data)) for data in make_photographs(megapixels, 4)]
        for side in (256, 512, 1024):
            if all(decoding_divisor(*size, side) == 1 for _, size in files):
                continue
            whole, reduced = prepare_whole(files, side), prepare_reduced(files, side)
            errors = [np.square(a.astype(float) - b).mean() for a, b in zip(whole, reduced)]
            differences = [np.abs(a.astype(int) - b).mean() for a, b in zip(whole, reduced)]
            contenders = {
                "whole": partial(prepare_whole, files, side),
                "reduced": partial(prepare_reduced, files, side),
            }
            seconds = interleaved(contenders, repeats)
            tell(
                part="decode",
                megapixels=megapixels,
                side=side,
                milliseconds={name: value / len(files) * 1e3 for name, value in seconds.items()},
                ratio=seconds["whole"] / seconds["reduced"],
                least_psnr=10 * np.log10(255**2 / max(errors)),
                mean_difference=max(differences),
            )


def prepare_whole(files: Files, side: int) -> list[np.ndarray]:
    return [prepare_image(decode(data), side) for data, _ in files]


def prepare_reduced(files: Files, side: int) -> list[np.ndarray]:
    return [decode_prepared(data, size, side) for data, size in files]


def measure_batches(folder: Path, repeats: int) -> None:
    for name, side in (("dct:48", 256), ("dct:48", 512), (f"sdxl:{save_vae(folder / 'vae')}", 128)):
        codec = load_codec(name)
        images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1

        def one_by_one(codec: Codec = codec, images: torch.Tensor = images) -> torch.Tensor:
            return torch.cat([codec.posterior(image[None]) for image in images])

        def together(codec: Codec = codec, images: torch.Tensor = images) -> torch.Tensor:
            return codec.posterior(images)

        seconds = interleaved({"one_by_one": one_by_one, "together": together}, repeats)
        unequal = (one_by_one() - together()).abs().max().item()
        per_image = {key: value / 8 * 1e3 for key, value in seconds.items()}
        ratio = seconds["one_by_one"] / seconds["together"]
        tell(
            part="batch", codec=name.partition(":")[0], side=side, milliseconds=per_image, ratio=ratio, unequal=unequal
        )


def measure_prompts(folder: Path, repeats: int) -> None:
    words = np.random.default_rng(0).integers(0, 4000, (1000, 60))
    captions = [" ".join(f"word{number}" for number in row) for row in words]
    name = save_tokenizer(folder / "tokenizer", captions)
    pixels = EncodedImage(encode_image(np.zeros((32, 32, 3), np.uint8), "png"), "png")
    shards = folder / "captions"
    with training_shard(shards, "text_to_image-0in-00000") as writer:
        for number, caption in enumerate(captions):
            source, stamp = Lineage((f"u{number}",), ("",), ("",)), RecipeStamp("text_to_image", 1, {})
            sample = Sample(f"t-{number}", "text_to_image", caption, ((32, 32),), source, stamp)
            writer.add(sample, [], pixels)
    encode([shards], EncodeOptions(None, (), name))
    catalog, tokenizer = Catalog.open([shards]), load_tokenizer(name)
    cache = TokenCache(find_prompts(catalog.shards, prompts_key(tokenizer))[0], tokenizer)
    rows = [catalog.sample_ref(number) for number in range(len(catalog))]

    def laid_out(prompts: TokenCache | None) -> list[PlannedSample]:
        return [make_planned_sample(0, row, Dropout.NONE, 32, tokenizer, prompts) for row in rows]

    assert laid_out(None) == laid_out(cache)
    seconds = interleaved({"tokenizer": partial(laid_out, None), "kept": partial(laid_out, cache)}, repeats)
    microseconds = {key: value / len(rows) * 1e6 for key, value in seconds.items()}
    tell(part="prompts", microseconds=microseconds, ratio=seconds["tokenizer"] / seconds["kept"])


def save_tokenizer(folder: Path, texts: Sequence[str]) -> str:
    """Saves a byte-level BPE tokenizer trained on `texts`; returns its name for `load_tokenizer`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=8000, special_tokens=["<s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)
    return f"hf:{folder}"


def measure_steps(folder: Path, repeats: int, photographs: int) -> None:
    shards = make_dataset(folder / "data", photographs)
    for name, side in (("dct:48", 256), (f"sdxl:{save_vae(folder / 'vae')}", 128)):
        setups = {"pixels": step_setup(folder, shards, name, side, "never")}
        for dtype in ("fp32", "bf16"):
            summary = encode([shards], EncodeOptions(name, (side,), None, dtype, "cpu"))
            # The next dtype replaces the files, so each contender reads a copy of its own.
            copy = folder / f"{side}-{dtype}"
            (shards / "encoded").rename(copy)
            setups[dtype] = step_setup(folder, shards, name, side, "never", copy)
            tell(part="size", codec=name.partition(":")[0], dtype=dtype, bytes=summary["caches"][0]["bytes"])
        losses: dict[str, float] = {}
        shares: dict[str, list[float]] = {key: [] for key in setups}

        def work(key: str, setups: Mapping[str, Any] = setups, losses: dict = losses, shares: dict = shares) -> None:
            losses[key], share = step(*setups[key])
            shares[key].append(share)

        seconds = interleaved({key: partial(work, key) for key in setups}, repeats)
        assert losses["fp32"] == losses["pixels"], losses
        assert abs(losses["bf16"] - losses["pixels"]) < 2e-3 * losses["pixels"], losses
        tell(
            part="step",
            codec=name.partition(":")[0],
            side=side,
            seconds=seconds,
            data_share={key: statistics.median(values) for key, values in shares.items()},
            ratio={key: seconds["pixels"] / value for key, value in seconds.items()},
            losses=losses,
        )


def step(setup: Setup, latents: Mapping[Path, LatentShard]) -> tuple[float, float]:
    """Takes the first step without the optimizer; returns its loss, and the share of time until the network's turn."""
    started = time.process_time()
    step = setup.phases[0].schedule.step(0, PackingState())
    reader = LatentReader(latents, ImageReader(setup.config.data.max_side, cache_bytes=0))
    packs = [prepare_pack(load_pack(pack, reader), setup.codec, setup.config.train, CPU) for pack in step.packs]
    prepared = time.process_time()
    total = 0.0
    for pack in packs:
        assert pack is not None
        loss = sample_losses(setup.model, pack).weighted_S.sum()
        loss.backward()
        total += loss.item()
    return total, (prepared - started) / (time.process_time() - started)


def step_setup(
    folder: Path, shards: Path, codec: str, side: int, latents: str, kept: Path | None = None
) -> tuple[Setup, Mapping[Path, LatentShard]]:
    """Returns the parts of a run, and its kept latents if they lie in `kept`."""
    document = TrainingConfig().to_yaml()
    (folder / "config.yaml").write_text(document)
    settings = [
        f"data.shards=[{shards}]",
        f"data.max_side={side}",
        f"data.latents={latents}",
        f"model.codec={codec}",
        "data.validation_fraction=0",
        "train.pack_tokens=2048",
        "train.edit_weighting=false",
        "train.dropout_text=0",
        "train.dropout_images=0",
        "train.dropout_both=0",
    ]
    setup = assemble(load_config(folder / "config.yaml", settings), Ranks(0, 1, CPU))
    if kept is None:
        return setup, {}
    files = {path.name: path for path in kept.rglob("*.safetensors")}
    dtype = torch.float32 if kept.name.endswith("fp32") else torch.bfloat16
    channels = setup.codec.posterior_channels
    return setup, {
        shard.tar: LatentShard(files[f"{shard.name}.safetensors"], dtype, channels) for shard in find_shards(shards)
    }


def make_dataset(root: Path, photographs: int) -> Path:
    """Text to image, and an edit of one input, of 3 MP photographs."""
    files = make_photographs(3.0, photographs)
    with training_shard(root, "text_to_image-0in-00000") as plain:
        for number, data in enumerate(files):
            plain.add(*sample_of("text_to_image", number, [data]))
    with training_shard(root, "deblur-1in-00000") as edits:
        for number, data in enumerate(files):
            edits.add(*sample_of("deblur", number, [data, data]))
    return root


def sample_of(task: str, number: int, files: list[bytes]) -> tuple[Sample, list[EncodedImage], EncodedImage]:
    text = f"Sharpen {placeholder(1)}." if len(files) > 1 else "A photograph of something."
    source = Lineage((f"u{number}",), ("",), ("",))
    sizes = tuple(size_of(data) for data in files)
    images = [EncodedImage(data, "jpeg") for data in files]
    return Sample(f"{task}-{number}", task, text, sizes, source, RecipeStamp(task, 1, {})), images[:-1], images[-1]


def save_vae(folder: Path) -> Path:
    """Saves an AutoencoderKL of SDXL's architecture with random weights."""
    from diffusers import AutoencoderKL

    if not folder.is_dir():
        torch.manual_seed(0)
        AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            scaling_factor=0.13025,
        ).save_pretrained(folder)
    return folder


def size_of(data: bytes) -> tuple[int, int]:
    header = read_header(data)
    return header.width, header.height


def interleaved(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Returns the median processor seconds of each contender; all are warmed up by one run that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, work in contenders.items():
            started = time.process_time()
            work()
            if repeat:
                times[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def tell(**line: object) -> None:
    print(json.dumps(line, default=float, sort_keys=False), flush=True)


if __name__ == "__main__":
    main()

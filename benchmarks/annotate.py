"""Annotating on one machine: one pass over many scores against a pass each, a CLIP against its plain loop, hashing.

    python benchmarks/annotate.py [--images 96] [--side 768] [--clip-images 96] [--parts passes,clip,hash]

passes: all scores that need no weights, and NSFW, faces and text by the weights in packages: one command's pass, which
decodes each image once, against a pass for each. clip: open_clip's ViT-B/32 with random weights embeds JPEGs, by the
annotating stage (decoding included) against open_clip in a loop over a DataLoader of one worker, and against the model
alone on prepared tensors. hash: `phash` against imagehash's, both on decoded pixels and on JPEGs. Rates by the clock
need a machine that does nothing else; those by this process's processor time are disturbed less. The load is printed.
Photographs are scikit-image's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from x2i.annotate import ANNOTATIONS
from x2i.annotate.base import Annotation
from x2i.annotate.embeddings import Embeddings
from x2i.image import decode, encode, phash, sha256
from x2i.image_record import ImageRecord
from x2i.reasons import Status
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.images import image_partition

WITH_PACKAGE_WEIGHTS = ("nsfw", "faces", "text")
INLINE = RunOptions(executor=Executor.INLINE)
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--clip-images", type=int, default=96)
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--parts", default="passes,clip,hash")
    options = parser.parse_args()
    parts = {
        "passes": lambda: passes(photographs(options.images, options.side)),
        "clip": lambda: clip(photographs(options.clip_images, options.side)),
        "hash": lambda: hashing(photographs(options.images, options.side)),
    }
    for name in options.parts.split(","):
        found = parts[name]()
        print(json.dumps({"part": name, **found, "load": [round(load, 1) for load in os.getloadavg()]}), flush=True)


def photographs(count: int, side: int) -> list[bytes]:
    """Returns `count` JPEGs of longest side `side`: photographs mirrored, cut and lit in different ways."""
    originals = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    files = []
    for number in range(count):
        random = np.random.default_rng(number)
        image = originals[number % len(originals)]
        height, width = (int(length * random.uniform(0.7, 1)) for length in image.shape[:2])
        part = image[:height, :width][:, :: random.choice([-1, 1])]
        scale = side / max(part.shape[:2])
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        files.append(encode(np.clip(part * random.uniform(0.8, 1.2), 0, 255).astype(np.uint8), "jpeg", 90))
    return files


def stored(root: Path, files: Sequence[bytes], partition_size: int = 48) -> Dataset:
    """Returns a dataset of JPEGs, stored as a crawl would."""
    dataset = Dataset.create(root)
    for start in range(0, len(files), partition_size):
        partition = paths.partition_name(start // partition_size)
        some = files[start : start + partition_size]
        with image_partition(root, partition) as writer:
            for row, file in enumerate(some):
                pixels = decode(file)
                height, width = pixels.shape[:2]
                record = ImageRecord(
                    key=(key := f"{partition}-{row:05d}"),
                    uid=key,
                    url=f"bench:{key}",
                    status=Status.OK,
                    width=width,
                    height=height,
                    format="jpeg",
                    bytes=len(file),
                    sha256=sha256(file),
                    phash=phash(pixels),
                )
                writer.add(record, file)
        outputs = describe_outputs(root, (paths.image_tar(root, partition), paths.image_index(root, partition)))
        write_commit(root, Commit("crawl", partition, 1, {}, {}, partition, outputs, Counts(len(some))))
    return dataset


def passes(files: Sequence[bytes]) -> dict[str, Any]:
    kinds = [ANNOTATIONS.get(name) for name in ANNOTATIONS]
    wanted = [kind() for kind in kinds if kind.by_default] + [ANNOTATIONS.get(name)() for name in WITH_PACKAGE_WEIGHTS]
    with tempfile.TemporaryDirectory() as folder:
        run(stored(Path(folder) / "warm", files[:2]), wanted)
        together = run(stored(Path(folder) / "together", files), wanted)
        dataset = stored(Path(folder) / "each", files)
        each = {one.name: run(dataset, [one]) for one in wanted}
    seconds = sum(each.values())
    rate = {name: round(len(files) / taken, 1) for name, taken in each.items()}
    return {
        "images": len(files),
        "images_per_processor_second": {
            "one_pass": round(len(files) / together, 2),
            "a_pass_each": round(len(files) / seconds, 2),
        },
        "of_each_alone": rate,
        "ratio": round(seconds / together, 2),
    }


def run(dataset: Dataset, annotations: Sequence[Annotation]) -> float:
    """Returns the processor seconds that it takes to make these columns in one pass, models loaded by then or not."""
    started = time.process_time()
    for summary in execute([AnnotateStage(one) for one in annotations], dataset, INLINE):
        assert not summary.failed, summary
    return time.process_time() - started


def clip(files: Sequence[bytes]) -> dict[str, Any]:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "clip"
        place.mkdir()
        configuration = open_clip.get_model_config("ViT-B-32")
        model = open_clip.create_model("ViT-B-32").eval()
        (place / "open_clip_config.json").write_text(
            json.dumps({"model_cfg": configuration, "preprocess_cfg": open_clip.get_model_preprocess_cfg(model)})
        )
        save_file(model.state_dict(), place / "open_clip_model.safetensors")
        transform = open_clip.image_transform(model.visual.image_size, is_train=False)
        annotation = Embeddings(model=f"open_clip:{place}", set={"batch": BATCH})
        seconds: dict[str, list[tuple[float, float]]] = {"stage": [], "loop": [], "model": []}
        prepared = torch.stack([transform(Image.fromarray(decode(file))) for file in files])
        photos: Any = Jpegs(files, transform)
        loader: Any = torch.utils.data.DataLoader(photos, batch_size=BATCH, num_workers=1)
        for repeat in range(5):
            dataset = stored(Path(folder) / f"d{repeat}", files, len(files))
            worker = AnnotateStage(annotation).worker(dataset.root)
            rows = next(AnnotateStage(annotation).plan(dataset)).rows
            seconds["stage"].append(timed(lambda: worker("00000", rows), 1))  # noqa: B023  it is called at once
            seconds["loop"].append(timed(lambda: [encoded(model, batch) for batch in loader], 1))
            seconds["model"].append(timed(lambda: [encoded(model, batch) for batch in prepared.split(BATCH)], 1))
            shutil.rmtree(dataset.root)
    rates = {name: len(files) / median(clock for clock, _ in taken) for name, taken in seconds.items()}
    work = {name: len(files) / median(work for _, work in taken) for name, taken in seconds.items() if name != "loop"}
    return {
        "images": len(files),
        "threads": torch.get_num_threads(),
        "images_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "of_model_only": {name: round(rates[name] / rates["model"], 3) for name in ("stage", "loop")},
        "images_per_processor_second": {name: round(rate, 2) for name, rate in work.items()},
    }


class Jpegs:
    """A torch data set of JPEGs, decoded by PIL as open_clip's examples do."""

    def __init__(self, files: Sequence[bytes], transform: Callable[[Image.Image], Any]) -> None:
        self._files, self._transform = files, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Any:
        import io

        return self._transform(Image.open(io.BytesIO(self._files[number])).convert("RGB"))


def encoded(model: Any, batch: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model.encode_image(batch, normalize=True)


def hashing(files: Sequence[bytes]) -> dict[str, Any]:
    import io

    import imagehash

    images = [decode(file) for file in files]
    pillow = [Image.fromarray(image) for image in images]
    assert all(int(str(imagehash.phash(one)), 16) == phash(image) for one, image in zip(pillow, images))

    def theirs(file: bytes) -> Any:
        return imagehash.phash(Image.open(io.BytesIO(file)))

    seconds = {
        "ours": timed(lambda: [phash(image) for image in images]),
        "imagehash": timed(lambda: [imagehash.phash(one) for one in pillow]),
        "ours_of_files": timed(lambda: [phash(decode(file)) for file in files]),
        "imagehash_of_files": timed(lambda: [theirs(file) for file in files]),
    }
    return {
        "images": len(files),
        "images_per_second": {name: round(len(files) / clock, 1) for name, (clock, _) in seconds.items()},
        "images_per_processor_second": {name: round(len(files) / work, 1) for name, (_, work) in seconds.items()},
        "ratio_of_work": round(seconds["imagehash"][1] / seconds["ours"][1], 2),
        "ratio_of_work_of_files": round(seconds["imagehash_of_files"][1] / seconds["ours_of_files"][1], 2),
    }


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Returns the least seconds that `call` takes in several turns: of the clock, and of this process's work."""
    clock, work = [], []
    for _ in range(repeats):
        started, worked = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - started)
        work.append(time.process_time() - worked)
    return min(clock), min(work)


if __name__ == "__main__":
    main()

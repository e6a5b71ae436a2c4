"""Finds which caches of which shards are missing or stale, and makes those."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from omnigen.cache.files import RECORD, cache_file, latents_key, prompts_key
from omnigen.cache.latents import DTYPES, INDEX, TENSORS
from omnigen.cache.options import EncodeOptions
from omnigen.cache.record import reason_to_encode
from omnigen.cache.write_latents import LatentsJob
from omnigen.cache.write_tokens import PromptsJob
from omnigen.codecs.base import load_codec
from omnigen.data.shards.catalog import Catalog
from omnigen.tokenizer import load_tokenizer
from x2i.errors import UserError
from x2i.settings import nearest
from x2i.store.files.atomic import TEMPORARY_MARK
from x2i.store.files.remote import dataset_path
from x2i.store.shards import Shard

Job = LatentsJob | PromptsJob


def encode(
    shards: Sequence[Path], options: EncodeOptions, on_images: Callable[[int, int], None] = lambda count, total: None
) -> dict[str, Any]:
    """Makes the caches that are missing or stale; returns a summary of plain JSON values.

    shards: dataset folders, or folders of shards. on_images(count, total): `count` more images are done, of `total`.
    Under torchrun, rank r of n takes every n-th shard. Raises UserError for whatever the user can mend.
    """
    jobs = _jobs(options)
    catalog = Catalog.open([dataset_path(path) for path in shards])
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    mine = catalog.shards[rank::world]
    todo = [
        (job, [(shard, why) for shard in mine if (why := reason_to_encode(shard, job.key, job.facts))]) for job in jobs
    ]
    images = {shard.tar: _count_images(shard) for shard in mine}
    total = sum(images[shard.tar] for job, work in todo if isinstance(job, LatentsJob) for shard, _ in work)
    caches = []
    for job, work in todo:
        entry: dict[str, Any] = {
            "cache": job.key.folder,
            "shards": len(mine),
            "valid": len(mine) - len(work),
            "reasons": dict(sorted(Counter(reason for _, reason in work).items())),
        }
        if options.dry_run:
            entry["images"] = sum(images[shard.tar] for shard, _ in work) if isinstance(job, LatentsJob) else 0
            entry["bytes"] = _estimate(job, [shard for shard, _ in work])
        else:
            records = [job.run(shard, lambda count: on_images(count, total)) for shard, _ in work]
            entry |= _totals(records)
            entry["removed"] = _remove_orphans(job, catalog.shards) if rank == 0 else 0
        caches.append(entry)
    return {"dry_run": options.dry_run, "caches": caches}


def report(summary: dict[str, Any]) -> str:
    """Returns the summary as lines for people."""
    lines = []
    for entry in summary["caches"]:
        verb = "to do" if summary["dry_run"] else "made"
        why = ", ".join(f"{reason}: {count}" for reason, count in entry["reasons"].items())
        head = f"{entry['cache']}: {entry['valid']} of {entry['shards']} shards valid"
        if why:
            counted = [f"{entry[name]:,} {name}" for name in ("images", "prompts") if entry.get(name)]
            listed = ", ".join([*counted, f"{entry['bytes'] / 1e6:,.3g} MB"] if entry["bytes"] else counted)
            head += f", {entry['shards'] - entry['valid']} {verb} ({why})" + (f": {listed}" if listed else "")
        lines.append(head)
        for reason, count in entry.get("undecodable", {}).items():
            lines.append(f"  {count} images could not be decoded: {reason}; training leaves their samples out")
        if entry.get("removed"):
            lines.append(f"  {entry['removed']} files of shards that are gone were deleted")
    return "\n".join(lines)


def _jobs(options: EncodeOptions) -> list[Job]:
    if options.dtype not in DTYPES:
        raise UserError(f"--dtype {options.dtype}: {nearest(options.dtype, list(DTYPES))}")
    if not options.codec and not options.tokenizer:
        raise UserError("nothing to encode: give --codec with --side for latents, --tokenizer for prompts, or both")
    if bool(options.codec) != bool(options.side):
        raise UserError("--codec and --side belong together, as in --codec dct:48 --side 256")
    jobs: list[Job] = []
    if options.codec:
        device = _device(options.device)
        codec = load_codec(options.codec, device)
        for side in options.side:
            key = latents_key(codec, side)
            jobs.append(LatentsJob(codec, key, side, options.dtype, device, options.batch, options.workers))
    if options.tokenizer:
        tokenizer = load_tokenizer(options.tokenizer)
        jobs.append(PromptsJob(tokenizer, prompts_key(tokenizer)))
    return jobs


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {name}: expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; give --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _count_images(shard: Shard) -> int:
    return sum(map(len, shard.index(["image_offsets"]).column("image_offsets").to_pylist()))


def _estimate(job: Job, shards: Sequence[Shard]) -> int:
    return sum(job.layout(shard).num_bytes for shard in shards) if isinstance(job, LatentsJob) else 0


def _totals(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    undecodable: Counter[str] = Counter()
    for record in records:
        undecodable.update(record["counts"].get("undecodable", {}))
    return {
        "images": sum(record["counts"].get("images", 0) for record in records),
        "prompts": sum(record["counts"].get("prompts", 0) for record in records),
        "undecodable": dict(sorted(undecodable.items())),
        "bytes": sum(entry["bytes"] for record in records for entry in record["outputs"].values()),
    }


def _remove_orphans(job: Job, shards: Sequence[Shard]) -> int:
    """Deletes what this cache holds of shards that are gone; returns how many files that were."""
    count = 0
    expected = {cache_file(shard, job.key, suffix) for shard in shards for suffix in (TENSORS, INDEX, RECORD)}
    for folder in sorted({path.parent for path in expected}):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path not in expected and TEMPORARY_MARK not in path.name:
                path.unlink()
                count += 1
    return count

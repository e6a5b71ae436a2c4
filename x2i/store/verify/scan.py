"""What a training shard says of itself: its index rebuilt from the tar alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from x2i.sample import InvalidSampleError, Sample, canonical_json
from x2i.store.files.tar import Member, read_range, survey_members

IMAGE_SUFFIX_PATTERN = re.compile(r"(?:input_([1-9]\d*)|output)\.(?:jpg|jpeg|png|webp)")
MAX_JSON_BYTES = 16 << 20


@dataclass
class ShardScan:
    """The rows an index of this tar must hold (fields of SHARD_SCHEMA, file order), and what is wrong with the tar.

    Each problem is a sentence without the file's name. A sample with a problem has no row.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def scan_shard(tar: Path) -> ShardScan:
    """Reads the headers and the JSON members of a WebDataset tar; image bytes are not touched. Raises OSError."""
    members, problems = survey_members(tar)
    scan = ShardScan(problems=list(problems))
    scan.problems += [
        f"member {name!r} stands {count} times in the tar"
        for name, count in Counter(member.name for member in members).items()
        if count > 1
    ]
    seen: set[str] = set()
    for key, group in groupby(members, key=lambda member: member.key):
        if key in seen:
            scan.problems.append(f"sample {key!r}: duplicate key, or its members are not together")
            continue
        seen.add(key)
        files = {member.suffix: member for member in group}
        row, complaints = _row(tar, key, files)
        scan.problems += [f"sample {key!r}: {complaint}" for complaint in complaints]
        if row is not None:
            scan.rows.append(row)
    scan.problems += _homogeneity(scan.rows)
    return scan


def looks_like_samples(tar: Path) -> bool:
    """Whether the tar holds training samples (a JSON member and an output image), judged by its first members."""
    members, _ = survey_members(tar)
    suffixes = {member.suffix for member in members[:64]}
    return "json" in suffixes and any(suffix.startswith("output.") for suffix in suffixes)


def sample_images(files: dict[str, Member]) -> tuple[list[str], list[str]]:
    """Returns the image suffixes of one sample, inputs in placeholder order and the output last, and the complaints."""
    numbered: list[tuple[int, str]] = []
    outputs: list[str] = []
    complaints: list[str] = []
    for suffix in files:
        match = IMAGE_SUFFIX_PATTERN.fullmatch(suffix)
        if match is None:
            if suffix != "json":
                complaints.append(f"unexpected member {suffix!r}")
        elif match[1]:
            numbered.append((int(match[1]), suffix))
        else:
            outputs.append(suffix)
    numbered.sort()
    if [number for number, _ in numbered] != list(range(1, len(numbered) + 1)):
        complaints.append(f"input images are numbered {[number for number, _ in numbered]}, expected 1, 2, 3...")
    if len(outputs) != 1:
        complaints.append(f"{len(outputs)} output images, expected one")
    return [suffix for _, suffix in numbered] + outputs, complaints


def _row(tar: Path, key: str, files: dict[str, Member]) -> tuple[dict[str, Any] | None, list[str]]:
    names, complaints = sample_images(files)
    if "json" not in files:
        return None, [*complaints, "the JSON member is missing"]
    document = files["json"]
    if document.size > MAX_JSON_BYTES:
        return None, [*complaints, f"the JSON member has {document.size} bytes"]
    try:
        sample = Sample.from_json(read_range(tar, document.offset, document.size))
    except InvalidSampleError as error:
        return None, [*complaints, f"the JSON member is no valid sample: {error}"]
    if sample.key != key:
        complaints.append(f"the JSON says key {sample.key!r}")
    if sample.num_inputs != len(names) - 1:
        complaints.append(f"the JSON declares {sample.num_inputs} input images, the tar holds {len(names) - 1}")
    return (None, complaints) if complaints else (_index_row(sample, names, files), [])


def _index_row(sample: Sample, names: list[str], files: dict[str, Member]) -> dict[str, Any]:
    return {
        "key": sample.key,
        "task": sample.task,
        "num_inputs": sample.num_inputs,
        "instruction": sample.instruction,
        "instruction_bytes": len(sample.instruction.encode()),
        "image_sizes": [list(size) for size in sample.sizes],
        "json_offset": files["json"].offset,
        "json_size": files["json"].size,
        "image_names": names,
        "image_offsets": [files[name].offset for name in names],
        "image_bytes": [files[name].size for name in names],
        "uids": list(sample.source.uids),
        "recipe": sample.recipe.name,
        "scores": canonical_json(dict(sample.scores)),
        "mirrorable": sample.mirrorable,
    }


def _homogeneity(rows: list[dict[str, Any]]) -> Iterator[str]:
    kinds = Counter((row["task"], row["num_inputs"]) for row in rows)
    if len(kinds) > 1:
        mixed = ", ".join(f"{task} with {inputs} inputs ({count})" for (task, inputs), count in kinds.most_common())
        yield f"not homogeneous: a shard holds one task and one number of inputs, this one holds {mixed}"

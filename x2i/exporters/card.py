"""The dataset card: README.md with the YAML that Hugging Face reads, and the text that a person needs to judge it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from x2i.exporters.card_data import MOST_LICENSES, Publication
from x2i.exporters.configs import Config
from x2i.inspect.formatting import describe_bytes
from x2i.store.commits import Counts

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**12, "1B<n<10B"))
NO_CONTACT = "(no contact was given: put an address here before you publish)"


def describe(publication: Publication, configs: Sequence[Config]) -> str:
    """Returns what the dataset is, in a sentence, without markup."""
    samples = sum(config.samples for config in configs)
    tasks = sorted({config.task for config in configs})
    return (
        f"{publication.name}: {samples:,} samples for training unified image generation in the X2I layout "
        f"(interleaved text and images in, one image out), of {len(tasks)} tasks: {', '.join(tasks)}."
    )


def card(publication: Publication, configs: Sequence[Config]) -> str:
    """Returns the text of README.md."""
    import yaml

    front = yaml.safe_dump(_front_matter(publication, configs), sort_keys=False, allow_unicode=True, width=10_000)
    sections = [
        f"# {_text(publication.name)}",
        _text(describe(publication, configs)),
        _use(configs),
        _samples(configs),
        _members(),
        _licenses(publication),
        _funnel(publication),
        _recipes(publication),
        _policy(publication),
        _takedown(publication),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(publication: Publication, configs: Sequence[Config]) -> dict[str, Any]:
    samples = sum(config.samples for config in configs)
    largest = max(configs, key=lambda config: (config.samples, config.name))
    license: dict[str, Any] = {"license": publication.single_license() or "other"}
    if license["license"] == "other":
        license |= {"license_name": "per-image", "license_link": "README.md"}
    return {
        "pretty_name": " ".join(publication.name.split()),  # a line break could end the front matter
        **license,
        "task_categories": ["text-to-image", "image-to-image"],
        "size_categories": [next(name for most, name in (*SIZES, *LARGER) if samples < most)],
        "tags": ["x2i", "omnigen", "webdataset", "image-editing", "croissant"],
        "configs": [_config(config, config is largest) for config in configs],
    }


def _config(config: Config, default: bool) -> dict[str, Any]:
    tars: str | list[str] = config.pattern or [f"shards/{name}.tar" for name, _, _ in config.shards]
    entry: dict[str, Any] = {"config_name": config.name, "data_files": [{"split": "train", "path": tars}]}
    return entry | ({"default": True} if default else {})


def _use(configs: Sequence[Config]) -> str:
    name = configs[0].name
    return (
        "## Use\n\n```python\nimport datasets\n\n"
        f'for sample in datasets.load_dataset("PATH", "{name}", split="train", streaming=True):\n'
        '    sample["json"]["instruction"], sample["' + configs[0].image_names[-1] + '"]\n```\n\n'
        "`PATH` is this folder or its name on the Hub. The tars are WebDataset and also load with `webdataset`; the "
        "`.parquet` beside each one holds byte offsets, sizes, instruction and lineage of its samples."
    )


def _samples(configs: Sequence[Config]) -> str:
    rows = [
        (f"`{c.name}`", f"{c.samples:,}", c.num_inputs, len(c.shards), describe_bytes(sum(s[2] for s in c.shards)))
        for c in configs
    ]
    return "## Samples by task\n\n" + _table(("config", "samples", "input images", "shards", "size"), rows)


def _members() -> str:
    return (
        "A sample's members share the name before the first dot: `<key>.json`, `<key>.input_1.jpg` ..., "
        "`<key>.output.jpg` (or `.png`). The JSON has `key, task, instruction, num_inputs, sizes, source, recipe, "
        "scores`; `source` names every image it was made of: `uids`, `urls`, `licenses`. The instruction marks input "
        "image k as `<img><|image_k|></img>`."
    )


def _licenses(publication: Publication) -> str:
    ordered = sorted(publication.licenses.items(), key=lambda item: (-item[1], item[0]))
    rows = [(_text(name) or "(not stated)", f"{count:,}") for name, count in ordered[:MOST_LICENSES]]
    if len(ordered) > MOST_LICENSES:
        rest = sum(count for _, count in ordered[MOST_LICENSES:])
        rows.append((f"{len(ordered) - MOST_LICENSES:,} more", f"{rest:,}"))
    text = (
        "## Licenses\n\nEach image keeps the license that its page or table stated; a sample made of several counts "
        "once for each. Where none was stated the rights are unknown: that an image can be fetched is no permission."
        "\n\n"
    )
    return text + _table(("license", "samples"), rows)


def _funnel(publication: Publication) -> str:
    if not publication.steps:
        return ""
    rows = []
    for stage, counts in publication.steps.items():
        rows.append((f"`{stage}`", f"{counts.total:,}", f"{counts.ok:,}", _reasons(counts)))
    text = "## How it was made\n\nEvery stage with what it saw, what it kept, and why it did not keep the rest.\n\n"
    return text + _table(("stage", "saw", "kept", "lost for"), rows)


def _reasons(counts: Counts) -> str:
    lost = {**counts.filtered, **counts.failed}
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(lost.items(), key=lambda item: (-item[1], item[0])) if n)


def _recipes(publication: Publication) -> str:
    rows = []
    for stamp, count in publication.recipes.items():
        name, _, version = stamp.rpartition(" ")
        rows.append((_code(name), _text(version), f"{count:,}"))
    return "## Recipes\n\n" + _table(("recipe", "version", "samples"), rows) if rows else ""


def _policy(publication: Publication) -> str:
    if publication.robots is None:
        return ""
    said = (
        "robots.txt was obeyed, and so were the opt-outs that a site can give with a picture (X-Robots-Tag, TDM "
        "reservation, Content-Usage)"
        if publication.robots
        else "**robots.txt was not obeyed in a part of the crawl** (`--ignore-robots`); opt-outs given with a picture "
        "were"
    )
    filtered = publication.ingest.filtered
    refused = {name: filtered[name] for name in ("robots_disallowed", "opt_out") if filtered.get(name)}
    left_out = ", ".join(f"{name} {count:,}" for name, count in refused.items()) or "none were found"
    agents = ", ".join(_code(agent) for agent in publication.user_agents)
    asked = f" The crawler called itself {agents}." if agents else ""
    return f"## Robots and opt-outs\n\nAs it was crawled, {said}. Images left out for that: {left_out}.{asked}"


def _takedown(publication: Publication) -> str:
    contact = _text(publication.contact) or NO_CONTACT
    return (
        "## Takedown\n\n"
        f"To have an image removed, write to {contact} and name its address, or the sha256 of the file. Every sample's "
        "`source` names the images it was made of, so all that descends from one can be found and removed."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _text(value: str) -> str:
    """Returns text that is only text in Markdown: nothing in it can end a table cell, open a tag or make a link."""
    plain = re.sub(r"\s+", " ", value).strip()
    return re.sub(r"([\\`*\[\]<>|#&])", lambda match: f"&#{ord(match[1])};", plain)


def _code(value: str) -> str:
    """Returns text as a code span, without what could end it or its table cell."""
    plain = re.sub(r"[`|<>]|\s+", " ", value).strip()
    return f"`{plain}`"

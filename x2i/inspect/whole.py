"""Everything that a dataset knows of one image: its record, its columns, its relations, the samples made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.inspect.formatting import describe_bytes, describe_value
from x2i.inspect.gallery.lineage import SourceImage, presentable
from x2i.inspect.tables import shorten, source_document
from x2i.store import Dataset
from x2i.store.columns import read_relation
from x2i.takedown.tables import rows_about

if TYPE_CHECKING:
    from rich.text import Text

LABEL, VALUE, MOST = 18, 160, 8
"""Letters of a name and of a row's values; rows and samples that are shown of a kind."""


def image_document(dataset: Dataset, source: SourceImage) -> dict[str, Any]:
    """Returns an image's record, the rows about it in columns and relations, and the keys of its samples, as JSON."""
    key, relations = source.record.key, {}
    for name in dataset.relations():
        table = read_relation(dataset.root, name)
        if about := table.filter(rows_about(table, {key})).to_pylist():
            relations[name] = [presentable(row) for row in about]
    samples = _samples(dataset, source.record.uid)
    return {**source_document(source), "relations": relations, "samples": samples}


def image_text(document: Mapping[str, Any]) -> Text:
    """Returns `image_document` for the terminal: facts first, then a line for each row, long values shortened."""
    from rich.text import Text

    text = Text()
    text.append(f"{document['key']}  {document['status']}", style="bold")
    for name, value in _facts(document):
        text.append(f"\n  {name:<{LABEL}}", style="dim").append(value)
    for kind in ("columns", "relations"):
        for name, rows in document[kind].items():
            for number, row in enumerate(rows[:MOST]):
                text.append(f"\n  {'' if number else name:<{LABEL}}" + " " * (len(name) >= LABEL), style="dim")
                text.append(_values(row))
            if len(rows) > MOST:
                text.append(f"\n  {'':<{LABEL}}and {len(rows) - MOST} more, --json shows all", style="dim")
    samples = document["samples"]
    more = f" and {len(samples) - MOST} more" if len(samples) > MOST else ""
    text.append(f"\n  {'samples':<{LABEL}}", style="dim")
    return text.append(f"{len(samples):,}" + f": {', '.join(samples[:MOST])}{more}" * bool(samples))


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "width" in document:
        stored = (document["width"], document["height"])
        was = (document.get("original_width", stored[0]), document.get("original_height", stored[1]))
        size = describe_bytes(document.get("bytes", 0))
        yield "image", f"{stored[0]}x{stored[1]} {document['format']}; fetched as {was[0]}x{was[1]}, {size}"
    if "reason" in document:
        yield "reason", f"{document['reason']} {document.get('detail', '')}".strip()
    yield "address", document["url"]
    for name in ("page_url", "license"):
        if name in document:
            yield name.removesuffix("_url"), document[name]
    if "text" in document:
        source = f" ({document['text_source']})" if "text_source" in document else ""
        yield "words", f"{shorten(document['text'], 4 * VALUE)}{source}"


def _values(row: Mapping[str, Any]) -> str:
    found = {name: value for name, value in row.items() if name not in ("key", "revision")}
    if len(found) > 1:
        return shorten("; ".join(f"{name} {describe_value(value)}" for name, value in found.items()), VALUE)
    return shorten("".join(map(describe_value, found.values())), VALUE)


def _samples(dataset: Dataset, uid: str) -> Sequence[str]:
    """Returns the keys of the training samples that were made from the image `uid`."""
    keys: list[str] = []
    for shard in dataset.shards():
        index = shard.index(["key", "uids"]).combine_chunks()
        uids = index["uids"].combine_chunks()
        made = pc.equal(pc.list_flatten(uids), pa.scalar(uid))
        rows = pc.unique(pc.list_parent_indices(uids).filter(made))
        keys += index["key"].take(rows).to_pylist()
    return keys

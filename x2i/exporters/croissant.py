"""Croissant 1.0 metadata of an export: its files with their sums, and how records are read out of them.

Format: http://mlcommons.org/croissant/1.0. A record joins files of one tar that share the name before the first dot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from x2i.exporters.card_data import Publication
from x2i.exporters.hugging_face import Config

VERSION = "http://mlcommons.org/croissant/1.0"
MIME_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_TERMS = (
    *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def croissant(publication: Publication, configs: Sequence[Config], description: str) -> dict[str, Any]:
    """Returns the JSON-LD document, to be written as croissant.json beside the folder shards/."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": publication.name,
        "description": description,
        "license": publication.license_urls() or [publication.url or "see README.md"],
        "url": publication.url or "README.md",
        "creator": {"@type": "Organization", "name": publication.creator},
        "datePublished": publication.date,
        "version": publication.version,
        "keywords": ["X2I", "OmniGen", "image generation", "image editing"],
        "distribution": [entry for config in configs for entry in _distribution(config)],
        "recordSet": [_record_set(config) for config in configs],
    }


def _distribution(config: Config) -> Iterator[dict[str, Any]]:
    for name, digest, size in config.shards:
        yield {
            "@type": "cr:FileObject",
            "@id": f"shards/{name}.tar",
            "name": f"{name}.tar",
            "contentUrl": f"shards/{name}.tar",
            "contentSize": f"{size} B",
            "encodingFormat": "application/x-tar",
            "sha256": digest,
        }
    tars = [{"@id": f"shards/{name}.tar"} for name, _, _ in config.shards]
    for suffix in ("json", *config.image_names):
        extension = suffix.rsplit(".", 1)[-1]
        yield {
            "@type": "cr:FileSet",
            "@id": _file_set(config, suffix),
            "name": _file_set(config, suffix),
            "description": f"The members *.{suffix} of the tars of {config.name}.",
            "containedIn": tars,
            "encodingFormat": MIME_TYPES.get(extension, "application/json"),
            "includes": f"*.{suffix}",
        }


def _record_set(config: Config) -> dict[str, Any]:
    def field(name: str, kind: str, suffix: str, source: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "@type": "cr:Field",
            "@id": f"{config.name}/{name}",
            "name": name,
            "dataType": kind,
            "source": {"fileSet": {"@id": _file_set(config, suffix)}, **source},
            **more,
        }

    def key_of(suffix: str) -> dict[str, Any]:
        pattern = r"([^/.]+)\." + suffix.replace(".", r"\.") + "$"
        return {"extract": {"fileProperty": "filename"}, "transform": {"regex": pattern}}

    def inside(path: str) -> dict[str, Any]:
        return {"extract": {"jsonPath": path}}

    fields = [
        field("key", "sc:Text", "json", key_of("json"), description="Unique in the dataset."),
        field("task", "sc:Text", "json", inside("$.task")),
        field(
            *("instruction", "sc:Text", "json", inside("$.instruction")),
            description="Marks input image k as <img><|image_k|></img>.",
        ),
        field("uids", "sc:Text", "json", inside("$.source.uids[*]"), repeated=True),
        field("urls", "sc:Text", "json", inside("$.source.urls[*]"), repeated=True),
        field("licenses", "sc:Text", "json", inside("$.source.licenses[*]"), repeated=True),
    ]
    key = {"@id": f"{config.name}/key"}
    for suffix in config.image_names:
        name = suffix.split(".", 1)[0]
        content = {"extract": {"fileProperty": "content"}}
        fields.append(field(f"{name}_key", "sc:Text", suffix, key_of(suffix), references=key))
        fields.append(field(name, "sc:ImageObject", suffix, content))
    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": f"{config.samples} samples of {config.task} with {config.num_inputs} input images.",
        "key": key,
        "field": fields,
    }


def _file_set(config: Config, suffix: str) -> str:
    return f"{config.name}-{suffix.replace('.', '-')}"

"""Croissant 1.0 metadata of an export: its files with their sums, and how records are read out of them.

Format: http://mlcommons.org/croissant/1.0. The samples of a config are one set of records, and so are its images of
each name. Members of a tar that share the name before the first dot are of one sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from x2i.exporters.card_data import Publication
from x2i.exporters.configs import Config

VERSION = "http://mlcommons.org/croissant/1.0"
MIME_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset",
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source",
    "subField transform",
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
    **{term: f"cr:{term}" for terms in _TERMS for term in terms.split()},
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
        "recordSet": [records for config in configs for records in _record_sets(config)],
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


def _record_sets(config: Config) -> Iterator[dict[str, Any]]:
    """Yields the samples, read from their JSON, and one set of records for each of their images, joined by key."""
    key = f"{config.name}/key"
    texts = ("task", "instruction")
    lists = ("uids", "urls", "licenses")
    fields = [_field(key, "sc:Text", config, "json", {"jsonPath": "$.key"}, description="Unique in the dataset.")]
    fields += [_field(f"{config.name}/{n}", "sc:Text", config, "json", {"jsonPath": f"$.{n}"}) for n in texts]
    fields += [
        _field(f"{config.name}/{n}", "sc:Text", config, "json", {"jsonPath": f"$.source.{n}[*]"}, repeated=True)
        for n in lists
    ]
    about = f"{config.samples} samples of {config.task} with {config.num_inputs} input images. In the instruction, "
    yield _set(config.name, about + "<img><|image_k|></img> stands for input image k.", key, fields)
    for suffix in config.image_names:
        name = f"{config.name}-{suffix.split('.', 1)[0]}"
        pattern = r"([^/.]+)\." + suffix.replace(".", r"\.") + "$"
        fields = [
            _field(
                f"{name}/key",
                "sc:Text",
                config,
                suffix,
                {"fileProperty": "filename"},
                transform={"regex": pattern},
                references={"field": {"@id": key}},
            ),
            _field(f"{name}/image", "sc:ImageObject", config, suffix, {"fileProperty": "content"}),
        ]
        yield _set(name, f"The images *.{suffix} of the samples of {config.name}, by key.", f"{name}/key", fields)


def _set(name: str, description: str, key: str, fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    head = {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description}
    return {**head, "key": {"@id": key}, "field": list(fields)}


def _field(
    path: str,
    kind: str,
    config: Config,
    suffix: str,
    extract: dict[str, str],
    transform: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    source = {"fileSet": {"@id": _file_set(config, suffix)}, "extract": extract}
    return {
        "@type": "cr:Field",
        "@id": path,
        "name": path.rsplit("/", 1)[-1],
        "dataType": kind,
        "source": source | ({"transform": transform} if transform else {}),
        **more,
    }


def _file_set(config: Config, suffix: str) -> str:
    return f"{config.name}-{suffix.replace('.', '-')}"

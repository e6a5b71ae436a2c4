"""Writing training shards in the formats of other projects: OmniGen's JSONL, a Hugging Face folder."""

from __future__ import annotations

from x2i.exporters.base import Exporter
from x2i.registry import Registry

EXPORTERS: Registry[Exporter] = Registry(
    "exporter",
    {
        "omnigen-jsonl": "x2i.exporters.omnigen_jsonl:OmniGenJsonl",
        "hugging-face": "x2i.exporters.hugging_face:HuggingFace",
    },
)

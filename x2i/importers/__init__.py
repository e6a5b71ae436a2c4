"""Importers: public datasets in the format their authors ship, each one file and one row."""

from x2i.importers.base import Importer
from x2i.registry import Registry

IMPORTERS: Registry[Importer] = Registry(
    "importer",
    {
        "x2i-jsonl": "x2i.importers.x2i_jsonl:X2IJsonl",
        "hf-images": "x2i.importers.hf_images:HuggingFaceImages",
        "hf-edits": "x2i.importers.hf_edits:HuggingFaceEdits",
    },
)

__all__ = ["IMPORTERS", "Importer"]

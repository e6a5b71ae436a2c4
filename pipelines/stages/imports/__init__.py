"""The importing stages, by what they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.stages.imports.images import ImageOutput, ImportImages
from pipelines.stages.imports.shards import ImportShards, ShardOutput
from pipelines.stages.imports.stage import ImportStage
from x2i.errors import UserError
from x2i.importers import IMPORTERS, Importer
from x2i.options import option_fields
from x2i.settings import from_mapping

OUTPUTS: Mapping[str, tuple[type[ImportImages | ImportShards], type[Any]]] = {
    "images": (ImportImages, ImageOutput),
    "shards": (ImportShards, ShardOutput),
}
"""What an import makes -> its stage, and the options of how that is stored."""


def output_of(importer: type[Importer], makes: str) -> tuple[type[ImportImages | ImportShards], type[Any]]:
    """Returns the stage that imports into `makes` ("" for what the importer usually makes), and its options.

    Raises UserError if the importer does not make it.
    """
    if makes and makes not in importer.makes:
        raise UserError(f"import {importer.name}: makes {' or '.join(importer.makes)}, not {makes}")
    return OUTPUTS[makes or importer.makes[0]]


def manifest_stage(options: Mapping[str, Any], where: str) -> ImportStage:
    """Returns the stage of a manifest's step `import: {name, path, as, label}` with the options of importer and output.

    Raises UserError. where: file and key path, for messages.
    """
    rest = dict(options)
    name, path, makes, label = (str(rest.pop(key, "")) for key in ("name", "path", "as", "label"))
    if not name or not path:
        raise UserError(f"{where}: expected name (see `x2i list importers`) and path")
    importer = IMPORTERS.get(name)
    stage, output = output_of(importer, makes)
    stored = {field.name: rest.pop(field.name) for field in option_fields(output) if field.name in rest}
    return stage(from_mapping(importer, rest, where), path, label, from_mapping(output, stored, where))

"""The folders that networks are kept in, told apart by looking: ours, the published OmniGen's, diffusers', a Phi-3's.

What a layout's own config.json has no place for is kept in `omnigen.json` beside it, so that a network that goes from
layout to layout comes back as it was: our names of tokenizer and codec, and configurations as they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnigen.network.config import ModelConfig
from omnigen.prompt import NEGATIVE
from omnigen.weights.configs import DIFFUSERS_CLASS, PARSERS, WRITERS, differences
from omnigen.weights.json_files import read_document
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.weights.tensor_reader import LazyTensor

FORMAT = "omnigen"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
CARRIED_FILE = "omnigen.json"
PIPELINE_FILE = "model_index.json"
SCHEDULER_FILE = "scheduler_config.json"
WEIGHTS_FILE = "model.safetensors"
DIFFUSERS_WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
PUBLISHED_IMAGE_SIZE = 1024
# A name that begins so is of a folder inside the model's own.
INSIDE = "./"


@dataclass(frozen=True)
class Description:
    """What a model folder says of its network.

    tokenizer, codec: names of those the network was trained with, as `load_tokenizer` and `load_codec` take them.
    image_size: pixels of the longer side it was trained at, the natural size to generate; None if unknown.
    timestep_shift: that it was trained with, 1 for none. negative_prompt: what guidance leads away from if no other
    words are given; None for the prompt that training put in place of dropped ones.
    """

    config: ModelConfig
    tokenizer: str
    codec: str
    image_size: int | None
    timestep_shift: float = 1.0
    negative_prompt: str | None = None


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a network.

    layout: ours, official, diffusers or phi3. root: the folder itself, with the tokenizer's and the VAE's files. place:
    where config.json and the weights are: root, or root/transformer of a diffusers pipeline. document: config.json.
    carried: configurations of other layouts as they were found there, by name.
    """

    layout: str
    root: Path
    place: Path
    document: Mapping[str, Any]
    description: Description
    carried: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights_file(self) -> str:
        return DIFFUSERS_WEIGHTS_FILE if self.layout == "diffusers" else WEIGHTS_FILE

    def open(self) -> dict[str, LazyTensor]:
        """Returns the weights by the names they have there. Raises UserError if there are none, or damaged ones."""
        from omnigen.weights.tensor_reader import find_weights, open_weights

        path = find_weights(self.place, self.weights_file)
        if path is None:
            self._require_no_shards()
            others = sorted(each.name for each in self.place.iterdir())[:8]
            raise UserError(
                f"{self.place / self.weights_file}: no such file, nor its shards; a model folder holds {CONFIG_FILE} "
                f"and {self.weights_file} (found: {', '.join(others)})"
            )
        return open_weights(path)

    def _require_no_shards(self) -> None:
        from omnigen.weights.tensor_reader import INDEX

        shards = sorted(self.place.glob(f"{Path(self.weights_file).stem}-*-of-*.safetensors"))
        if shards:
            raise UserError(
                f"{self.place / self.weights_file}{INDEX}: no such file, though shards such as {shards[0].name} are "
                f"there; it says which tensor is in which, so copy it too"
            )


def is_model_folder(folder: Path) -> bool:
    """Returns whether `folder` looks like one with a network, by the names of its files."""
    return any((folder / name).is_file() for name in (CONFIG_FILE, f"transformer/{CONFIG_FILE}"))


def open_folder(folder: Path) -> ModelFolder:
    """Looks at a folder and returns what is in it. Raises UserError if that is no network of a kind known here."""
    pipeline = not (folder / CONFIG_FILE).is_file() and (folder / "transformer" / CONFIG_FILE).is_file()
    place = folder / "transformer" if pipeline else folder
    document = read_document(place / CONFIG_FILE)
    if document.get("format") == FORMAT:
        return _ours(folder, document)
    if document.get("_class_name") == DIFFUSERS_CLASS:
        root = place.parent if place.name == "transformer" else place
        return _foreign("diffusers", root, place, document)
    if document.get("model_type") == "phi3":
        return _foreign(_kind_of_phi3(place), place, place, document)
    raise UserError(
        f"{place / CONFIG_FILE}: no network known here: neither a model folder of omnigen, nor the published OmniGen "
        f"layout or a Phi-3 (model_type phi3), nor diffusers' {DIFFUSERS_CLASS}"
    )


def read_description(folder: Path) -> Description:
    """Returns what the config.json of a folder with an OmniGen network says, in any layout."""
    found = open_folder(folder)
    if found.layout == "phi3":
        raise UserError(f"{folder}: a Phi-3 language model, not an OmniGen network; omnigen convert makes one of it")
    return found.description


def our_document(description: Description, carried: Mapping[str, Any]) -> dict[str, Any]:
    """Returns our config.json."""
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": description.config.to_dict(),
        "tokenizer": description.tokenizer,
        "codec": description.codec,
        "image_size": description.image_size,
        "timestep_shift": description.timestep_shift,
    }
    if description.negative_prompt is not None:
        document["negative_prompt"] = description.negative_prompt
    return {**document, "carried": dict(carried)} if carried else document


def foreign_documents(
    layout: str, description: Description, carried: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the config.json of another layout, and what it cannot say, for omnigen.json (empty if nothing).

    A configuration of this layout that was carried along is given back as it was, if it still fits.
    """
    document = carried.get(layout)
    if document is None or not _means(layout, document, description.config):
        document = WRITERS[layout](description.config)
    rest: dict[str, Any] = {}
    if PARSERS[layout](document, layout) != description.config:
        rest["model"] = description.config.to_dict()
    usual = {
        "tokenizer": f"hf:{INSIDE}tokenizer",
        "codec": f"sdxl:{INSIDE}vae",
        "image_size": PUBLISHED_IMAGE_SIZE,
        "timestep_shift": 1.0,
        "negative_prompt": NEGATIVE,
    }
    rest.update({name: found for name, value in usual.items() if (found := getattr(description, name)) != value})
    others = {name: value for name, value in carried.items() if name != layout}
    return document, {**rest, "carried": others} if others else rest


def _ours(folder: Path, document: Mapping[str, Any]) -> ModelFolder:
    path = folder / CONFIG_FILE
    if document.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path}: format_version: found {document.get('format_version')!r}, expected {FORMAT_VERSION}")
    missing = [name for name in ("model", "tokenizer", "codec") if name not in document]
    if missing:
        raise UserError(f"{path}: missing {', '.join(missing)}")
    return ModelFolder("ours", folder, folder, document, _described(document, path, folder), _carried(document, path))


def _foreign(layout: str, root: Path, place: Path, document: Mapping[str, Any]) -> ModelFolder:
    path = place / CONFIG_FILE
    written = "official" if layout == "phi3" else layout
    config = PARSERS[written](document, path)
    rest = read_document(place / CARRIED_FILE) if (place / CARRIED_FILE).is_file() else {}
    tokenizer = root / "tokenizer" if layout == "diffusers" else root
    usual = {
        "tokenizer": f"hf:{tokenizer}",
        "codec": f"sdxl:{root}",
        "image_size": PUBLISHED_IMAGE_SIZE,
        "negative_prompt": None if layout == "phi3" else NEGATIVE,
    }
    description = _described({"model": config.to_dict(), **usual, **rest}, place / CARRIED_FILE, root)
    _require_agreement(path, config, PARSERS[written](WRITERS[written](description.config), path))
    config = description.config
    carried = _carried(rest, place / CARRIED_FILE)
    if layout in WRITERS and document != WRITERS[layout](config):
        carried[layout] = dict(document)
    if layout == "diffusers" and root != place:
        parts = {
            "scheduler": (root / "scheduler" / SCHEDULER_FILE, scheduler_document()),
            "model_index": (root / PIPELINE_FILE, pipeline_document(root / "tokenizer")),
        }
        for name, (file, usual_document) in parts.items():
            if file.is_file() and (found := read_document(file)) != usual_document:
                carried[name] = found
    return ModelFolder(layout, root, place, document, description, carried)


def _require_agreement(path: Path, found: ModelConfig, carried: ModelConfig) -> None:
    """Refuses a config.json that was edited beside an omnigen.json, which would overrule the edit silently.

    carried: the network of omnigen.json, as far as this layout's config.json can say it.
    """
    unequal = [f"{name}: found {one}, expected {other}" for name, (one, other) in differences(found, carried).items()]
    if unequal:
        raise UserError(
            f"{path}: {'; '.join(unequal)}, as {CARRIED_FILE} beside it says. Restore {CONFIG_FILE}, or remove "
            f"{CARRIED_FILE} (or only its model, to keep the rest)"
        )


def scheduler_document() -> dict[str, Any]:
    """Returns the configuration of diffusers' scheduler that goes from noise at t = 0 to data at t = 1, unscaled."""
    return {"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True, "num_train_timesteps": 1}


def pipeline_document(tokenizer: Path) -> dict[str, Any]:
    """Returns the model_index.json of a diffusers pipeline whose tokenizer is in the folder `tokenizer`."""
    path = tokenizer / "tokenizer_config.json"
    named = read_document(path).get("tokenizer_class") if path.is_file() else None
    return {
        "_class_name": "OmniGenPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "tokenizer": ["transformers", named or "LlamaTokenizer"],
        "transformer": ["diffusers", DIFFUSERS_CLASS],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _described(document: Mapping[str, Any], path: Path, root: Path) -> Description:
    """Returns the description in a config.json of ours, or in what stands for one; refuses values of other kinds."""
    kinds = {"model": (dict, "a JSON object"), "tokenizer": (str, "a name"), "codec": (str, "a name")}
    for name, (kind, words) in kinds.items():
        if not isinstance(document[name], kind):
            raise UserError(f"{path}: {name}: found {document[name]!r}, expected {words}")
    size = document.get("image_size")
    if size is not None and (type(size) is not int or size < 1):
        raise UserError(f"{path}: image_size: found {size!r}, expected a number of pixels, or null")
    shift = document.get("timestep_shift", 1.0)
    if isinstance(shift, bool) or not isinstance(shift, int | float) or not shift > 0:
        raise UserError(f"{path}: timestep_shift: found {shift!r}, expected a number above 0")
    negative = document.get("negative_prompt")
    if negative is not None and not isinstance(negative, str):
        raise UserError(f"{path}: negative_prompt: found {negative!r}, expected words, or null")
    try:
        config = ModelConfig.from_dict(document["model"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return Description(
        config, resolve(document["tokenizer"], root), resolve(document["codec"], root), size, float(shift), negative
    )


def _carried(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    carried = document.get("carried") or {}
    if not isinstance(carried, dict) or not all(isinstance(value, dict) for value in carried.values()):
        raise UserError(f"{path}: carried: expected JSON objects by name; it may be removed")
    for layout in carried.keys() & PARSERS.keys():
        try:
            PARSERS[layout](carried[layout], f"carried.{layout}")
        except UserError as error:
            raise UserError(f"{path}: {error}; carried.{layout} may be removed") from error
    return dict(carried)


def resolve(name: str, folder: Path) -> str:
    """Returns a tokenizer's or codec's name with a path inside `folder` (`hf:./tokenizer`) made a path from here."""
    family, colon, path = name.partition(":")
    return f"{family}:{folder / path.removeprefix(INSIDE)}" if colon and path.startswith(INSIDE) else name


def _means(layout: str, document: Mapping[str, Any], config: ModelConfig) -> bool:
    """Whether a carried configuration still is that of the network, as far as its layout can say."""
    return PARSERS[layout](document, layout) == PARSERS[layout](WRITERS[layout](config), layout)


def _kind_of_phi3(place: Path) -> str:
    """The published OmniGen's config.json is a Phi-3's; only the names of the weights tell the two apart."""
    from omnigen.weights.tensor_reader import find_weights, open_weights

    path = find_weights(place, WEIGHTS_FILE)
    if path is None:
        return "official"
    names = open_weights(path)
    return "phi3" if any(name.startswith("model.layers.") for name in names) else "official"

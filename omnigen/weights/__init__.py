"""Weights in and out: our model folders, the published checkpoint, diffusers', a Phi-3 language model, adapters."""

from omnigen.weights.formats import Description, open_folder, read_description
from omnigen.weights.load import SavedModel, load_initial_weights, load_model, save_model
from omnigen.weights.names import from_diffusers, to_diffusers

__all__ = [
    "Description",
    "SavedModel",
    "from_diffusers",
    "load_initial_weights",
    "load_model",
    "open_folder",
    "read_description",
    "save_model",
    "to_diffusers",
]

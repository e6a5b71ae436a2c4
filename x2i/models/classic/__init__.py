"""Backends that need no weights: classic computer vision and rules over text. One file per backend."""

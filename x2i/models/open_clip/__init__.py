"""Backends on open_clip: models of images and texts in one space."""

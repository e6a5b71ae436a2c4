"""Backends on onnxruntime, with trained weights out of installed packages."""

"""Backends on pipelines of Hugging Face diffusers."""

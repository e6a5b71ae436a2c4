"""x2i: what a sample is, how it is stored, and what each construction step does to it."""

__version__ = "0.1.0"

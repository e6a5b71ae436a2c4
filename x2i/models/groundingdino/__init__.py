"""Backends on the package groundingdino-py: Grounding DINO as its authors published it."""

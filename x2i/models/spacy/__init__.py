"""Backends on spaCy."""

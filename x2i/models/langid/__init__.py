"""Backends that tell languages."""

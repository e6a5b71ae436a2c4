"""Takedown: removes images and everything made from them from a dataset's files and records."""

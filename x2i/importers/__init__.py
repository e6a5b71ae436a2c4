"""Adapters that read public datasets in the format their authors ship."""

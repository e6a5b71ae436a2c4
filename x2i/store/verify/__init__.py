"""Verification of every file of a dataset against its record."""

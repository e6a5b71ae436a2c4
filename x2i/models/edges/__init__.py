"""Backends that draw edges by a network whose weights the user has as a file."""

"""Drawn scenes: pictures made from a description, so that everything about them is known exactly."""

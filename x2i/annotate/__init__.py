"""Annotations: one file per column of facts about images."""

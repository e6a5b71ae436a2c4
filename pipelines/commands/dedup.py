"""`x2i dedup`: finds images that occur more than once, byte for byte or to the eye, and which one to keep."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("dedup")

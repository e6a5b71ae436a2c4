"""`x2i semantic-dedup`: finds images that show the same to an embedding model, and which one to keep."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("semantic-dedup")

"""`x2i entity-clusters`: finds the same objects or people across images by their vectors."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("entity-clusters")

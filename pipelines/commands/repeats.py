"""`x2i repeats`: counts how many images have the same caption."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("repeats")

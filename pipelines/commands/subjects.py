"""`x2i subjects`: finds images that show the same thing in different pictures."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("subjects")

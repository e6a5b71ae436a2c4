"""`x2i subject-entities`: chooses the objects of every photograph that are cut out of it and asked for again."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("subject-entities")

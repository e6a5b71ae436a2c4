"""`x2i subject-frames`: follows objects through the frames of a video."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("subject-frames")

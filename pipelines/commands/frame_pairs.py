"""`x2i frame-pairs`: finds frames of a video between which something moved before a camera that stood still."""

from __future__ import annotations

from pipelines.relation_command import relation_command

command = relation_command("frame-pairs")

"""`x2i caption`: writes a caption for every image."""

from __future__ import annotations

from pipelines.annotation_command import annotation_command

command = annotation_command("captions")

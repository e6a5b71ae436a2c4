"""`x2i detect`: finds the objects of every image."""

from __future__ import annotations

from pipelines.annotation_command import annotation_command

command = annotation_command("entities")

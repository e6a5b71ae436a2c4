"""`x2i embed`: turns every image into a vector."""

from __future__ import annotations

from pipelines.annotation_command import annotation_command

command = annotation_command("embeddings")

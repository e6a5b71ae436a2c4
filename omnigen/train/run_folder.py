"""The folder of a training run: what lies in it, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Paths inside the folder of a run. `omnigen train` writes them; export, generation and reports read them."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def summary(self) -> Path:
        """Written last, once a run is trained, JSON."""
        return self.path / "summary.json"

    @property
    def model(self) -> Path:
        """A model folder with the averaged weights."""
        return self.path / "model"

    @property
    def adapter(self) -> Path:
        """The averaged adapter of a LoRA run, in PEFT's layout."""
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """Losses by step: what the configuration determines, JSON lines."""
        return self.path / "metrics.jsonl"

    @property
    def validation(self) -> Path:
        """Losses on held-out samples, JSON lines."""
        return self.path / "validation.jsonl"

    @property
    def timing(self) -> Path:
        """Throughput, by the wall clock, JSON lines."""
        return self.path / "timing.jsonl"

    @property
    def bad_samples(self) -> Path:
        """The samples that could not be decoded, JSON lines."""
        return self.path / "bad_samples.jsonl"

    @property
    def samples(self) -> Path:
        """The folder of the picture grids."""
        return self.path / "samples"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

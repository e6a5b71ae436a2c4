"""The folder of a training run: what lies in it, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

METRICS, VALIDATION, TIMING, BAD_SAMPLES = "metrics.jsonl", "validation.jsonl", "timing.jsonl", "bad_samples.jsonl"
LOGS = (METRICS, VALIDATION, TIMING, BAD_SAMPLES)


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder; LOGS lie in it too.

    config: the resolved settings. summary: written when the run is trained. model: a model folder of the averaged
    weights. adapter: of a LoRA run instead, in PEFT's layout. best: either, of the step with the lowest validation
    loss. samples: picture grids. tokenizer: trained on the instructions, where the settings ask for it.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

"""What a run does at numbers that are not finite: it stops before anything is changed, and names the samples."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnigen.cache.encode import encode
from omnigen.cache.options import EncodeOptions
from omnigen.train.metrics import read_lines
from omnigen.train.run import train
from tests.support import training_runs
from tests.support.training_runs import TASKS, write_config
from tests.support.training_shards import NAMES, make_shards
from x2i.errors import RunError


@pytest.fixture
def encoded(tmp_path: Path) -> Path:
    """A dataset with its latents kept."""
    dataset = make_shards(tmp_path / "data", TASKS, sizes=((32, 32),))
    encode([dataset], EncodeOptions("dct:6", (32,), None, dtype="fp32", device="cpu"))
    return dataset


def poison(dataset: Path, key: str) -> None:
    """Makes the kept latents of a sample's target NaN, checksum and all."""
    for index in dataset.rglob("encoded/latents-*/*.parquet"):
        table = pq.read_table(index)
        rows = table.to_pylist()
        for row in [max((row for row in rows if row["key"] == key), key=lambda row: row["image"], default=None)]:
            if row is None:
                continue
            data = np.full(row["bytes"] // 4, math.nan, np.float32).tobytes()
            with open(index.with_suffix(".safetensors"), "r+b") as stream:
                stream.seek(row["start"])
                stream.write(data)
            row["crc32"] = zlib.crc32(data)
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), index)
            record = json.loads(index.with_suffix(".json").read_text())
            record["outputs"][index.name]["bytes"] = index.stat().st_size
            index.with_suffix(".json").write_text(json.dumps(record))


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loss_that_is_not_finite_names_the_sample_and_no_innocent_one(encoded, tmp_path, ranks):
    config = write_config(tmp_path / "c.yaml", encoded, data={"validation_fraction": 0}, train={"steps": 60})
    key = "denoise-grass-32x32"  # not drawn before the third step
    poison(encoded, key)
    run = tmp_path / "run"
    result = training_runs.train(config, run, "--set", "checkpoint.every=1", ranks=ranks)
    assert result.returncode == 1
    steps = len(read_lines(run / "metrics.jsonl"))
    message = f"step {steps + 1}: the loss of these samples is not finite: {key}. Look at"
    assert result.stderr.count(message) == ranks
    assert "Traceback" not in result.stderr
    assert 0 < steps < 60
    kept = sorted(path.parent.name for path in run.rglob("COMPLETE"))
    assert kept[-1] in (f"step-{steps:07d}", f"step-{steps - 1:07d}")  # the last may have been on its way


def test_a_held_out_sample_of_which_the_loss_is_not_finite_is_told_by_its_task(encoded, tmp_path):
    config = write_config(
        tmp_path / "c.yaml", encoded, data={"validation_fraction": 0.4}, log={"validation_samples": 99}
    )
    for name in NAMES:
        poison(encoded, f"denoise-{name}-32x32")
    with pytest.raises(RunError, match="validation loss of denoise is not finite"):
        train(config, [], "auto", tmp_path / "run")

"""`x2i pairs` over shards: samples are checked and repaired, and further pairs follow from them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.chat_server import ChatServer
from tests.support.command_line import typed
from tests.support.photos import photo
from x2i.image import decode, encode
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store.shards import EncodedImage, Shard, find_shards, training_shard

INLINE = ("--executor", "inline")
A = photo("coffee", 192)
B = np.ascontiguousarray(np.where(photo("coffee", 192) > 200, 255 - A, A))
C = np.rint(A * 0.6).astype(np.uint8)
SMALL = cv2.resize(A, (A.shape[1] * 3 // 4, A.shape[0] * 3 // 4), interpolation=cv2.INTER_AREA)
PAIRS = (
    ("a", A, B, "Add a hat."),
    ("b", A, C, "Make it darker."),
    ("c", A, SMALL, "Remove the spoon."),
    ("d", A, A[10:-30, 30:], "None"),
)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    with training_shard(tmp_path, "edit-1in-00000") as shard:
        for key, before, after, words in PAIRS:
            sizes = tuple((image.shape[1], image.shape[0]) for image in (before, after))
            source = Lineage((f"{key}-in", f"{key}-out"), ("", ""), ("", ""))
            sample = Sample(key, "edit", f"{placeholder(1)} {words}", sizes, source, RecipeStamp("x", 1))
            one, two = (EncodedImage(encode(np.ascontiguousarray(image), "png"), "png") for image in (before, after))
            shard.add(sample, [one], two)
    return tmp_path / "shards"


def samples(root: Path) -> dict[str, tuple[Sample, list[np.ndarray], Shard]]:
    found = {}
    for shard in find_shards(root):
        for row in shard.index().to_pylist():
            found[row["key"]] = (shard.sample(row), [decode(data) for data in shard.image_data(row)], shard)
    return found


def test_checks_are_kept_in_samples_and_resizes_are_repaired(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert typed("pairs", shards, "--out", out, "--alignment", "repair", "--lint", "flag", *INLINE) == 0
    found = samples(out)
    kinds = {key: sample.recipe.parameters["alignment"]["kind"] for key, (sample, _, _) in found.items()}
    assert kinds == {"a": "identity", "b": "identity", "c": "resize", "d": "crop"}
    assert found["c"][1][0].shape == SMALL.shape
    assert found["d"][0].recipe.parameters["lint"] == ["null_like"]
    assert json.loads(found["d"][2].index().to_pylist()[-1]["scores"])["alignment.scale_x"] == pytest.approx(
        1, abs=0.01
    )
    assert typed("verify", out, "--deep") == 0


def test_pairs_that_follow_stand_in_shards_of_their_own(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--derive", "inverse", "--derive", "between", "--alignment", "drop", "--lint", "drop"]
    assert typed("pairs", shards, "--out", out, *options, *INLINE) == 0
    assert typed("verify", out, "--deep") == 0
    found = samples(out)
    told = {
        sample.instruction.removeprefix(f"{placeholder(1)} "): (sample, images) for sample, images, _ in found.values()
    }
    back, (before, after) = told["Remove the hat."]
    assert (back.task, back.recipe.parameters["made_of"]) == ("edit_inverse", ["a"])
    assert np.array_equal(before, B)
    assert np.array_equal(after, A)
    between, (before, after) = told["Remove the hat. Then make it darker."]
    assert between.source.uids == ("a-in", "a-out", "b-in", "b-out")
    assert np.array_equal(before, B)
    assert np.array_equal(after, C)
    assert "d" not in found


def test_a_writer_s_agreement_stands_in_the_scores(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X2I_ANSWERS", str(tmp_path / "answers"))
    with ChatServer([("Add a hat.", "stop"), ("Remove the hat.", "stop")]) as server:
        writer = f"openai:{server.url}#m"
        assert typed("pairs", shards, "--out", tmp_path / "out", "--writer", writer, *INLINE) == 0
    (sample, _, _) = samples(tmp_path / "out")["a"]
    assert len(server.seen) == 2 * len(PAIRS)
    assert "consistency.swap" in sample.scores


def test_an_import_repairs_and_flags_pairs_as_they_come(tmp_path: Path) -> None:
    lines = []
    for key, before, after, words in PAIRS:
        for side, image in (("in", before), ("out", after)):
            (tmp_path / f"{key}-{side}.png").write_bytes(encode(np.ascontiguousarray(image), "png"))
        names = {"input_images": [f"{key}-in.png"], "output_image": f"{key}-out.png"}
        lines.append(json.dumps({"task_type": "edit", "instruction": f"{placeholder(1)} {words}", **names}))
    (tmp_path / "edits.jsonl").write_text("\n".join(lines))
    out, checks = tmp_path / "out", ("--alignment", "drop", "--lint", "flag")
    assert typed("import", "x2i-jsonl", tmp_path / "edits.jsonl", "--out", out, *checks, *INLINE) == 0
    kinds = [sample.recipe.parameters["alignment"]["kind"] for sample, _, _ in samples(out).values()]
    assert sorted(kinds) == ["identity", "identity", "resize"]

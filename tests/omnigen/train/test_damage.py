"""A run folder that is damaged, shared, full or not the one it should be: what is told, and what is left alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from omnigen.train.metrics import read_lines
from omnigen.train.run import train
from tests.support import training_runs
from tests.support.training_runs import start, steps_written, write_config
from x2i.errors import RunError, UserError


@pytest.fixture(scope="module")
def config(shards, tmp_path_factory) -> Path:
    log = {"validate_every": 0, "validation_samples": 2}
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    return write_config(path, shards, train={"steps": 6}, log=log, checkpoint={"every": 3})


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory) -> Path:
    return train(config, [], "auto", tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of a run of six steps, with checkpoints at the third and the sixth."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "does not hold what was written": overwrite,
    "bytes, .* were written": lambda path: os.truncate(path, path.stat().st_size - 1),
    "No such file or directory": Path.unlink,
}


@pytest.mark.parametrize("name", ["state.json", ".metadata", "__0_0.distcp"])
@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_file_of_a_checkpoint_is_named_with_the_checkpoint_to_go_back_to(config, run, name, message):
    DAMAGE[message](run / "checkpoints" / "step-0000006" / name)
    longer = ["train.steps=8"]
    with pytest.raises(RunError, match=rf"step-0000006: damaged: {name}.*{message}.*--resume .*step-0000003"):
        train(config, longer, "auto", run)
    assert (run / "checkpoints" / "step-0000006" / "COMPLETE").is_file()
    train(config, longer, str(run / "checkpoints" / "step-0000003"), run)
    assert [line["step"] for line in read_lines(run / "metrics.jsonl")] == list(range(1, 9))


def test_a_checkpoint_whose_list_of_files_is_damaged_is_not_trusted(config, run):
    shutil.rmtree(run / "checkpoints" / "step-0000003")
    (run / "checkpoints" / "step-0000006" / "files.json").write_text("[]")
    with pytest.raises(RunError, match=r"damaged: files.json cannot be read.*begin anew with --out elsewhere"):
        train(config, ["train.steps=8"], "auto", run)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["model.overrides.num_layers=1"],
            r"of its parameters differ, such as llm.layers.1.* there, nothing here",
        ),
        (["model.overrides.num_layers=3"], "llm.layers.2.* nothing there"),
        (["model.overrides.intermediate_size=32"], r"mlp.down_proj.weight: \(32, 64\) there, \(32, 32\) here"),
        (["train.steps=5"], "has taken 6 steps, the configuration has 5; lengthen it"),
        (["phases=[{steps: 4}, {steps: 4}]"], "its last step was of phase 1, by the configuration it is of phase 2"),
    ],
)
def test_a_checkpoint_of_another_network_or_schedule_is_refused_before_anything_is_removed(
    config, finished, run, settings, message
):
    with pytest.raises(UserError, match=message):
        train(config, settings, str(run / "checkpoints" / "step-0000006"), run)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-0000003", "step-0000006"]
    with pytest.raises(UserError, match=message):
        train(config, settings, str(finished), run.with_name("other"))


def test_what_else_lies_among_the_checkpoints_is_left_alone(config, run):
    mine = run / "checkpoints" / "step-0000006 (copy)"
    mine.mkdir()
    (run / "checkpoints" / "step-notes").write_text("keep the third one")
    train(config, ["train.steps=7"], "auto", run)
    assert mine.is_dir()
    assert (run / "checkpoints" / "step-notes").is_file()


@pytest.mark.parametrize("damaged", [b"no json\n", b'{"loss": 1}\n', b"\xff\xfe\n"])
def test_a_damaged_line_of_a_log_is_told_by_its_number(config, run, damaged):
    log = run / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], damaged, *lines[2:]]))
    with pytest.raises(RunError, match=r"metrics.jsonl: line 3 is damaged"):
        train(config, ["train.steps=7"], "auto", run)


@pytest.mark.parametrize("content", [None, "", "train: {stepz: 1}", "[["])
def test_a_record_of_settings_that_is_lost_can_be_gone_without(config, run, content):
    record = run / "config.yaml"
    record.unlink() if content is None else record.write_text(content)
    with pytest.raises(UserError, match=rf"own record of its settings; .* --resume {run}"):
        train(config, ["train.steps=7"], "auto", run)
    train(config, ["train.steps=7"], str(run), run)
    assert json.loads((run / "summary.json").read_text())["steps"] == 7


@pytest.mark.parametrize("lost", ["summary.json", "model/config.json"])
def test_lost_results_of_a_finished_run_are_made_again(config, finished, run, lost):
    (run / lost).write_bytes(b"\x00\x01") if lost == "summary.json" else (run / lost).unlink()
    train(config, [], "auto", run)
    for name in ("summary.json", "metrics.jsonl", "model/config.json", "model/model.safetensors"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.parametrize("out", ["file", "file/run", "/proc/run"])
def test_a_folder_that_cannot_be_made_is_told(config, tmp_path, out):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another folder with --out"):
        train(config, [], "auto", tmp_path / out)


@pytest.mark.slow
def test_a_second_process_is_kept_out_of_a_run_until_the_first_one_ends(config, tmp_path):
    run, options = tmp_path / "run", ("--set", "train.steps=100000")
    first = start(config, run, *options)
    try:
        while steps_written(run) < 2 and first.poll() is None:
            time.sleep(0.01)
        second = training_runs.train(config, run, *options)
        assert second.returncode == 2
        assert "another process trains in this folder" in second.stderr
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    third = training_runs.train(config, run, "--set", f"train.steps={steps_written(run) + 2}")
    assert third.returncode == 0, third.stderr


@pytest.mark.slow
@pytest.mark.parametrize("background", ["true", "false"])
def test_a_full_disk_is_told_and_the_run_goes_on_when_it_has_room(config, finished, tmp_path, background):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        options = ("--set", f"checkpoint.background={background}")
        full = training_runs.train_apart(config, disk / "run", *options)
        assert full.returncode == 1, full.stderr
        # TensorBoard's own thread may say its part before it, after it or in between.
        assert re.search(r"omnigen: .*No space left on device", full.stderr), full.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        again = training_runs.train_apart(config, disk / "run", *options)
        assert again.returncode == 0, again.stderr
        assert (disk / "run" / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=True)

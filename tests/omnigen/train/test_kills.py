"""A run that is killed, at whatever moment, and started again gives the same bytes as one that is left alone."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from omnigen.train.metrics import read_lines
from omnigen.train.run_folder import METRICS, TIMING, VALIDATION
from tests.support.training_runs import start, train, write_config
from x2i.seeding import generator
from x2i.store.files.atomic import TEMPORARY_MARK

STAGES = [
    {"steps": 25, "max_side": 16, "pack_tokens": 200},
    {"steps": 20, "lr": 0.001, "weights": {"colorize": 3, "denoise": 1}},
    {"steps": 45, "max_side": 16},
]
BOUNDARIES, LAST = (25, 45), 90
# Lines every other step and checkpoints every third or fourth: some checkpoints hold the sums of half an interval.
SETTINGS: dict[str, dict[str, object]] = {
    "data": {"validation_fraction": 0.5},
    "log": {"every": 2, "validation_samples": 16},
    "checkpoint": {"every": 4},
}
DETERMINISTIC = (METRICS, VALIDATION, "summary.json", "model/model.safetensors", "model/config.json")

AT_A_BOUNDARY = ("phase end", "phase begin", "phase validated")
# What a kill falls into, and how many of each are wanted at least.
# step: between two events of a phase. save: a checkpoint is half written. phase end: the last step of a phase is told,
# its checkpoint not complete. phase begin: it is complete, the next phase not yet validated. phase validated: it is,
# and none of its steps is told. export: the last checkpoint is complete, the summary not written.
WANTED = Counter({"step": 3, "save": 3, **{f"{aim} {step}": 2 for aim in AT_A_BOUNDARY for step in BOUNDARIES}})
WANTED["export"] = 1
AIMS = [
    *((aim, end) for end in BOUNDARIES for aim in ("step", "save", *AT_A_BOUNDARY)),
    *((aim, LAST) for aim in ("step", "save", "export")),
]
PAUSES = {"step": 0.03, "save": 0.02, "phase end": 0.06, "export": 0.02}
"""The kill comes up to so many seconds after its moment has come, so that it falls anywhere in its phase."""
KILLS, MOST_RUNS, LONGEST_LIFE = 20, 5, 120


class Life:
    """A process that trains in the folder `run` from its start to its end, and what it has said."""

    def __init__(self, config: Path, run: Path, number: int, options: Sequence[str]) -> None:
        self.run, self.resumes_at = run, newest_checkpoint(run)
        self._output = run.with_name(f"{run.name}.life-{number}")
        self.process = start(config, run, *options, output=self._output)

    def said(self) -> str:
        return self._output.read_text()

    def told(self) -> int:
        """Returns the last step of which this process itself has written to metrics.jsonl; 0 if none."""
        return max((int(step) for step in re.findall(r"^step +(\d+)/\d+  loss", self.said(), re.M)), default=0)

    def wrote(self) -> bool:
        """Whether this process itself has written to a file of the run's log."""
        return re.search(r"^step .* loss \d", self.said(), re.M) is not None

    def kill_when(self, due: Callable[[], bool], pause: float = 0.0) -> None:
        """Sends SIGKILL `pause` seconds after something is written and `due`; the process may end before."""
        deadline = time.monotonic() + LONGEST_LIFE
        while self.process.poll() is None and not (self.wrote() and due()) and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(pause)
        self.process.send_signal(signal.SIGKILL)
        assert time.monotonic() < deadline, f"the run hangs:\n{self.said()}"
        assert self.process.wait() in (0, -signal.SIGKILL), self.said()
        begun = f"continuing from {checkpoint(self.run, self.resumes_at)}\n" if self.resumes_at else "a new run in"
        assert begun in self.said()


def checkpoint(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:07d}"


def newest_checkpoint(run: Path) -> int:
    """Returns the step of the newest complete checkpoint; 0 if there is none."""
    return max((int(path.parent.name[-7:]) for path in run.glob("checkpoints/step-*/COMPLETE")), default=0)


def is_saving(run: Path) -> bool:
    """Whether a checkpoint is half written, and not half removed."""
    return any(int(path.name[-7:]) > newest_checkpoint(run) for path in run.glob("checkpoints/step-*"))


def is_validated_anew(run: Path, step: int) -> bool:
    """Whether the phase that begins after `step` steps was validated at its beginning."""
    return any(line["step"] == step and "mean_predictor" in line for line in read_lines(run / VALIDATION))


def phase_of(life: Life) -> str | None:
    """Returns what the kill that ended `life` fell into; None: it was too early, or too late."""
    run, saved = life.run, newest_checkpoint(life.run)
    if not life.wrote() or (run / "summary.json").exists():
        return None
    told = max((line["step"] for line in read_lines(run / METRICS)), default=0)
    if told in BOUNDARIES and saved < told:
        return f"phase end {told}"
    if told in BOUNDARIES:
        return f"phase validated {told}" if is_validated_anew(run, told) else f"phase begin {told}"
    if saved == LAST:
        return "export"
    return "save" if is_saving(run) else "step"


def aim_at(aim: str, end: int, life: Life, told: int) -> Callable[[], bool]:
    """Returns what tells whether the moment has come; it has for a life that went past the phase's `end`, too.

    told: how many steps a "step" lets pass.
    """
    run = life.run
    return {
        "step": lambda: life.told() >= life.resumes_at + told and not is_saving(run),
        "save": lambda: is_saving(run),
        "phase end": lambda: life.told() >= end,
        "phase begin": lambda: newest_checkpoint(run) >= end,
        "phase validated": lambda: life.told() > end or (newest_checkpoint(run) >= end and is_validated_anew(run, end)),
        "export": lambda: (run / "model").exists(),
    }[aim]


def killed_lives(config: Path, run: Path, seed: int) -> Iterator[Life]:
    """Trains in `run` and kills, once for each of AIMS; settings that are free to change do, in turns."""
    random = generator("kills", seed)
    for number, (aim, end) in enumerate(AIMS):
        background = "true" if (number + seed) % 2 else "false"
        options = [f"checkpoint.background={background}", f"checkpoint.every={3 + number // 2 % 2}"]
        options += ["data.workers=1"] if aim == "export" else []
        life = Life(config, run, number, [word for option in options for word in ("--set", option)])
        due = aim_at(aim, end, life, told=int(random.integers(1, 13)))
        life.kill_when(due, pause=random.uniform(0, PAUSES.get(aim, 0)))
        yield life


def assert_same(run: Path, undisturbed: Path) -> None:
    for name in DETERMINISTIC:
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    steps = [line["step"] for line in read_lines(run / TIMING)]
    assert steps == [line["step"] for line in read_lines(run / METRICS)]
    assert all(before < after for before, after in pairwise(steps))
    assert not list(run.rglob(f"*{TEMPORARY_MARK}*"))


def train_to_the_end(config: Path, run: Path, *options: str) -> str:
    result = train(config, run, *options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_of_any_phase_it_gives_the_same_bytes(shards, tmp_path):
    config = write_config(tmp_path / "run.yaml", shards, phases=STAGES, **SETTINGS)
    train_to_the_end(config, tmp_path / "undisturbed")
    kills: Counter[str] = Counter()
    resumed_at: Counter[int] = Counter()
    runs = 0
    while runs < MOST_RUNS and not (kills >= WANTED and kills.total() >= KILLS):
        run = tmp_path / f"killed-{runs}"
        for life in killed_lives(config, run, seed=runs):
            resumed_at[life.resumes_at] += 1
            if phase := phase_of(life):
                kills[phase] += 1
        said = train_to_the_end(config, run)
        assert f"continuing from {checkpoint(run, LAST)}" in said or life.process.returncode == 0  # missed the export
        assert_same(run, tmp_path / "undisturbed")
        assert len(list((run / "checkpoints").glob("*/COMPLETE"))) == len(list((run / "checkpoints").iterdir())) == 2
        runs += 1
    report = f"{kills.total()} kills in {runs} runs: {dict(kills)}; lives by the step they began at: {dict(resumed_at)}"
    print(report)
    assert kills >= WANTED, report
    assert kills.total() >= KILLS, report
    assert resumed_at.keys() >= set(BOUNDARIES), report


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["train.steps={}", "phases=[{{steps: {}}}]"])
def test_a_finished_run_that_is_lengthened_and_killed_goes_on_to_its_new_end(shards, tmp_path, steps):
    config = write_config(tmp_path / "run.yaml", shards, log={"every": 2}, checkpoint={"every": 8})
    shorter, longer = (("--set", steps.format(count)) for count in (10, 20))
    train_to_the_end(config, tmp_path / "undisturbed", *longer)
    run = tmp_path / "killed"
    train_to_the_end(config, run, *shorter)
    life = Life(config, run, 1, longer)
    life.kill_when(lambda: life.told() > 10)
    assert newest_checkpoint(run) == life.resumes_at == 10
    assert f"continuing from {checkpoint(run, 10)}" in train_to_the_end(config, run, *longer)
    assert_same(run, tmp_path / "undisturbed")

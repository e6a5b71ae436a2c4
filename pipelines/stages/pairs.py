"""The stage of `x2i pairs`: shards in, their samples checked and what follows from them out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.errors import UserError
from x2i.options import Option, as_config
from x2i.pairs.algebra import RULES, Rule
from x2i.pairs.check import PairChecks
from x2i.pairs.gates import Gates
from x2i.settings import nearest
from x2i.store.files.remote import dataset_path

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.store import Dataset

NAME = "pairs"
MEGABYTE = 1000**2


def rules(texts: list[str]) -> tuple[Rule, ...]:
    """Returns the rules that are named. Raises UserError for one that is not known."""
    for text in texts:
        if text not in RULES:
            raise UserError(f"--derive {text}: {nearest(text, RULES)}")
    return tuple(rule for rule in RULES if rule in texts)


@dataclass(frozen=True)
class PairOptions:
    """What `x2i pairs` does."""

    checks: PairChecks = field(default_factory=PairChecks)
    gates: Gates = field(default_factory=Gates)
    derive: Annotated[
        tuple[Rule, ...],
        Option(
            "Also make pairs that follow: inverse (B to A), between (two edits of one image), step (turns that add up, "
            "taken apart), chain (edits in a row, joined); may be repeated.",
            parse=rules,
        ),
    ] = ()
    per_image: Annotated[int, Option("Pairs of a rule, beside inverses, that one image gives at most.", ge=1)] = 6
    writer: Annotated[
        str,
        Option(
            "A captioner, such as openai:URL#MODEL, that is asked of each pair, mirrored and swapped, what was done."
        ),
    ] = ""
    shard_size: Annotated[int, Option("Samples per shard at most.", ge=1)] = 1000


@dataclass(frozen=True)
class PairsStage:
    """Shards of other datasets -> checked and derived shards of this one. sources: folders or tars, as typed."""

    sources: tuple[str, ...]
    options: PairOptions = field(default_factory=PairOptions)

    name = NAME
    reads = ()
    writes = ""
    format_version = 1

    def config(self) -> dict[str, Any]:
        return as_config(self.options)

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        from x2i.store.reshard import source_digests

        return {
            f"{number}/{name}": digest
            for number, source in enumerate(self.folders())
            for name, digest in source_digests(source).items()
        }

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields the shards of checked samples, then those of derived pairs."""
        from x2i.store.reshard import Cut, plan_shards

        config, digests = self.config(), self.inputs(dataset)
        size = self.options.shard_size
        for name, rows in plan_shards(self.folders(), Cut(size, 256 * MEGABYTE)):
            places = set(zip(rows["source"].to_pylist(), rows["shard"].to_pylist()))
            used = sorted(f"{source}/{shard}" for source, shard in places)
            yield PlannedPartition(name, rows, config, {place: digests[place] for place in used})
        yield from self._derived(config, digests)

    def _derived(self, config: Mapping[str, Any], digests: Mapping[str, str]) -> Iterator[PlannedPartition]:
        import pyarrow as pa

        from x2i.pairs.derived import DERIVED_SCHEMA, derived_rows
        from x2i.store.shards import shard_name

        if not self.options.derive:
            return
        rows = derived_rows(self.folders(), self.options.derive, self.options.per_image)
        numbers: Counter[str] = Counter()
        kinds = itertools.groupby(rows, key=lambda row: (row["task"], row["input"]["suffix"], row["output"]["suffix"]))
        for (task, _, _), group in kinds:
            members = list(group)
            for start in range(0, len(members), self.options.shard_size):
                part = members[start : start + self.options.shard_size]
                places = {(row[side]["source"], row[side]["shard"]) for row in part for side in ("input", "output")}
                used = sorted(f"{source}/{shard}" for source, shard in places)
                table = pa.Table.from_pylist(part, schema=DERIVED_SCHEMA)
                yield PlannedPartition(
                    shard_name(task, 1, numbers[task]), table, config, {place: digests[place] for place in used}
                )
                numbers[task] += 1

    def folders(self) -> list[Path]:
        return [dataset_path(source) for source in self.sources]

    def worker(self, root: Path) -> PairsWorker:
        return PairsWorker(root, self)


class PairsWorker:
    """Checks the planned samples of one shard, or writes its derived ones."""

    def __init__(self, root: Path, stage: PairsStage) -> None:
        import cv2

        from x2i.store.reshard import source_shards

        cv2.setNumThreads(1)  # the engine runs one worker per CPU
        self._root, self._options = root, stage.options
        self._tars = {
            (number, shard.name): shard.tar
            for number, source in enumerate(stage.folders())
            for shard in source_shards(source)
        }
        self._writer = _writer(stage.options.writer)
        self._gates = stage.options.gates.loaded()

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        from x2i.reasons import DroppedError
        from x2i.store import paths
        from x2i.store.commits import Counts
        from x2i.store.shards import training_shard

        kept, lost = 0, Counter[str]()
        with training_shard(self._root, partition) as shard:
            for made in self._samples(rows):
                try:
                    shard.add(*self._checked(*made))
                    kept += 1
                except DroppedError as error:
                    lost[str(error.verdict.reason)] += 1
        written = (paths.shard_tar(self._root, partition), paths.shard_index(self._root, partition))
        return Outcome(written, Counts(kept, dict(sorted(lost.items()))))

    def _samples(self, rows: pa.Table) -> Iterator[tuple[Any, Any, Any]]:
        from x2i.pairs.derived import derived_sample
        from x2i.sample import Sample
        from x2i.store.reshard import read_members
        from x2i.store.shards import EncodedImage

        if "rule" in rows.column_names:
            yield from (derived_sample(row, self._tars) for row in rows.to_pylist())
            return
        for row, members in read_members(rows.to_pylist(), self._tars):
            images = [
                EncodedImage(members[name], "jpeg" if name.endswith(("jpg", "jpeg")) else name.rpartition(".")[2])
                for name in row["image_names"]
            ]
            yield Sample.from_json(members["json"]), images[:-1], images[-1]

    def _checked(self, sample: Any, inputs: Any, output: Any) -> tuple[Any, Any, Any]:
        from x2i.image import decode
        from x2i.pairs.algebra import bare_words
        from x2i.pairs.check import noted
        from x2i.pairs.consistency import ask_again

        if self._options.checks.active:
            sample, inputs, output = self._options.checks.check(sample, inputs, output)
        sample = self._gates.check(sample, inputs, output)
        if self._writer is not None and sample.num_inputs == 1:
            pair = decode(inputs[0].data), decode(output.data)
            (found,) = ask_again(self._writer, [pair], [bare_words(sample.instruction)])
            numbers = {"consistency.mirror": found.mirror, "consistency.swap": found.swap}
            scores = {name: value for name, value in numbers.items() if value is not None}
            scores["consistency.sides_swapped"] = float(found.sides_swapped)
            answers = {"mirrored": found.mirrored, "swapped": found.swapped, "writer": self._options.writer}
            sample = noted(sample, {"asked_again": answers}, scores)
        return sample, inputs, output


def _writer(name: str) -> Any:
    if not name:
        return None
    from x2i.models.registry import Ability, backend
    from x2i.pairs.writer import PAIR_PROMPT, PairWriter

    return PairWriter(backend(Ability.CAPTIONER, name, {"prompt": PAIR_PROMPT}).load())

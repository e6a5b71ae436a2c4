"""Training shards cut anew: what may change is where samples lie, and nothing else."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.support.datasets import build_dataset
from x2i.errors import UserError
from x2i.sample import Lineage, RecipeStamp, Sample
from x2i.store import Dataset, paths
from x2i.store.reshard import Cut, archive_bytes, copy_samples, plan_shards, source_digests, source_shards
from x2i.store.shards import EncodedImage, Shard, training_shard

LARGE = 1 << 40


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48).root


def reshard(sources: list[Path], out: Path, cut: Cut, **options: object) -> list[str]:
    tars = {(n, shard.name): shard.tar for n, folder in enumerate(sources) for shard in source_shards(folder)}
    names = []
    for name, rows in plan_shards(sources, cut, **options):  # type: ignore[arg-type]
        copy_samples(out, name, tars, rows)
        names.append(name)
    return names


def members(root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for tar in sorted((root / "shards").glob("*.tar")):
        with tarfile.open(tar) as archive:
            for info in archive:
                stream = archive.extractfile(info)
                assert stream is not None
                assert info.name not in found
                found[info.name] = stream.read()
    return found


def keys_in_order(root: Path, task: str) -> list[str]:
    shards = [shard for shard in source_shards(root) if shard.name.startswith(f"{task}-")]
    return [key for shard in shards for key in shard.index(["key"])["key"].to_pylist()]


def test_the_same_cut_gives_the_same_files(source: Path, tmp_path: Path) -> None:
    reshard([source], tmp_path, Cut(1000, LARGE))
    for path in sorted((source / "shards").iterdir()):
        assert (tmp_path / "shards" / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_cut_keeps_every_member_and_fills_the_index_rightly(source: Path, tmp_path: Path) -> None:
    names = reshard([source], tmp_path, Cut(3, LARGE))
    assert "deblur-1in-00001" in names
    assert members(tmp_path) == members(source)
    for shard in source_shards(tmp_path):
        rows = shard.index().to_pylist()
        assert 1 <= len(rows) <= 3
        assert {(row["task"], row["num_inputs"]) for row in rows} == {(rows[0]["task"], rows[0]["num_inputs"])}
        for row in rows:
            assert shard.sample(row).source.uids == tuple(row["uids"])
            assert len(shard.image_data(row)) == row["num_inputs"] + 1


def test_shards_cut_twice_come_back_as_they_were(source: Path, tmp_path: Path) -> None:
    reshard([source], tmp_path / "one", Cut(1, LARGE))
    reshard([tmp_path / "one"], tmp_path / "back", Cut(1000, LARGE))
    for path in sorted((source / "shards").iterdir()):
        assert (tmp_path / "back/shards" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_shuffle_depends_on_seed_and_keys_alone(source: Path, tmp_path: Path) -> None:
    reshard([source], tmp_path / "one", Cut(1, LARGE))
    reshard([source], tmp_path / "a", Cut(1000, LARGE), shuffle_seed=5)
    reshard([tmp_path / "one"], tmp_path / "b", Cut(1000, LARGE), shuffle_seed=5)
    reshard([source], tmp_path / "c", Cut(1000, LARGE), shuffle_seed=6)
    assert members(tmp_path / "a") == members(source)
    for path in sorted((tmp_path / "a/shards").iterdir()):
        assert (tmp_path / "b/shards" / path.name).read_bytes() == path.read_bytes()
    tasks = ("deblur", "colorize", "text_to_image", "canny_to_image")
    orders = [[keys_in_order(root, task) for task in tasks] for root in (source, tmp_path / "a", tmp_path / "c")]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_no_tar_is_larger_than_asked_unless_one_sample_is(source: Path, tmp_path: Path) -> None:
    most = 20_480
    reshard([source], tmp_path, Cut(1000, most))
    for shard in source_shards(tmp_path):
        assert shard.tar.stat().st_size <= most or len(shard.index()) == 1
    sizes = [shard.tar.stat().st_size for shard in source_shards(tmp_path)]
    assert max(len(shard.index()) for shard in source_shards(tmp_path)) > 1
    assert sum(size <= most for size in sizes) > 1


def test_the_size_of_a_sample_in_a_tar_is_foretold(source: Path) -> None:
    for shard in source_shards(source):
        foretold = sum(archive_bytes(row) for row in shard.index().to_pylist()) + 1024
        assert -(-foretold // 10240) * 10240 == shard.tar.stat().st_size


def test_only_the_tasks_asked_for_are_copied(source: Path, tmp_path: Path) -> None:
    assert reshard([source], tmp_path, Cut(1000, LARGE), tasks=("deblur", "few_shot")) == [
        "deblur-1in-00000",
        "few_shot-3in-00000",
    ]
    with pytest.raises(UserError, match=r"no samples of task debblur; there are: .*deblur"):
        reshard([source], tmp_path, Cut(1000, LARGE), tasks=("debblur",))


def test_foreign_shards_without_an_index_are_read_too(source: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for shard in source_shards(source):
        (foreign / shard.tar.name).write_bytes(shard.tar.read_bytes())
    reshard([foreign], tmp_path / "out", Cut(1000, LARGE))
    for path in sorted((source / "shards").iterdir()):
        assert (tmp_path / "out/shards" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_key_that_stands_twice_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"duplicate key 'canny_to_image-00000-00000'"):
        reshard([source, source / "shards/canny_to_image-1in-00000.tar"], tmp_path, Cut(10, LARGE))


def test_image_formats_do_not_mix_in_a_shard(tmp_path: Path) -> None:
    root = Dataset.create(tmp_path / "mixed").root
    with training_shard(root, "edit-0in-00000") as shard:
        for number, kind in enumerate(("jpeg", "png", "jpeg", "png")):
            lineage = Lineage((f"u{number}",), ("",), ("",))
            sample = Sample(f"edit-{number}", "edit", "Draw.", ((8, 8),), lineage, RecipeStamp("edit", 1))
            shard.add(sample, [], EncodedImage(b"x" * (100 + number), kind))
    assert reshard([root], tmp_path / "out", Cut(10, LARGE)) == ["edit-0in-00000", "edit-0in-00001"]
    names = [Shard(paths.shard_tar(tmp_path / "out", f"edit-0in-0000{n}")).index()["image_names"] for n in (0, 1)]
    assert [set(map(tuple, column.to_pylist())) for column in names] == [{("output.jpg",)}, {("output.png",)}]
    assert members(tmp_path / "out") == members(root)


def test_digests_tell_when_a_source_has_changed(source: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for path in (source / "shards").glob("deblur-*"):
        (foreign / path.name).write_bytes(path.read_bytes())
    before = source_digests(foreign)
    assert source_digests(foreign) == before
    with (foreign / "deblur-1in-00000.tar").open("ab") as stream:
        stream.write(b"\0" * 512)
    assert source_digests(foreign) != before
    assert source_digests(source)["deblur-1in-00000"] != before["deblur-1in-00000"]

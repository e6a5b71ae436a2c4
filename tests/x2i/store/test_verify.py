"""`verify`: every kind of damage to a real dataset is found and named; an undamaged one has no findings."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.datasets import build_dataset
from x2i.errors import UserError
from x2i.store.commits import Commit, Counts, describe_outputs, read_commit, write_commit
from x2i.store.files.atomic import write_table
from x2i.store.files.tar import list_members
from x2i.store.verify.commit_index import OWNED_FOLDERS
from x2i.store.verify.verify import Level, VerifyReport, verify

DEBLUR = "shards/deblur-1in-00000.tar"
CANNY = "shards/image_to_canny-1in-00000.tar"
Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=64).root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "small")
    return tmp_path / "small"


def recommit(root: Path, file: str, counts: Counts | None = None) -> None:
    """Makes the ledger agree with the file as it is now, so that only the check under test can find what is wrong."""
    for path in (root / "commits").glob("*/*.json"):
        commit = read_commit(root, path.parent.name, path.stem)
        if commit is not None and file in commit.outputs:
            outputs = describe_outputs(root, tuple(root / output for output in commit.outputs))
            write_commit(root, Commit(**{**vars(commit), "outputs": outputs, "counts": counts or commit.counts}))


def rewrite(root: Path, file: str, change: Change) -> None:
    """Rewrites a tar with its members changed, and lets the ledger agree."""
    with tarfile.open(root / file) as archive:
        members = [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(root / file, "w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in members:
            if info.isreg():
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    recommit(root, file)


def edit_index(root: Path, file: str, change: Callable[[list[dict[str, object]]], None]) -> None:
    path = root / file
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    write_table(path, pa.Table.from_pylist(rows, schema=table.schema))
    recommit(root, file)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


def assert_named(report: VerifyReport, file: str, *words: str) -> None:
    matching = [f for f in report.findings if f.file == file and all(word in f.problem for word in words)]
    assert matching, f"no finding on {file} with {words}; found: {report.findings}"
    assert all(finding.fix for finding in report.findings)


@pytest.mark.parametrize("level", list(Level))
def test_an_undamaged_dataset_has_no_findings(pristine: Path, level: Level) -> None:
    report = verify(pristine, level)
    assert report.ok, report.findings
    assert report.unchecked == ()
    assert report.samples == (0 if level is Level.FAST else 22)
    assert report.images_decoded == (7 + 43 if level is Level.DEEP else 0)
    assert report.files == len([path for f in OWNED_FOLDERS for path in (pristine / f).rglob("*") if path.is_file()])


def test_fast_compares_sums_and_names_and_reads_no_table(root: Path) -> None:
    edit_index(root, DEBLUR.replace(".tar", ".parquet"), lambda rows: rows.pop())
    (root / "columns/quality/00000.parquet").write_bytes(b"no table")
    recommit(root, "columns/quality/00000.parquet")
    assert verify(root, Level.FAST).ok
    assert not verify(root, Level.NORMAL).ok
    flip(root / CANNY, 3000)
    (root / "shards/extra.txt").write_bytes(b"")
    found = {finding.file for finding in verify(root, Level.FAST).findings}
    assert found == {CANNY, "shards/extra.txt"}


def test_deep_names_a_picture_that_is_not_the_recorded_one(root: Path) -> None:
    index = root / "images/00000.parquet"
    stored = [row for row in pq.read_table(index).to_pylist() if row["data_size"]]
    edit_index(root, "images/00000.parquet", lambda rows: rows[0].update(phash=stored[1]["phash"]))
    assert verify(root, Level.NORMAL).ok
    assert_named(verify(root, Level.DEEP), "images/00000.tar", "another picture", stored[0]["key"])


def test_a_takedown_that_is_not_finished_is_named(root: Path) -> None:
    (root / "takedowns").mkdir()
    (root / "takedowns/00001.pending").write_text("{}")
    (root / "takedowns/00002.json").write_text("{")
    for level in Level:
        assert_named(verify(root, level), "takedowns/00001.pending", "not finished")
        assert_named(verify(root, level), "takedowns", "00002.json", "damaged")


@pytest.mark.parametrize("file", ["images/00000.tar", "images/00001.parquet", DEBLUR, "columns/quality/00000.parquet"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_byte_anywhere_is_found(root: Path, file: str, place: float) -> None:
    flip(root / file, int(place * (root / file).stat().st_size))
    assert_named(verify(root), file, "sha256", "its bytes were changed")


@pytest.mark.parametrize("file", ["images/00000.tar", DEBLUR])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.95])
def test_a_truncated_tar_is_found_even_if_the_ledger_agrees(root: Path, file: str, share: float) -> None:
    last = list_members(root / file)[-1]
    (root / file).write_bytes((root / file).read_bytes()[: int((last.offset + last.size) * share)])
    assert_named(verify(root), file, "bytes, its commit says")
    recommit(root, file)
    report = verify(root)
    assert not report.ok
    assert any(f.file == file and ("truncated" in f.problem or "not a readable" in f.problem) for f in report.findings)


def test_a_truncated_index_is_found(root: Path) -> None:
    file = DEBLUR.replace(".tar", ".parquet")
    (root / file).write_bytes((root / file).read_bytes()[:-50])
    assert_named(verify(root), file, "not a readable Parquet file")


def test_a_flipped_byte_in_a_lossless_image_is_found_without_sums(root: Path) -> None:
    member = next(m for m in list_members(root / CANNY) if m.suffix == "output.png")
    flip(root / CANNY, member.offset + member.size // 2)
    recommit(root, CANNY)
    assert_named(verify(root, Level.DEEP), CANNY, member.name, "does not decode")


def test_an_image_of_another_size_is_found(root: Path) -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        other = next(data for info, data in members if info.name.startswith("deblur-00000-00000.output"))
        place = next(k for k, (info, _) in enumerate(members) if info.name.startswith("deblur-00000-00001.output"))
        members[place] = (members[place][0], other)

    rewrite(root, DEBLUR, change)
    assert_named(verify(root, Level.DEEP), DEBLUR, "deblur-00000-00001.output.jpg", "recorded as")


def test_a_duplicate_key_inside_a_shard_is_found(root: Path) -> None:
    rewrite(root, DEBLUR, lambda members: members.extend(members[:3]))
    report = verify(root)
    assert_named(report, DEBLUR, "deblur-00000-00000", "duplicate key")
    assert_named(report, DEBLUR, "stands 2 times in the tar")


def test_a_duplicate_key_across_shards_is_found(root: Path) -> None:
    for suffix in (".tar", ".parquet"):
        shutil.copy(root / DEBLUR.replace(".tar", suffix), root / f"shards/deblur-1in-00001{suffix}")
    assert_named(verify(root), "shards/deblur-1in-00001.tar", "duplicate keys: 4", DEBLUR)


@pytest.mark.parametrize(
    ("name", "words"),
    [("deblur-00000-00000.pkl", "can carry code"), ("../deblur.json", "'..' name"), ("/deblur.json", "absolute")],
)
def test_a_hostile_member_is_found(root: Path, name: str, words: str) -> None:
    rewrite(root, DEBLUR, lambda members: members.insert(3, (tarfile.TarInfo(name), b"x")))
    assert_named(verify(root), DEBLUR, name, words)


def test_a_symlink_member_is_found(root: Path) -> None:
    link = tarfile.TarInfo("deblur-00000-00000.output.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    rewrite(root, DEBLUR, lambda members: members.insert(3, (link, b"")))
    assert_named(verify(root), DEBLUR, "not a plain file")


def test_a_symlink_in_place_of_a_shard_is_found(root: Path, tmp_path: Path) -> None:
    shutil.move(root / DEBLUR, tmp_path / "elsewhere.tar")
    (root / DEBLUR).symlink_to(tmp_path / "elsewhere.tar")
    assert_named(verify(root), DEBLUR, "not a plain file")


@pytest.mark.parametrize(
    "field", ["json_offset", "json_size", "num_inputs", "instruction", "instruction_bytes", "task"]
)
def test_a_wrong_field_of_a_shard_index_is_found(root: Path, field: str) -> None:
    def change(rows: list[dict[str, object]]) -> None:
        value = rows[1][field]
        rows[1][field] = value + 512 if isinstance(value, int) else f"{value}x"

    file = DEBLUR.replace(".tar", ".parquet")
    edit_index(root, file, change)
    assert_named(verify(root), file, "deblur-00000-00001", field)


def test_a_wrong_offset_in_an_image_index_is_found(root: Path) -> None:
    edit_index(root, "images/00000.parquet", lambda rows: rows[2].update(data_offset=512))
    assert_named(verify(root), "images/00000.parquet", "00000-00002", "512")


def test_a_missing_and_an_extra_image_member_are_found(root: Path) -> None:
    rewrite(root, "images/00000.tar", lambda members: members.append((tarfile.TarInfo("00000-00009.jpg"), b"")))
    assert_named(verify(root), "images/00000.tar", "00000-00009.jpg", "has no row")
    rewrite(root, "images/00000.tar", lambda members: members.__delitem__(slice(1, None)))
    assert_named(verify(root), "images/00000.tar", "00000-00001", "no member")


def test_a_sample_whose_json_is_broken_or_says_something_else_is_found(root: Path) -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        places = [k for k, (info, _) in enumerate(members) if info.name.endswith(".json")]
        members[places[0]] = (members[places[0]][0], b"{not json")
        document = json.loads(members[places[1]][1])
        members[places[1]] = (members[places[1]][0], json.dumps({**document, "key": "someone-else"}).encode())
        document = json.loads(members[places[2]][1])
        document["instruction"] = "no image is marked here"
        members[places[2]] = (members[places[2]][0], json.dumps(document).encode())

    rewrite(root, DEBLUR, change)
    report = verify(root)
    assert_named(report, DEBLUR, "deblur-00000-00000", "no valid sample")
    assert_named(report, DEBLUR, "deblur-00000-00001", "someone-else")
    assert_named(report, DEBLUR, "deblur-00000-00002", "instruction marks images")


def test_a_shard_of_mixed_tasks_is_found(root: Path) -> None:
    with tarfile.open(root / "shards/colorize-1in-00000.tar") as archive:
        others = [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    rewrite(root, DEBLUR, lambda members: members.extend(others[:3]))
    assert_named(verify(root), DEBLUR, "not homogeneous", "colorize")


def test_a_shard_under_another_tasks_name_is_found(root: Path) -> None:
    (root / DEBLUR).rename(root / "shards/denoise-1in-00000.tar")
    assert_named(verify(root), "shards/denoise-1in-00000.tar", "the name says denoise")


@pytest.mark.parametrize("file", ["images/00000.tar", "images/00001.parquet", DEBLUR, "columns/captions/00001.parquet"])
def test_a_deleted_file_is_found_and_the_fix_names_the_record(root: Path, file: str) -> None:
    (root / file).unlink()
    report = verify(root)
    assert_named(report, file, "is missing")
    fixes = [finding.fix for finding in report.findings if finding.file == file]
    assert all(fix.startswith("delete commits/") and "run `x2i" in fix for fix in fixes)


@pytest.mark.parametrize(
    "file", ["images/notes.txt", "shards/extra-0in-00000.tar", "columns/quality/00007.parquet", "relations/old.parquet"]
)
def test_a_file_that_no_commit_owns_is_named(root: Path, file: str) -> None:
    shutil.copy(root / "columns/quality/00000.parquet", root / file)
    assert_named(verify(root), file, "no commit record owns this file")


def test_what_a_killed_writer_left_is_named(root: Path) -> None:
    (root / "images/00002.tar.tmp-123-abcd").write_bytes(b"half")
    assert_named(verify(root), "images/00002.tar.tmp-123-abcd", "killed")


def test_wrong_counts_in_a_commit_are_found(root: Path) -> None:
    recommit(root, DEBLUR, Counts(ok=5))
    recommit(root, "images/00000.tar", Counts(ok=4, failed={"timeout": 4}))
    report = verify(root)
    assert_named(report, "commits/materialize-deblur/deblur-1in-00000.json", "counts ok 5", "hold ok 4")
    assert_named(report, "commits/crawl/00000.json", "http_client_error")


def test_an_edited_or_damaged_commit_record_is_found(root: Path) -> None:
    record = root / "commits/crawl/00000.json"
    record.write_text(record.read_text().replace('"format_version": 1', '"format_version": 2'))
    (root / "commits/crawl/00001.json").write_text("{")
    report = verify(root)
    assert_named(report, "commits/crawl/00000.json", "edited")
    assert_named(report, "commits/crawl/00001.json", "damaged")


def test_a_column_about_images_that_are_not_there_is_found(root: Path) -> None:
    edit_index(root, "columns/captions/00000.parquet", lambda rows: rows[0].update(key="00000-09999"))
    assert_named(verify(root), "columns/captions/00000.parquet", "00000-09999")


def test_a_rotten_file_does_not_bury_the_others(root: Path) -> None:
    def change(rows: list[dict[str, object]]) -> None:
        for row in rows:
            row.update(json_offset=1, json_size=1, recipe="x", instruction="y", instruction_bytes=1, uids=["z"])

    edit_index(root, DEBLUR.replace(".tar", ".parquet"), change)
    report = verify(root)
    assert len(report.findings) <= 22
    assert_named(report, DEBLUR, "and 4 more problems")


def test_chosen_files_are_checked_alone(root: Path) -> None:
    flip(root / DEBLUR, 3000)
    (root / "images/00000.tar").unlink()
    report = verify(root, paths=[root / CANNY])
    assert report.ok
    assert report.files == 2  # the tar and its index
    found = {finding.file for finding in verify(root, paths=[DEBLUR]).findings}
    assert DEBLUR in found
    assert "images/00000.tar" not in found


def test_foreign_shards_are_checked_and_what_could_not_be_is_said(root: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    shutil.copy(root / DEBLUR, foreign / "train-0001.tar")
    report = verify(foreign)
    assert report.ok, report.findings
    assert report.samples == 4
    assert any("no index" in note for note in report.unchecked)
    assert any("no commit records" in note for note in report.unchecked)
    flip(foreign / "train-0001.tar", list_members(foreign / "train-0001.tar")[1].offset)
    assert_named(verify(foreign), "train-0001.tar")
    assert verify(root / CANNY).ok


def test_progress_is_told_for_every_file(pristine: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    verify(pristine, on_file=lambda file, done, total: seen.append((file, done, total)))
    assert [done for _, done, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, _, total in seen} == {len(seen)}


def test_nothing_to_check_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        verify(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no \.tar found"):
        verify(tmp_path)

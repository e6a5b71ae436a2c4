"""A file is there whole or not at all, also when the process is killed while it writes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from x2i.store.files.atomic import TEMPORARY_MARK, atomic_file, remove_temporaries, write_bytes, write_json, write_table

KILLED = """
import os, signal, sys
from pathlib import Path
from x2i.store.files.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_new_file_and_its_folders_appear_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a/b/c.bin", b"whole")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"whole"
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["c.bin"]


def test_nothing_is_seen_under_the_name_before_the_end(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "x") as stream:
        stream.write(b"half")
        stream.flush()
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_bytes() == b"half"


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"old")
    with pytest.raises(TypeError), atomic_file(tmp_path / "x") as stream:
        stream.write("not bytes")  # type: ignore[arg-type]
    assert (tmp_path / "x").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_writer_killed_in_the_middle_leaves_the_old_file_and_a_named_temporary(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [TEMPORARY_MARK in path.name for path in sorted(tmp_path.iterdir())] == [False, True]
    assert remove_temporaries(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    contents = [bytes([k]) * 100_000 for k in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(tmp_path / "x", data)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1


def test_removing_temporaries_of_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert remove_temporaries(tmp_path / "nowhere") == 0


def test_equal_tables_and_documents_give_equal_bytes(tmp_path: Path) -> None:
    whole = pa.table({"key": [f"k{n}" for n in range(1000)], "n": range(1000)})
    pieces = pa.concat_tables([whole.slice(0, 300), whole.slice(300)])
    write_table(tmp_path / "a.parquet", whole)
    write_table(tmp_path / "b.parquet", pieces.combine_chunks())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    write_json(tmp_path / "a.json", {"a": 1, "b": "é"})
    write_json(tmp_path / "b.json", {"b": "é", "a": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_number_that_json_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []

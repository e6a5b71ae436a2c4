"""Images on a list of hashes are found: the same file by sha256, the same picture by PDQ."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.photographs import photograph
from x2i.annotate.base import StoredImage
from x2i.annotate.blocklist import Blocklist
from x2i.errors import UserError
from x2i.image import decode, encode, pdq, sha256


def look_up(blocklist: Blocklist, *images: tuple[str, np.ndarray]) -> list[dict]:
    stored = [StoredImage("k", {"sha256": digest}, {}, pixels) for digest, pixels in images]
    return blocklist.load().annotate(stored)


def test_the_same_file_is_found_and_no_pixel_is_read(tmp_path):
    known = tmp_path / "known.csv"
    known.write_text(f"sha256,added\n# reported in May\n{sha256(b'a').upper()},2026-05-01\n\n")
    blocklist = Blocklist(sha256=(str(known),))
    nothing = np.zeros((0, 0, 3), np.uint8)
    assert not blocklist.pixels
    assert look_up(blocklist, (sha256(b"a"), nothing), (sha256(b"b"), nothing)) == [
        {"is_listed": True, "list": "known.csv", "distance": None},
        {"is_listed": False, "list": None, "distance": None},
    ]


def test_the_same_picture_is_found_after_compression_and_others_are_not(tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text(pdq(photograph("astronaut.png")) + "\n")
    second.write_text("\n".join(pdq(photograph(name)) for name in ("rocket.jpg", "chelsea.png")))
    blocklist = Blocklist(pdq=(str(first), str(second)))
    assert blocklist.pixels
    again = decode(encode(photograph("chelsea.png")[::2, ::2].copy(), "jpeg", 40))
    found, other = look_up(blocklist, ("", again), ("", photograph("coffee.png")))
    assert (found["is_listed"], found["list"]) == (True, "second.txt")
    assert 0 < found["distance"] <= 31
    assert (other["is_listed"], other["list"]) == (False, None)
    hashes = (first.read_text() + second.read_text()).split()
    coffee = int(pdq(photograph("coffee.png")), 16)
    assert other["distance"] == min((coffee ^ int(known, 16)).bit_count() for known in hashes)
    (strict,) = look_up(Blocklist(pdq=(str(second),), radius=0), ("", again))
    assert not strict["is_listed"]


def test_flat_pictures_are_not_taken_for_listed_ones(tmp_path):
    known = tmp_path / "known.txt"
    flat = np.full((128, 128, 3), 200, np.uint8)
    known.write_text(pdq(flat))
    (found,) = look_up(Blocklist(pdq=(str(known),)), ("", flat))
    assert found == {"is_listed": False, "list": None, "distance": None}


def test_the_content_of_a_list_is_part_of_the_fingerprint_its_folder_is_not(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "known.txt").write_text("ab" * 32)
    one, two = (Blocklist(sha256=(str(tmp_path / folder / "known.txt"),)) for folder in ("a", "b"))
    assert one.config() == two.config()
    (tmp_path / "b" / "known.txt").write_text("cd" * 32)
    assert one.config() != two.config()


def test_lists_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "words.txt").write_text("no hash here\n")
    with pytest.raises(UserError, match=r"words.txt: expected lines that start with a hash"):
        Blocklist(pdq=(str(tmp_path / "words.txt"),)).load()
    with pytest.raises(UserError, match=r"/no/such/list.txt: no such file"):
        Blocklist(sha256=("/no/such/list.txt",)).config()
    with pytest.raises(UserError, match="name a file of hashes"):
        Blocklist().config()

"""Lines of logs are removed for what they mention, however it stands there, and kept for everything else."""

from __future__ import annotations

import json

import pytest

from x2i.store.tombstones import PENDING, TakedownRecord
from x2i.takedown.derived_files import Mentions, scrub_logs
from x2i.takedown.journal import Journal

UID = "0123456789abcdef01234567"
RECORD = TakedownRecord(PENDING, "Ada", "asked", "2026-05-04", (UID,), ("gone.example",), (), (), {})
JOURNAL = Journal("00001", RECORD, {"00000": ["00000-00003"]}, {}, ["http://a.org/b.jpg"], [], {}, {})


@pytest.mark.parametrize(
    ("document", "mentioned"),
    [
        ({"url": "http://a.org/b.jpg"}, True),
        ({"detail": 'cannot fetch "http://a.org/b.jpg", given up'}, True),
        ({"detail": "see http://a.org/b.jpg."}, True),
        ({"command": ["x2i", "crawl", "https://img.gone.example/gallery.html"]}, True),
        ({"error": f"no image {UID}"}, True),
        ({"trace": [{"line": "deblur of 00000-00003 failed"}]}, True),
        ({"url": "http://a.org/b.jpg.png", "partition": "00000"}, False),
        ({"url": "http://gone.example.org/", "key": "00000-00030"}, False),
        ("not JSON at all", False),
    ],
)
def test_mentions(document, mentioned):
    assert Mentions(JOURNAL).are_in(document) is mentioned


def test_only_lines_that_mention_it_leave_a_log(tmp_path):
    lines = [json.dumps({"url": "http://a.org/b.jpg"}), "half a line {", json.dumps({"url": "http://a.org/c.jpg"})]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/crawl.jsonl").write_text("\n".join(lines) + "\n")
    assert scrub_logs(tmp_path, JOURNAL) == 1
    assert (tmp_path / "logs/crawl.jsonl").read_text().splitlines() == lines[1:]

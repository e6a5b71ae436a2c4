"""Statistics: exact counts, bounded memory, and pages on which hostile words stay words."""

from __future__ import annotations

import html.parser
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from x2i.errors import UserError
from x2i.inspect.histograms import Histogram, logarithmic_histogram
from x2i.inspect.stats.group_sums import rank_groups
from x2i.inspect.stats.page import write_stats_page
from x2i.inspect.stats.read import read_stats
from x2i.inspect.svg import histogram_plot
from x2i.inspect.target import open_target
from x2i.store import Dataset
from x2i.store.images import read_image_index
from x2i.store.scratch_database import scratch_database

MEASURE = """
import resource, sys
from pathlib import Path
from x2i.inspect.stats.read import read_stats
from x2i.inspect.stats.text import stats_text
from x2i.inspect.target import open_target
stats = read_stats([open_target(Path(sys.argv[1]))], by="host")
stats_text(stats, "host")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(stats.images.attempted, stats.images.rankings["host"].distinct, peak)
"""


def test_counts_are_those_of_the_indexes(dataset: Dataset) -> None:
    stats = read_stats([open_target(dataset.root)], by="reason")
    table = pa.concat_tables([read_image_index(dataset.root, partition) for partition in ("00000", "00001")])
    assert stats.images is not None
    assert stats.samples is not None
    assert (stats.images.attempted, stats.images.kept) == (15, 7)
    assert stats.images.filtered == {"robots_disallowed": 2, "too_small": 2}
    assert stats.images.failed == {"http_client_error": 2, "timeout": 2}
    assert stats.images.bytes_stored == sum(table["data_size"].to_pylist())
    hosts = {group.name: group.sums["kept"] for group in stats.images.rankings["host"].groups}
    assert hosts["photos.example"] == 7
    licenses = {group.name: group.sums["images"] for group in stats.images.rankings["license"].groups}
    assert licenses == {"": 8, "public domain": 4, "CC0-1.0": 3}
    assert {g.name: g.sums["images"] for g in stats.images.rankings["reason"].groups}["timeout"] == 2
    tasks = {group.name: group.sums["samples"] for group in stats.samples.rankings["task"].groups}
    assert tasks["few_shot"] == 1
    assert sum(tasks.values()) == stats.samples.samples == 22
    histograms = {histogram.title: histogram for histogram in stats.images.histograms}
    assert histograms["longest side"].maximum == 96
    assert histograms["caption"].total == 6


def test_several_targets_are_read_as_one_and_kinds_are_told_apart(dataset: Dataset) -> None:
    shards = sorted((dataset.root / "shards").glob("*.tar"))
    stats = read_stats([open_target(path) for path in shards])
    assert stats.images is None
    assert stats.samples is not None
    assert (stats.samples.samples, stats.samples.shards) == (22, 7)
    images = read_stats([open_target(dataset.root / "images/00001.tar")])
    assert images.samples is None
    assert images.images is not None
    assert images.images.kept == 3


def test_an_unknown_field_and_a_table_are_refused(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"--by hots: expected one of host, format"):
        read_stats([open_target(dataset.root)], by="hots")
    with pytest.raises(UserError, match="a table; expected a dataset"):
        read_stats([open_target(dataset.root / "relations/duplicates.parquet")])


def test_a_logarithmic_histogram_tells_extremes_exactly_and_the_median_closely() -> None:
    values = np.random.default_rng(3).lognormal(6, 1, 20_000)
    given = pa.table({"v": np.concatenate([values, [0.0, np.nan, -1.0, np.inf]])})
    with scratch_database() as database:
        database.register("given", given)
        data = logarithmic_histogram(database, "given", "v", "side", "pixels")
        assert logarithmic_histogram(database, "(FROM given WHERE v <= 0)", "v", "none") is None
    assert data is not None
    assert (data.minimum, data.maximum) == (values.min(), values.max())
    assert data.mean == pytest.approx(values.mean())
    assert data.median == pytest.approx(np.median(values), rel=0.02)
    expected, _ = np.histogram(values, np.geomspace(values.min(), values.max(), 41))
    assert sum(data.counts) == data.total == 20_000
    assert np.abs(np.array(data.counts) - expected).max() <= 1
    assert data.edges == pytest.approx(np.geomspace(values.min(), values.max(), 41))


def test_a_median_stands_in_its_own_bin_however_wide_that_is() -> None:
    data = Histogram("side", "", (1.0, 2.0, 4.0, 8.0), (5, 5, 2), 3.0, 12, 1.0, 3.2, 8.0)
    assert 'class="median" x1="150.0"' in histogram_plot(data, width=300)


def test_groups_are_ranked_and_the_tail_is_summed() -> None:
    random = np.random.default_rng(0)
    names = ["" if n % 500 == 0 else f"host{value}" for n, value in enumerate(random.zipf(1.4, 5_000).clip(max=800))]
    with scratch_database() as database:
        database.register("given", pa.table({"host": [name or None for name in names]}))
        ranking = rank_groups(database, "given", "host", {"images": "1", "bytes": "2.5"}, 5)
        whole = rank_groups(database, "given", "host", {"images": "1"}, 10**6)
    expected = sorted({name: names.count(name) for name in set(names)}.items(), key=lambda item: (-item[1], item[0]))
    assert [(group.name, group.sums["images"]) for group in ranking.groups] == expected[:5]
    assert ranking.distinct == len(expected)
    rest = sum(n for _, n in expected[5:])
    assert ranking.rest == {"images": rest, "bytes": 2.5 * rest}
    assert [(group.name, group.sums["images"]) for group in whole.groups] == expected
    assert (whole.others, whole.rest) == (0, {})


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_hostile_hosts_and_licenses_stay_text_on_the_page(tmp_path: Path) -> None:
    evil = '"><script>document.title=1</script><img src=x onerror=alert(1)>'
    root = synthetic(tmp_path / "evil", 4, hosts=[evil, "b", "c", evil], licenses=[evil] * 4)
    write_stats_page(read_stats([open_target(root)], by="license"), tmp_path / "stats.html", "license")
    text = (tmp_path / "stats.html").read_text()
    page = _Page()
    page.feed(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in [tag for tag, _ in page.tags]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not [v for _, attributes in page.tags for k, v in attributes.items() if k in ("src", "href")]
    assert "&lt;script&gt;" in text
    assert "<svg" in text


def synthetic(root: Path, rows: int, hosts: list[str] | None = None, licenses: list[str] | None = None) -> Path:
    """A dataset of `rows` attempts whose indexes are real files, in partitions of 1,000; no pixels."""
    from x2i.store import paths
    from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
    from x2i.store.files.atomic import write_table
    from x2i.store.images import IMAGE_SCHEMA

    Dataset.create(root)
    for start in range(0, rows, 1000):
        numbers = np.arange(start, min(rows, start + 1000))
        size = len(numbers)
        given = {
            "key": [f"{start // 1000:05d}-{n % 1000:05d}" for n in numbers],
            "uid": [f"{n:024x}" for n in numbers],
            "url": [f"https://h{n}.example/{n}.jpg" for n in numbers],
            "status": ["ok"] * size,
            "host": hosts or [f"host-with-a-long-name-{n}.example" for n in numbers],
            "license": licenses or ["CC0"] * size,
            "format": ["jpeg"] * size,
            "text": [f"a caption of some length, number {n}, which tells what there is to see" * 3 for n in numbers],
            "width": 200 + numbers % 800,
            "height": 300 + numbers % 500,
            "original_width": 400 + numbers % 800,
            "original_height": 600 + numbers % 500,
            "bytes": 10_000 + numbers,
            "data_size": 9_000 + numbers,
        }
        table = pa.table(
            {f.name: pa.array(given[f.name] if f.name in given else [None] * size, f.type) for f in IMAGE_SCHEMA}
        )
        partition = paths.partition_name(start // 1000)
        write_table(paths.image_index(root, partition), table)
        outputs = describe_outputs(root, (paths.image_index(root, partition),))
        write_commit(root, Commit("crawl", partition, 1, {}, {}, partition, outputs, Counts(size)))
    return root


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    found = {}
    for rows in (20_000, 200_000):
        root = synthetic(tmp_path / str(rows), rows)
        done = subprocess.run([sys.executable, "-c", MEASURE, root], capture_output=True, text=True, check=True)
        attempted, distinct, kilobytes = map(int, done.stdout.split())
        assert (attempted, distinct) == (rows, rows)
        found[rows] = kilobytes / 1000
    assert found[200_000] < found[20_000] + 200, found

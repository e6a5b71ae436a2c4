"""The report: its numbers are the commits' numbers, its holes are named, its page is whole and safe."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from tests.support.datasets import build_dataset
from tests.x2i.inspect.test_gallery import Page
from x2i.errors import UserError
from x2i.image import encode
from x2i.inspect.histograms import Histogram, linear_histogram
from x2i.inspect.report.distributions import read_distributions
from x2i.inspect.report.funnel import read_funnel
from x2i.inspect.report.page import write_report_page
from x2i.inspect.report.text import report_text
from x2i.inspect.report.training import read_run
from x2i.inspect.svg import Bar, Curve, bar_chart, curve_plot, histogram_plot
from x2i.store import Dataset
from x2i.store.files.atomic import write_json
from x2i.store.plans import Plan, write_plan_record
from x2i.store.scratch_database import scratch_database


def printed(dataset: Dataset, run: Path | None = None) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(report_text(read_funnel(dataset), read_run(run) if run else None))
    return console.file.getvalue()  # type: ignore[attr-defined]


def histogram(values: np.ndarray, bins: int = 24) -> Histogram | None:
    with scratch_database() as database:
        database.register("given", pa.table({"v": values}))
        return linear_histogram(database, "given", "v", "x", bins=bins)


def page(dataset: Dataset, path: Path, run: Path | None = None) -> str:
    training = read_run(run) if run else None
    write_report_page(read_funnel(dataset), read_distributions(dataset), training, path)
    return path.read_text()


def test_the_funnel_is_the_sum_of_the_commits(dataset: Dataset) -> None:
    funnel = read_funnel(dataset)
    assert (funnel.attempted, funnel.stored, funnel.relations, funnel.samples) == (15, 7, {"subject_pairs": 1}, 22)
    kept = {step.stage: step.counts.ok for step in funnel.steps}
    assert list(kept.items()) == [
        ("images", 7),
        ("captions", 6),
        ("embeddings", 7),
        ("entities", 6),
        ("quality", 7),
        ("duplicates", 6),
        ("subject_pairs", 2),
    ]
    assert funnel.steps[0].counts.filtered == {"robots_disallowed": 2, "too_small": 2}
    recipes = {recipe.recipe: (recipe.selected, recipe.counts.ok) for recipe in funnel.recipes}
    assert recipes["deblur"] == (7, 4)
    assert funnel.hosts == {"photos.example": 7}
    assert funnel.licenses == {"public domain": 4, "CC0-1.0": 3}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "no images: run `x2i crawl`" in read_funnel(Dataset.create(tmp_path / "empty")).holes
    dataset = build_dataset(tmp_path / "d", side=32)
    for record in (dataset.root / "commits/captions").glob("*.json"):
        record.unlink()
    (dataset.root / "commits/captions").rmdir()
    write_json(dataset.root / "failures/embed/00003.json", {"error": "boom"})
    funnel = read_funnel(dataset)
    assert any(hole.startswith("captions has not been made: run `x2i caption` first") for hole in funnel.holes)
    assert funnel.failures == {"embed": 1}
    assert "embed 1" in printed(dataset)


def test_what_planning_counted_is_believed_only_if_it_fits_the_commits(tmp_path: Path) -> None:
    dataset = build_dataset(tmp_path / "d", side=32)

    def recipes(counts: dict[str, int]) -> dict[str, tuple[int | None, dict[str, int], int]]:
        for name in ("deblur", "text_to_image"):
            write_plan_record(dataset.root, Plan(f"materialize-{name}", 1, {"recipe": name}, {}, (), counts))
        found = read_funnel(dataset).recipes
        return {r.recipe: (r.candidates, dict(r.not_selected), r.selected) for r in found}

    assert recipes({"candidates": 9, "not selected: small": 2})["deblur"] == (9, {"small": 2}, 7)
    assert recipes({"candidates": 9, "not selected: small": 3})["deblur"] == (None, {}, 7)
    for record in (dataset.root / "commits/materialize-text_to_image").glob("*.json"):
        record.unlink()
    nothing = recipes({"candidates": 7, "not selected: has_caption": 1, "not selected: none": 6})["text_to_image"]
    assert nothing == (7, {"has_caption": 1, "none": 6}, 0)


def test_the_text_names_every_count_and_reason(dataset: Dataset, run_folder: Path) -> None:
    text = printed(dataset, run_folder)
    for words in (
        "attempted",
        "robots_disallowed 2",
        "timeout 2",
        "no_caption 1",
        "22 of 7 tasks",
    ):
        assert words in text
    assert text.index("untrained model") < text.index("predicting the mean") < text.rindex("trained model")


def test_the_page_is_one_file_with_plots_and_without_scripts(
    dataset: Dataset, tmp_path: Path, run_folder: Path
) -> None:
    picture = encode(np.full((32, 32, 3), 7, np.uint8), "png")
    (run_folder / "samples" / "step-000020.png").write_bytes(picture)
    text = page(dataset, tmp_path / "report.html", run_folder)
    elements = Page(text).elements
    assert [tag for tag, _ in elements].count("svg") >= 12
    for tag, attributes in elements:
        assert not (attributes.get("src") or "data:").startswith(("http", "//")), tag
        assert not [name for name in attributes if name.startswith("on")]
    assert "data:image/png;base64," in text
    assert "0.7500" in text
    for heading in (
        "From addresses to images",
        "Why images were lost",
        "Samples per task",
        "Training",
        "What is not there",
    ):
        assert heading in text


def test_hosts_and_names_with_markup_stay_text(hostile: Dataset, tmp_path: Path) -> None:
    write_json(
        hostile.root / "dataset.json", {"format_version": 2, "name": "<script>alert(1)</script>$x", "config": {}}
    )
    text = page(Dataset.open(hostile.root), tmp_path / "report.html")
    assert [tag for tag, _ in Page(text).elements].count("script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$x" in text
    write_json(hostile.root / "dataset.json", {"format_version": 2, "name": "small", "config": {}})


def test_an_empty_dataset_has_a_report(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d")
    assert "Nothing has been crawled" in page(dataset, tmp_path / "report.html")
    assert "no samples" in printed(dataset)


def test_a_run_is_read_as_far_as_it_got(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.finished
    assert (run.steps, run.curve) == (20, ((10, 1.4), (20, 0.8)))
    assert run.untrained is not None
    assert run.mean_predictor is not None
    assert run.trained is not None
    assert (run.untrained.loss, run.mean_predictor.loss, run.trained.loss) == (1.5, 1.25, 0.75)
    (run_folder / "summary.json").unlink()
    (run_folder / "validation.jsonl").write_text(
        json.dumps({"step": 0, "loss": 1.5, "tasks": {}, "timesteps": {}}) + "\n"
    )
    half = read_run(run_folder)
    assert (half.finished, half.trained) == (False, None)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a training run: expected metrics\.jsonl"):
        read_run(tmp_path)


def test_histograms_count_every_finite_value() -> None:
    data = histogram(np.array([0.0, 1.0, 1.0, np.nan, np.inf, 4.0]), bins=4)
    assert data is not None
    assert (data.counts, data.total, data.median) == ((1, 2, 0, 1), 4, 1.0)
    assert histogram(np.array([np.nan])) is None
    same = histogram(np.array([3.0, 3.0]))
    assert same is not None
    assert sum(same.counts) == 2


def test_plots_are_well_formed_and_to_scale() -> None:
    chart = ElementTree.fromstring(
        bar_chart([Bar("<a>", ((10, "kept"), (30, "failed")), "40"), Bar("b", ((20, "kept"),))])
    )
    widths = [float(rect.attrib["width"]) for rect in chart.iter("rect")]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.01)
    assert widths[2] == pytest.approx(2 * widths[0], rel=0.01)
    data = histogram(np.arange(100.0))
    assert data is not None
    assert len(list(ElementTree.fromstring(histogram_plot(data)).iter("rect"))) == 24
    curve = Curve("loss", ((0, 2.0), (10, 1.0)), "smooth")
    plot = ElementTree.fromstring(curve_plot([curve], {"level": 1.5}))
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in next(iter(plot.iter("polyline"))).attrib["points"].split())
    level = next(float(line.attrib["y1"]) for line in plot.iter("line") if line.attrib["class"] == "level")
    assert x0 < x1
    assert level == pytest.approx((y0 + y1) / 2, abs=0.2)

"""The arithmetic of a build's cost, on rates that are easy to reckon with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from x2i.errors import UserError
from x2i.estimate import RATES_FILE, Build, Rate, Rates, StageCost, estimate, load_rates, total

RATES = Rates(
    "a machine",
    "a command",
    "2026-01-31",
    {
        "crawl": Rate("crawl", (0.001, 0.004, 0.002), (100.0, 1000.0), bytes_in=500_000.0),
        "filter": Rate("filter", (0.0, 0.0, 0.01), (50.0, 0.0)),
        "subjects": Rate("subjects", (0.0, 0.0, 0.1), (1.0, 0.0), memory_per_image=150_000),
        "materialize-text_to_image": Rate(
            "materialize-text_to_image", (0.01, 0, 0), (0, 1000.0), samples_per_image=0.5
        ),
        "materialize-subject_pair": Rate("materialize-subject_pair", (0.01, 0, 0), (0, 1000.0)),
    },
)
BUILD = Build(images=1_000_000, megapixels=2.0, kept=0.5, stored_side=1000, cores=10, mbps=1000.0, pairs_per_image=0.1)


def costs(build: Build = BUILD) -> dict[str, StageCost]:
    return {cost.stage: cost for cost in estimate(build, RATES)}


def test_pixels_are_stored_as_the_side_allows() -> None:
    assert BUILD.stored_megapixels == pytest.approx(0.75)
    assert replace(BUILD, megapixels=0.3).stored_megapixels == pytest.approx(0.3)


def test_the_crawl_pays_for_every_address_and_decodes_those_that_are_kept() -> None:
    crawl = costs()["crawl"]
    assert crawl.core_seconds == pytest.approx(1_000_000 * 0.001 + 500_000 * (0.004 * 2 + 0.002 * 0.75))
    assert crawl.network == pytest.approx(500_000 * 500_000 * 2)
    assert costs(replace(BUILD, file_bytes=300_000.0))["crawl"].network == pytest.approx(500_000 * 300_000)
    assert costs(replace(BUILD, file_bytes=300_000.0))["filter"].network == 0
    assert crawl.storage == pytest.approx(500_000 * (100 + 750))


def test_the_slower_of_cores_and_line_sets_the_time() -> None:
    assert costs()["crawl"].bound == "network"
    assert costs()["crawl"].seconds == pytest.approx(500_000 * 1_000_000 * 8 / 1e9)
    quick = costs(replace(BUILD, mbps=1e6))["crawl"]
    assert (quick.bound, quick.seconds) == ("cores", pytest.approx(quick.core_seconds / 10))


def test_a_stage_of_one_partition_gains_nothing_from_cores() -> None:
    subjects = costs()["subjects"]
    assert (subjects.bound, subjects.seconds) == ("one process", pytest.approx(subjects.core_seconds))
    assert subjects.memory == pytest.approx(500_000 * 150_000)


def test_samples_follow_from_images_and_pairs() -> None:
    assert costs()["materialize-text_to_image"].items == 250_000
    assert costs()["materialize-subject_pair"].items == 50_000
    capped = costs(replace(BUILD, max_samples=100_000))
    assert capped["materialize-text_to_image"].items == 100_000
    assert capped["materialize-subject_pair"].items == 50_000
    assert capped["filter"].items == 500_000
    assert list(costs(replace(BUILD, tasks=("text_to_image",)))) == [
        "crawl",
        "filter",
        "subjects",
        "materialize-text_to_image",
    ]
    with pytest.raises(UserError, match=r"no recipe 'deblurr': did you mean 'deblur'"):
        costs(replace(BUILD, tasks=("deblurr",)))


def test_a_recipe_without_a_rate_of_its_own_costs_what_its_family_does() -> None:
    measured = {
        **RATES.stages,
        "materialize-deblur": Rate("materialize-deblur", (0.1, 0, 0), (0, 100.0), samples_per_image=1.0),
        "materialize-denoise": Rate("materialize-denoise", (0.3, 0, 0), (0, 300.0), samples_per_image=0.8),
    }
    rates = replace(RATES, stages=measured)
    assert rates.of_recipe("deblur") == measured["materialize-deblur"]
    family = rates.of_recipe("colorize")
    assert (family.seconds[0], family.bytes_out[1]) == (pytest.approx(0.2), pytest.approx(200.0))
    assert family.samples_per_image == pytest.approx(0.9)
    stranger = rates.of_recipe("referring_segmentation")
    assert stranger.seconds[0] == pytest.approx((0.01 + 0.01 + 0.1 + 0.3) / 4)


def test_the_total_is_the_sum_and_twice_the_images_cost_twice() -> None:
    whole = total(list(costs().values()))
    twice = total(list(costs(replace(BUILD, images=2_000_000)).values()))
    assert whole.storage == pytest.approx(sum(cost.storage for cost in costs().values()))
    assert twice.core_seconds == pytest.approx(2 * whole.core_seconds)
    assert twice.network == pytest.approx(2 * whole.network)


def test_the_rates_that_come_with_the_package_serve_every_recipe_and_name_their_origin() -> None:
    from x2i.recipes import RECIPES

    rates = load_rates()
    assert all(sum(rates.of_recipe(name).seconds) > 0 for name in RECIPES)
    assert {"crawl", "filter", "dedup", "caption", "detect", "embed", "subjects"} <= set(rates.stages)
    assert "stages.py" in rates.command
    assert rates.machine
    assert rates.stages["crawl"].bytes_in > 0
    assert RATES_FILE.exists()


@pytest.mark.parametrize(
    "text", ["", "machine: x", "[]", "{", "machine: a\ncommand: b\nmeasured: c\nstages: {crawl: {}}"]
)
def test_a_file_that_holds_no_rates_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="not a file of rates"):
        load_rates(path)


def test_annotations_cost_where_they_are_asked_for() -> None:
    faces = Rate("annotate-faces", (0.02, 0, 0), (10.0, 0.0))
    rates = replace(RATES, stages={**RATES.stages, "annotate-faces": faces})
    plain = {cost.stage for cost in estimate(BUILD, rates)}
    asked = {cost.stage: cost for cost in estimate(replace(BUILD, annotations=("faces",)), rates)}
    assert set(asked) - plain == {"annotate-faces"}
    assert asked["annotate-faces"].core_seconds == pytest.approx(500_000 * 0.02)
    with pytest.raises(UserError, match=r"annotation 'hats': no rate was measured; there are: faces"):
        estimate(replace(BUILD, annotations=("hats",)), rates)

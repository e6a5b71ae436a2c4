"""A backend is named by a string; what does not exist is refused with what does."""

from __future__ import annotations

import pickle

import pytest

from x2i.errors import UserError
from x2i.models.registry import BACKENDS, Ability, available, backend, load


def test_a_name_is_a_row_a_family_with_a_model_or_an_import_path():
    assert backend(Ability.DETECTOR, "classic:saliency").model == ""
    depth = backend(Ability.DEPTH_ESTIMATOR, "hf:org/model@abc123")
    assert (depth.model, depth.revision) == ("org/model", "abc123")
    assert type(backend(Ability.DETECTOR, "x2i.models.classic.saliency:Saliency")).__name__ == "Saliency"


@pytest.mark.parametrize(
    ("ability", "name", "message"),
    [
        (
            Ability.INSTANCE_MATCHER,
            "classik:sift",
            r"available: classic:sift.*did you mean classic:si",
        ),
        (Ability.CAPTIONER, "alttext", "did you mean alt-text"),
        (Ability.DEPTH_ESTIMATOR, "hf", "which model"),
        (Ability.DEPTH_ESTIMATOR, "hf:", "which model"),
        (Ability.INSTANCE_MATCHER, "classic:sift@v2", "has no revisions: write classic:sift"),
        (Ability.DETECTOR, "nowhere.at.all:Detector", "no module 'nowhere'"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused_with_what_exists(ability, name, message):
    with pytest.raises(UserError, match=message):
        backend(ability, name)


@pytest.mark.parametrize("ability", Ability)
def test_every_row_can_be_sent_to_a_worker_and_says_what_it_is(ability):
    for name in available(ability):
        found = backend(ability, name.replace("MODEL", "some/model"))
        assert pickle.loads(pickle.dumps(found)) == found
        assert found.title
        assert found.batch_size >= 1
    assert len(available(ability)) == len(BACKENDS[ability].names())


def test_options_reach_the_backend_and_what_decides_nothing_is_no_part_of_it():
    assert load(Ability.EDGE_DETECTOR, "classic:canny", {"spread": 0.1}).spread == 0.1
    with pytest.raises(UserError, match=r"spread: expected less than 1, found 1.5"):
        backend(Ability.EDGE_DETECTOR, "classic:canny", {"spread": 1.5})

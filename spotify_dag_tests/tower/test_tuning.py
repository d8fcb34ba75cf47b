"""The search for settings: it begins with those there are, repeats itself, ends in time, and says why it cannot."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spotify_dag.tower.training import TrainingError, TrainingSettings, train_tower
from spotify_dag.tower.tuning import SPACE, Span, Tuned, TuningError, search
from spotify_dag.tower.views import Halved, Listening
from spotify_dag_tests.small_models import small_users

pytestmark = pytest.mark.slow

SMALL = TrainingSettings(axes=8, hidden=8, dim=4, anchor_dim=2, batch=32)


@pytest.fixture(scope="module")
def data() -> Halved:
    """Return 60 users whose halves have some of their numbers in common."""
    whole, catalogue = small_users(60)
    rng = np.random.default_rng(0)

    def half() -> Listening:
        noisy = [part + 2 * rng.normal(size=part.shape).astype(np.float32) for part in whole.embeddings]
        embeddings = tuple(part * whole.known[:, n : n + 1] for n, part in enumerate(noisy))
        return replace(whole, embeddings=embeddings)

    return Halved(whole, [(half(), half()) for _ in range(2)], catalogue)


def found(data: Halved, seed: int = 0, **more: Any) -> Tuned:
    return search(data, SMALL, **{"trials": 2, "seconds": 600.0, **more}, seed=seed)


def test_the_defaults_are_settings_that_can_be_tried() -> None:
    for name, span in SPACE.items():
        assert span.holds(getattr(TrainingSettings(), name)), name


@pytest.mark.parametrize("value", [9, 61, 30.0, True, "30", None, float("nan")])
def test_what_cannot_be_tried_is_told(value: object) -> None:
    assert not Span(10, 60, whole=True).holds(value)


def test_the_first_trial_is_the_start_and_the_best_is_what_training_with_it_gives(data: Halved) -> None:
    ended: list[int] = []
    tuned = search(data, SMALL, trials=2, seconds=600, seed=0, progress=ended.append)
    assert ended == [1, 1]
    assert tuned.trials == 2
    assert tuned.validation_users == 20
    assert tuned.start_mrr == train_tower(data, SMALL).metrics["validation_mrr"]
    assert (
        tuned.mrr
        == train_tower(data, replace(SMALL, **dict[str, Any](tuned.settings))).metrics["validation_mrr"]
        >= tuned.start_mrr
    )
    assert all(span.holds(tuned.settings[name]) for name, span in SPACE.items())
    assert found(data) == tuned


def test_a_single_trial_is_the_start(data: Halved) -> None:
    tuned = found(data, trials=1)
    assert tuned.settings == {name: getattr(SMALL, name) for name in SPACE}
    assert tuned.mrr == tuned.start_mrr


def test_time_ends_it_within_a_training(data: Halved) -> None:
    with pytest.raises(TuningError, match=r"too few for one trial. Give more: --minutes"):
        found(data, seconds=0.0)


def test_a_start_that_does_not_train_says_why(data: Halved) -> None:
    with pytest.raises(TrainingError, match="at least 2"):
        found(data.take(np.array([0])))


def test_without_optuna_it_says_what_to_install(data: Halved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # what an import of a package that is not there meets
    with pytest.raises(TuningError, match=r"pip install 'spotify-dag\[tune\]'"):
        found(data)

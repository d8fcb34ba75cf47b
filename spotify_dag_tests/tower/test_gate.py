"""The gate: only what is sound, and better than all it is held against, becomes champion."""

from __future__ import annotations

import json
import math

import pytest

from spotify_dag.tower.gate import decide, soundness

GOOD = {"mrr": 0.50, "coverage": 0.90, "friend_auc": 0.84, "random_pair_cosine": 0.05, "weights_finite": 1.0}
CHAMPION = {"mrr": 0.49, "coverage": 0.90, "friend_auc": 0.84}
BASELINES = {"popularity": {"mrr": 0.01}, "svd": {"mrr": 0.41}}


def failed(**changes: float | None) -> list[str]:
    """Return the names of the checks that a challenger fails; None takes a metric away."""
    metrics = {name: value for name, value in (GOOD | changes).items() if value is not None}
    decision = decide(metrics, CHAMPION, BASELINES)
    names = [check.name for check in decision.checks if not check.passed]
    assert decision.passed == (not names)
    return names


def test_the_better_one_passes_and_every_check_is_told() -> None:
    decision = decide(GOOD, CHAMPION, BASELINES)
    assert decision.passed
    assert [check.name for check in decision.checks] == [
        "weights_finite", "random_pair_cosine", "mrr", "mrr vs popularity", "mrr vs svd", "coverage", "friend_auc",
    ]  # fmt: skip
    assert decision.summary == "All 7 checks passed."


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"mrr": 0.49}, ["mrr"]),  # as good is not better
        ({"mrr": math.nextafter(0.49, 1)}, []),
        ({"mrr": 0.41}, ["mrr", "mrr vs svd"]),
        ({"mrr": 0.0}, ["mrr", "mrr vs popularity", "mrr vs svd"]),
        ({"coverage": 0.9 * 0.99}, []),  # exactly 1 % less
        ({"coverage": 0.89}, ["coverage"]),
        ({"friend_auc": 0.84 * 0.99}, []),
        ({"friend_auc": 0.83}, ["friend_auc"]),
        ({"friend_auc": None}, []),  # this data has no friends
        ({"random_pair_cosine": 0.5}, []),
        ({"random_pair_cosine": 0.501}, ["random_pair_cosine"]),
        ({"random_pair_cosine": -0.1}, []),
        ({"weights_finite": 0.0}, ["weights_finite"]),
    ],
)
def test_each_bound(changes: dict[str, float], names: list[str]) -> None:
    assert failed(**changes) == names


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["mrr", "coverage", "random_pair_cosine", "weights_finite"])
def test_what_is_missing_or_not_finite_never_passes(name: str, value: float | None) -> None:
    checks = {"mrr": ["mrr", "mrr vs popularity", "mrr vs svd"]}
    assert failed(**{name: value}) == checks.get(name, [name])


def test_a_friend_auc_that_is_not_a_number_never_passes() -> None:
    assert failed(friend_auc=math.nan) == ["friend_auc"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nobody_beats_a_number_that_is_none(value: float) -> None:
    assert not decide(GOOD, CHAMPION | {"mrr": value}, {}).passed
    assert not decide(GOOD, CHAMPION, {"svd": {"mrr": value}}).passed
    assert not decide(GOOD, CHAMPION, {"svd": {}}).passed
    assert not decide(GOOD, {"mrr": 0.1}, {}).passed  # a champion whose coverage nobody knows


def test_without_friends_in_the_data_a_better_challenger_passes() -> None:
    nobody = {"friend_auc": math.nan}
    assert decide(GOOD | nobody, CHAMPION | nobody, BASELINES).passed
    assert not decide(GOOD | nobody, CHAMPION, BASELINES).passed, (
        "the champion has a number, and the challenger lost it"
    )


def test_the_first_tower_has_only_the_baselines_to_beat() -> None:
    alone = {name: GOOD[name] for name in ("mrr", "random_pair_cosine", "weights_finite")}
    assert decide(alone, None, BASELINES).passed
    assert decide(alone, None, {}).passed
    assert not decide(alone | {"mrr": 0.4}, None, BASELINES).passed
    assert not decide(alone | {"mrr": 0.0}, None, {}).passed
    assert not decide(alone | {"random_pair_cosine": 0.9}, None, {}).passed


def test_a_sentence_names_the_number_that_failed() -> None:
    decision = decide(GOOD | {"mrr": 0.4123}, CHAMPION, {})
    assert decision.summary == "mrr is 0.4123; it must be > 0.49 (the champion's)."
    decision = decide(GOOD | {"mrr": math.nan, "coverage": 0.5}, CHAMPION, {})
    assert decision.summary == (
        "mrr is not known; it must be > 0.49 (the champion's). "
        "coverage is 0.5; it must be >= 0.891 (the champion's less 1%)."
    )


def test_as_plain_values_it_fits_into_json() -> None:
    plain = decide(GOOD | {"mrr": math.nan}, CHAMPION, BASELINES).as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert not plain["passed"]
    assert plain["checks"][2] == {
        "name": "mrr", "value": None, "bound": 0.49, "passed": False,
        "sentence": "mrr is not known; it must be > 0.49 (the champion's).",
    }  # fmt: skip


def test_soundness_asks_of_the_tower_alone() -> None:
    assert soundness({"weights_finite": 1.0, "random_pair_cosine": 0.5}).passed
    assert not soundness({"weights_finite": 1.0}).passed
    assert not soundness({"random_pair_cosine": 0.1}).passed

"""A readable score: a percentage of random pairs, and how far the data of two users can be trusted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spotify_dag.tower.score import SHARES, ScoreScale


def random_users(count: int = 1_000, dim: int = 12, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def halves_of(tracks: np.ndarray, trust_at: float, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return halves whose signal is to their noise as ``tracks`` to ``trust_at``."""
    rng = np.random.default_rng(1)
    taste = rng.normal(size=(len(tracks), dim))
    noise = np.sqrt(trust_at / tracks)[:, None]
    sides = [taste + noise * rng.normal(size=taste.shape) for _ in range(2)]
    return tuple(side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)


@pytest.fixture(scope="module")
def scale() -> ScoreScale:
    return ScoreScale.fit(random_users(), *halves_of(np.full(100, 20), 20), np.full(100, 20))


class TestPercent:
    def test_it_is_the_share_of_random_pairs_less_alike(self, scale: ScoreScale) -> None:
        vectors = random_users()
        pairs = (vectors @ vectors.T)[np.triu_indices(1_000, 1)]
        for cosine in np.quantile(pairs, [0.05, 0.3, 0.5, 0.9, 0.99, 0.999]):
            assert scale.percent(cosine) == pytest.approx(100 * (pairs < cosine).mean(), abs=0.25)

    def test_it_grows_with_the_cosine_from_0_to_100(self, scale: ScoreScale) -> None:
        percent = scale.percent(np.linspace(-1, 1, 2_001))
        assert (np.diff(percent) >= 0).all()
        assert (percent[0], percent[-1]) == (0, 100)
        inside = scale.percent(np.linspace(scale.cosines[0], scale.cosines[-1], 500))
        assert (np.diff(inside) > 0).all()

    def test_among_the_most_alike_one_in_a_thousand_is_told_from_one_in_ten_thousand(self, scale: ScoreScale) -> None:
        at = [int(np.argmin(np.abs(SHARES - share))) for share in (0.999, 0.9999)]
        lower, higher = scale.percent(scale.cosines[at])
        assert lower == pytest.approx(99.9, abs=0.01)
        assert higher == pytest.approx(99.99, abs=0.001)

    def test_it_is_the_same_either_way_round(self, scale: ScoreScale) -> None:
        vectors = random_users(50, seed=9)
        percent = scale.percent(vectors @ vectors.T)
        assert percent.shape == (50, 50)
        assert np.array_equal(percent, percent.T)

    def test_shares_are_between_0_and_1_and_grow(self) -> None:
        assert (SHARES[0], SHARES[-1]) == (0, pytest.approx(1 - 1e-5))
        assert (np.diff(SHARES) > 0).all()


class TestTrust:
    @pytest.mark.parametrize("trust_at", [2.0, 20.0, 80.0])
    def test_it_is_found_again(self, trust_at: float) -> None:
        tracks = np.random.default_rng(0).integers(3, 200, 1_000)
        scale = ScoreScale.fit(random_users(dim=64), *halves_of(tracks, trust_at), tracks)
        assert scale.trust_at == pytest.approx(trust_at, rel=0.15)

    def test_by_hand(self) -> None:
        scale = ScoreScale(np.zeros(len(SHARES), np.float32), 10.0)
        assert scale.confidence(10, 10) == pytest.approx(0.5)
        assert scale.confidence(30, 30) == pytest.approx(0.75)
        assert scale.confidence(10, 90) == pytest.approx((0.5 * 0.9) ** 0.5)

    def test_it_falls_with_little_data(self, scale: ScoreScale) -> None:
        confidence = scale.confidence(np.array([0, 1, 5, 50, 500, 5_000]), 50)
        assert confidence[0] == 0
        assert (np.diff(confidence) > 0).all()
        assert confidence[-1] < 1

    def test_it_is_the_same_either_way_round(self, scale: ScoreScale) -> None:
        tracks = np.arange(1, 40)
        assert np.array_equal(scale.confidence(tracks, 7), scale.confidence(7, tracks))


class TestEdges:
    def test_users_who_are_all_alike(self) -> None:
        alike = np.tile([[0.6, 0.8]], (5, 1))
        scale = ScoreScale.fit(alike, alike, alike, np.full(5, 3))
        assert np.isfinite(scale.cosines).all()
        assert np.isfinite(scale.percent(np.array([0.0, 0.5, 1.0]))).all()
        assert np.isfinite(scale.trust_at)

    def test_a_single_user_has_no_pair(self) -> None:
        one = np.array([[0.6, 0.8]])
        scale = ScoreScale.fit(one, one, one, np.array([3]))
        assert scale.percent(np.array([-0.5, 1.0])).tolist() == [0, 100]

    def test_the_same_users_give_the_same_scale(self, scale: ScoreScale) -> None:
        again = ScoreScale.fit(random_users(), *halves_of(np.full(100, 20), 20), np.full(100, 20))
        assert np.array_equal(again.cosines, scale.cosines)

    def test_as_plain_values_and_back(self, scale: ScoreScale) -> None:
        again = ScoreScale.from_dict(json.loads(json.dumps(scale.as_dict())))
        assert np.array_equal(again.cosines, scale.cosines)
        assert again.cosines.dtype == np.float32
        assert again.trust_at == scale.trust_at

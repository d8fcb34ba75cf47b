"""Ranking measures on rankings small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spotify_dag.ranking_metrics import clicks, hit_rates, ndcg, r_precision, r_precision_with_artists

RANKED = np.array([4, 7, 1, 9, 2])


def test_r_precision_looks_at_as_many_as_are_wanted() -> None:
    assert r_precision(RANKED, np.array([7, 2])) == 0.5
    assert r_precision(RANKED, np.array([2])) == 0
    assert r_precision(RANKED, np.array([4, 7, 1])) == 1


def test_a_wanted_artist_counts_a_quarter_once() -> None:
    artist = np.array([0, 1, 2, 3, 0, 5, 6, 1, 8, 9])
    # Wanted 0 (artist 0), 3; ranked first 4 (artist 0 by another track), 7: a quarter of one of two.
    assert r_precision_with_artists(RANKED, np.array([0, 3]), artist) == pytest.approx(0.125)
    # A hit is no second time a credit for its artist.
    assert r_precision_with_artists(np.array([0, 4]), np.array([0, 3]), artist) == pytest.approx(0.5)


def test_ndcg() -> None:
    best = 1 + 1 / np.log2(3)
    assert ndcg(RANKED, np.array([4, 7])) == pytest.approx(1)
    assert ndcg(RANKED, np.array([7, 8])) == pytest.approx((1 / np.log2(3)) / best)
    assert ndcg(RANKED, np.array([8])) == 0


def test_clicks_count_pages_of_ten() -> None:
    ranked = np.arange(500)
    assert [clicks(ranked, np.array([place])) for place in (0, 9, 10, 499, 500)] == [0, 0, 1, 49, 51]


def test_hit_rates() -> None:
    assert hit_rates([1, 10, 11, None]) == {"hit@1": 0.25, "hit@10": 0.5, "mrr": pytest.approx((1 + 0.1 + 1 / 11) / 4)}

"""Every measure against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.ranking_metrics import retrieval
from spotify_dag.tower.metrics import area_under_curve, hubness, ndcg_and_recall, own_half, ranks


class TestRanks:
    def test_by_hand(self) -> None:
        similarity = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
        assert ranks(similarity, np.array([0, 1, 2])).tolist() == [1, 2, 3]

    def test_ties_share_their_mean_rank(self) -> None:
        similarity = np.array([[0.5, 0.5, 0.1], [0.9, 0.5, 0.5], [0.5, 0.5, 0.5]])
        assert ranks(similarity, np.array([0, 1, 2])).tolist() == [1.5, 2.5, 2]

    def test_there_may_be_more_users_than_queries(self) -> None:
        assert ranks(np.array([[0.1, 0.2, 0.3, 0.4]]), np.array([1])).tolist() == [3]

    def test_a_likeness_that_is_no_number_comes_last(self) -> None:
        similarity = np.array([[np.nan, 0.5, 0.1], [np.nan] * 3])
        assert (ranks(similarity, np.array([0, 0])) >= 3).all()

    def test_another_user_whose_likeness_is_no_number_is_in_front(self) -> None:
        assert ranks(np.array([[0.5, np.nan, 0.1]]), np.array([0])).tolist() == [2]


class TestRetrieval:
    def test_by_hand(self) -> None:
        found = retrieval(np.array([1, 2, 10, 11]))
        assert found == pytest.approx({"hit@1": 0.25, "hit@10": 0.75, "mrr": (1 + 1 / 2 + 1 / 10 + 1 / 11) / 4})

    def test_a_first_place_that_is_shared_is_no_hit(self) -> None:
        assert retrieval(np.array([1.5]))["hit@1"] == 0

    def test_own_half_by_hand(self) -> None:
        def compass(degrees: list[float]) -> np.ndarray:
            return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)

        # From 0 degrees, 10 is nearest (rank 1). From 50, 60 and 35 are nearer than 20 (3). From 90, 60 is nearer than
        # 35 (2). From 270, 10 and 20 and 35 are nearer than 60 (4).
        found = own_half(compass([0, 50, 90, 270]), compass([10, 20, 35, 60]))
        assert found == pytest.approx({"mrr": (1 + 1 / 3 + 1 / 2 + 1 / 4) / 4, "hit@1": 0.25, "hit@10": 1.0})

    def test_vectors_that_tell_nobody_apart_are_no_better_than_chance(self) -> None:
        alike = np.tile([[0.6, 0.8]], (21, 1))
        assert own_half(alike, alike) == pytest.approx({"mrr": 1 / 11, "hit@1": 0, "hit@10": 0})


class TestAreaUnderCurve:
    def test_by_hand(self) -> None:
        # Of six pairs, 3 > 2, 3 > 1, 3 > 0, 1 > 0 and one tie, 1 = 1, which counts half.
        assert area_under_curve(np.array([3, 1]), np.array([2, 1, 0])) == pytest.approx(4.5 / 6)

    def test_the_ends(self) -> None:
        low, high = np.array([0.1, 0.2]), np.array([0.3, 0.4, 0.5])
        assert (area_under_curve(high, low), area_under_curve(low, high)) == (1, 0)
        assert area_under_curve(low, low) == 0.5

    def test_without_either_it_is_not_known(self) -> None:
        one, none = np.array([1.0]), np.array([])
        assert math.isnan(area_under_curve(one, none))
        assert math.isnan(area_under_curve(none, one))


class TestHubness:
    def test_by_hand(self) -> None:
        # Mean 1; deviations -1, -1, -1, 3: second moment 3, third moment 6.
        assert hubness(np.array([0, 0, 0, 4])) == pytest.approx(6 / 3**1.5)

    def test_evenly_spread_is_zero(self) -> None:
        assert hubness(np.array([1, 2, 3])) == pytest.approx(0)
        assert hubness(np.array([2, 2, 2])) == 0


class TestNdcgAndRecall:
    def test_by_hand(self) -> None:
        scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
        # In order of score: wanted, not, wanted, (beyond 3) wanted, not.
        ndcg, recall = ndcg_and_recall(scores, csr_matrix([[1, 0, 1, 1, 0]]), 3)
        ideal = 1 + 1 / math.log2(3) + 1 / 2
        assert ndcg.tolist() == pytest.approx([(1 + 1 / 2) / ideal])
        assert recall.tolist() == pytest.approx([2 / 3])

    def test_what_is_ideal_is_1_whatever_the_number(self) -> None:
        scores = np.array([[0.1, 0.9, 0.8, 0.2]] * 2)
        ndcg, recall = ndcg_and_recall(scores, csr_matrix([[0, 1, 0, 0], [0, 2, 7, 0]]), 2)
        assert ndcg.tolist() == pytest.approx([1, 1])
        assert recall.tolist() == [1, 1]

    def test_what_must_not_be_recommended_is_no_hit(self) -> None:
        ndcg, recall = ndcg_and_recall(np.array([[-np.inf, 0.5, -np.inf]]), csr_matrix([[1, 0, 1]]), 3)
        assert (ndcg.tolist(), recall.tolist()) == ([0], [0])

    def test_who_wants_nothing_does_not_count(self) -> None:
        ndcg, recall = ndcg_and_recall(np.ones((2, 3)), csr_matrix([[0, 0, 0], [1, 1, 1]]), 3)
        assert np.isnan([ndcg[0], recall[0]]).all()
        assert (ndcg[1], recall[1]) == (pytest.approx(1), 1)

    def test_fewer_items_than_places(self) -> None:
        ndcg, recall = ndcg_and_recall(np.array([[0.1, 0.2]]), csr_matrix([[1, 0]]), 20)
        assert ndcg.tolist() == pytest.approx([1 / math.log2(3)])
        assert recall.tolist() == [1]

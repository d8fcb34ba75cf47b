"""Lists of similar users are judged by the artists they predict: worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.tower.rival import nearest, usefulness

ASKED = csr_matrix([[1, 0, 0, 0], [0, 1, 0, 0]])
TARGETS = csr_matrix([[1, 1, 0, 0], [0, 0, 1, 1]])
"""The first artist of the first user is known already, so it is no target."""
LIBRARIES = csr_matrix([[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0.2, 0, 0.4, 0.4]])


def test_what_neighbours_listen_to_is_predicted() -> None:
    found = usefulness({"good": [[0], [2]], "bad": [[1], [0]]}, ASKED, TARGETS, LIBRARIES)
    assert found["good"] == pytest.approx({"ndcg@20": 1.0, "recall@20": 1.0, "helped": 1.0, "neighbours": 1.0})
    assert found["bad"] == pytest.approx({"ndcg@20": 0.0, "recall@20": 0.0, "helped": 0.0, "neighbours": 1.0})


def test_half_of_the_targets_at_the_second_place() -> None:
    # The second user's targets are the last two artists; the neighbour has one of them, after another artist.
    libraries = csr_matrix([[0.7, 0, 0.3, 0]])
    found = usefulness({"one": [[], [0]]}, ASKED, TARGETS, libraries)["one"]
    ideal = 1 + 1 / np.log2(3)
    assert found["ndcg@20"] == pytest.approx((0 + 1 / np.log2(3) / ideal) / 2)
    assert found["recall@20"] == pytest.approx((0 + 0.5) / 2)


def test_lists_of_one_query_are_as_long_as_the_shortest() -> None:
    lists = {"long": [[1, 0], [1, 2]], "short": [[0], [2, 1]]}
    found = usefulness(lists, ASKED, TARGETS, LIBRARIES)
    assert found["long"]["neighbours"] == found["short"]["neighbours"] == 1.5
    assert found["long"]["recall@20"] == pytest.approx((0 + 1) / 2)


def test_nobody_is_their_own_neighbour() -> None:
    similarity = np.array([[1.0, 0.2, 0.9], [0.3, 1.0, 0.3]])
    assert nearest(similarity, np.array([0, 1])) == [[2, 1], [0, 2]]

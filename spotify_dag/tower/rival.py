"""Compare lists of similar users by what they are good for: how well they predict artists that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tower.metrics import TOP, ndcg_and_recall

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 10
"""Similar users that are looked at."""


def usefulness(
    lists: Mapping[str, Sequence[Sequence[int]]], asked: csr_matrix, targets: csr_matrix, libraries: csr_matrix
) -> dict[str, dict[str, float]]:
    """Return how well lists of users predict the held-out artists of each who asks.

    Every user of a list says what they listen to with the same weight; the artists most of them agree on are predicted.

    Parameters
    ----------
    lists
        By name: for each query the similar users, row numbers of ``libraries``, most similar first. All lists of a
        query are cut to the shortest of them, and to `NEIGHBOURS`.
    asked, targets
        ``[queries, artists]``: what is known of each query, and what was held out.
    libraries
        ``[users, artists]``: shares of what each user listens to.

    Returns
    -------
    By name: ``ndcg@20``, ``recall@20``, and ``helped``, the share of queries with an artist of the held-out ones among
    20 predicted; means over queries that have held-out artists.
    """
    from scipy.sparse import csr_matrix

    count = asked.shape[0]
    lengths = [min([NEIGHBOURS, *(len(lists[name][row]) for name in lists)]) for row in range(count)]
    new = targets - targets.multiply(asked > 0)
    measured = {}
    for name, users in lists.items():
        rows = np.repeat(np.arange(count), lengths)
        columns = np.array([user for row in range(count) for user in users[row][: lengths[row]]], np.int64)
        chosen = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, libraries.shape[0]))
        scores = (chosen @ libraries).toarray()
        scores[scores <= 0] = -np.inf
        scores[asked.nonzero()] = -np.inf
        ndcg, recall = ndcg_and_recall(scores, new, TOP)
        helped = np.where(np.isnan(recall), np.nan, recall > 0)
        measured[name] = {
            f"ndcg@{TOP}": _mean(ndcg), f"recall@{TOP}": _mean(recall), "helped": _mean(helped),
            "neighbours": float(np.mean(lengths)) if lengths else 0.0,
        }  # fmt: skip
    return measured


def nearest(similarity: np.ndarray, own: np.ndarray) -> list[list[int]]:
    """Return the most similar users of each query but the query itself, most similar first.

    Parameters
    ----------
    similarity
        ``[queries, users]``
    own
        ``[queries]``: which user each query is.
    """
    similarity = similarity.copy()
    similarity[np.arange(len(own)), own] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : min(NEIGHBOURS, similarity.shape[1] - 1)]
    return order.tolist()


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")

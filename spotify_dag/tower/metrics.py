"""Measures of a user representation. All take cosines (or any score that grows with likeness), users in rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.ranking_metrics import binary_ndcg, retrieval

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 50
TOP = 20
NEAREST = 10
CHUNK = 500


@dataclass(frozen=True)
class Answers:
    """What was found for each query: arrays of ``[queries]``, and the nearest users ``[queries, NEAREST]``."""

    rank: np.ndarray
    ndcg: np.ndarray
    recall: np.ndarray
    nearest: np.ndarray


def ranks(similarity: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the rank, from 1, of each query's own half.

    Parameters
    ----------
    similarity
        ``[queries, gallery]``.
    own
        ``[queries]``: column of each query's own half.

    Notes
    -----
    Ties share their mean rank: with the best one, a model that tells nobody apart would look perfect. Asked the other
    way round, who is *not* behind, so that an own half whose likeness is no number comes last instead of first.
    """
    mine = similarity[np.arange(len(own)), own][:, None]
    return ((~(similarity <= mine)).sum(axis=1) + (~(similarity < mine)).sum(axis=1) + 1) / 2


def own_half(queries: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
    """Return `retrieval` of finding row i of ``gallery`` from row i of ``queries``, unit vectors ``[users, dim]``."""
    return retrieval(ranks(queries @ gallery.T, np.arange(len(queries))))


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive scores above a negative, ties counted half; NaN without either."""
    from sklearn.metrics import roc_auc_score

    if not len(positive) or not len(negative):
        return float("nan")
    label = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(label, np.concatenate([positive, negative])))


def hubness(counts: np.ndarray) -> float:
    """Return the skewness of how often each user is among the k nearest of others (Radovanović et al. 2010).

    A hub is near everybody. 0 where all counts are equal.
    """
    from scipy.stats import skew

    return float(skew(counts)) if counts.std() > 0 else 0.0


def ndcg_and_recall(scores: np.ndarray, relevant: csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return NDCG@k and recall@k of each query, ``[queries]``; NaN where nothing is relevant.

    Parameters
    ----------
    scores
        ``[queries, items]``: what is recommended, best highest; -inf is never recommended.
    relevant
        ``[queries, items]``: non-zero where an item is relevant. Relevance is binary.
    """
    k = min(k, scores.shape[1])
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    top = np.take_along_axis(top, order, axis=1)
    is_relevant = relevant.toarray() > 0
    hits = np.take_along_axis(is_relevant, top, axis=1) & np.isfinite(np.take_along_axis(scores, top, axis=1))
    count = is_relevant.sum(axis=1)
    recall = np.where(count > 0, hits.sum(axis=1) / np.maximum(count, 1), np.nan)
    return binary_ndcg(hits, count, k), recall


def answers(
    similarity: Callable[[np.ndarray], np.ndarray],
    own: np.ndarray,
    asked: csr_matrix,
    targets: csr_matrix,
    libraries: csr_matrix,
) -> Answers:
    """Return what users who ask find, by their likeness to those who answer.

    Parameters
    ----------
    similarity
        Of row numbers of queries, ``[those queries, gallery]``; called for one chunk after the other, and written to.
    own
        ``[queries]``: column of each query's own half.
    asked, targets
        ``[queries, artists]``: what is known of each query, and what is not.
    libraries
        ``[gallery, artists]``: everything each user of the gallery listens to.
    """
    pieces = [
        _chunk(similarity(rows), own[rows], asked[rows], targets[rows], libraries)
        for rows in np.array_split(np.arange(len(own)), max(1, -(-len(own) // CHUNK)))
    ]
    return Answers(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in Answers.__annotations__))


def _chunk(
    similarity: np.ndarray, own: np.ndarray, asked: csr_matrix, targets: csr_matrix, libraries: csr_matrix
) -> Answers:
    from scipy.sparse import csr_matrix

    rank = ranks(similarity, own)
    rows = np.arange(len(own))
    # A user is no neighbour of their own.
    similarity[rows, own] = -np.inf
    k = min(NEIGHBOURS, similarity.shape[1] - 1)
    near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    likeness = np.take_along_axis(similarity, near, axis=1)
    order = np.argsort(-likeness, axis=1, kind="stable")
    near, likeness = np.take_along_axis(near, order, axis=1), np.take_along_axis(likeness, order, axis=1)
    # User-based collaborative filtering: what neighbours listen to, weighted by likeness and by how much they do.
    weights = csr_matrix((np.maximum(likeness, 0).ravel(), (np.repeat(rows, k), near.ravel())), shape=similarity.shape)
    scores = (weights @ libraries).toarray()
    scores[scores <= 0] = -np.inf
    scores[asked.nonzero()] = -np.inf
    new = targets - targets.multiply(asked > 0)
    ndcg, recall = ndcg_and_recall(scores, new, TOP)
    return Answers(rank, ndcg, recall, near[:, :NEAREST])

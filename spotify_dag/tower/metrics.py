"""Measures of a user representation. All take cosines (or any score that grows with likeness), users in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


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


def retrieval(rank: np.ndarray) -> dict[str, float]:
    """Return ``hit@1, hit@10, mrr`` of ranks."""
    return {
        "hit@1": float((rank <= 1).mean()),
        "hit@10": float((rank <= 10).mean()),
        "mrr": float((1 / rank).mean()),
    }


def own_half(queries: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
    """Return `retrieval` of finding row i of ``gallery`` from row i of ``queries``, unit vectors ``[users, dim]``."""
    return retrieval(ranks(queries @ gallery.T, np.arange(len(queries))))


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive scores above a negative (Mann and Whitney 1947); NaN without either."""
    from scipy.stats import rankdata

    if not len(positive) or not len(negative):
        return float("nan")
    rank = rankdata(np.concatenate([positive, negative]))[: len(positive)].sum()
    return float((rank - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def skewness(counts: np.ndarray) -> float:
    """Return the skewness of counts; of how often users are among the k nearest of others it measures hubness.

    Radovanović et al. 2010: a hub is near everybody.
    """
    deviation = counts.std()
    return float(((counts - counts.mean()) ** 3).mean() / deviation**3) if deviation > 0 else 0.0


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
    wanted = relevant.toarray() > 0
    hits = np.take_along_axis(wanted, top, axis=1) & np.isfinite(np.take_along_axis(scores, top, axis=1))
    discount = 1 / np.log2(np.arange(2, k + 2))
    count = wanted.sum(axis=1)
    some = count > 0
    ideal = np.concatenate([[np.nan], np.cumsum(discount)])[np.minimum(count, k)]
    recall = np.where(some, hits.sum(axis=1) / np.where(some, count, 1), np.nan)
    return (hits * discount).sum(axis=1) / ideal, recall
